// What -fsanitize=thread makes the compiler call around every memory access, answered by the emulator's own race
// detector instead of libtsan: kernels are compiled with the flag and linked without it.
#include <cstddef>
#include <cstring>

namespace motley::kernels::emulator {
void note_read(const void* address, std::size_t bytes);
void note_write(const void* address, std::size_t bytes);
}  // namespace motley::kernels::emulator

using motley::kernels::emulator::note_read;
using motley::kernels::emulator::note_write;

// NOLINTBEGIN(bugprone-reserved-identifier): the compiler's names.
extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void*) {}
void __tsan_vptr_update(void*, void*) {}

#define MOTLEY_ACCESS(size)                               \
  void __tsan_read##size(void* address) {                 \
    note_read(address, size);                             \
  }                                                       \
  void __tsan_write##size(void* address) {                \
    note_write(address, size);                            \
  }                                                       \
  void __tsan_unaligned_read##size(void* address) {       \
    note_read(address, size);                             \
  }                                                       \
  void __tsan_unaligned_write##size(void* address) {      \
    note_write(address, size);                            \
  }                                                       \
  void __tsan_read_write##size(void* address) {           \
    note_write(address, size);                            \
  }                                                       \
  void __tsan_unaligned_read_write##size(void* address) { \
    note_write(address, size);                            \
  }                                                       \
  void __tsan_volatile_read##size(void* address) {        \
    note_read(address, size);                             \
  }                                                       \
  void __tsan_volatile_write##size(void* address) {       \
    note_write(address, size);                            \
  }
MOTLEY_ACCESS(1)
MOTLEY_ACCESS(2)
MOTLEY_ACCESS(4)
MOTLEY_ACCESS(8)
MOTLEY_ACCESS(16)
#undef MOTLEY_ACCESS

void __tsan_read_range(void* address, std::size_t bytes) {
  note_read(address, bytes);
}
void __tsan_write_range(void* address, std::size_t bytes) {
  note_write(address, bytes);
}

void* __tsan_memcpy(void* to, const void* from, std::size_t bytes) {
  note_read(from, bytes);
  note_write(to, bytes);
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, std::size_t bytes) {
  note_read(from, bytes);
  note_write(to, bytes);
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, std::size_t bytes) {
  note_write(to, bytes);
  return std::memset(to, value, bytes);
}

// Atomics of the emulator's own header: it says what they are by atomic_access.
#define MOTLEY_FETCH_ADD(bits, type)                                              \
  type __tsan_atomic##bits##_fetch_add(volatile type* address, type value, int) { \
    return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);                  \
  }
MOTLEY_FETCH_ADD(32, int)
MOTLEY_FETCH_ADD(64, long)
#undef MOTLEY_FETCH_ADD
}
// NOLINTEND(bugprone-reserved-identifier)
