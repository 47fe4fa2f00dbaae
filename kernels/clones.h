#pragma once

// MOTLEY_CLONES before a function: compiled for x86-64 as such, with AVX2 and with AVX-512; the machine chooses when
// the program is loaded. All three give the same bits, since nothing is fused and sums name their lanes. Sanitizers are
// not ready that early, and other compilers spell it differently: there the plain function is left.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define MOTLEY_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define MOTLEY_CLONES
#endif

// A template that such functions share must be part of each, or it would be compiled once, for x86-64 as such.
#define MOTLEY_INLINE inline __attribute__((always_inline))
