// Host versions of the kernels against plain loops, LibTorch and the memory, all measured in the same run.
// Usage: bench_kernels [adamw|codec|dropout|router]...   (all without arguments)
#include <ATen/Parallel.h>

#include <cstring>

namespace motley {
void bench_adamw();
void bench_codec();
void bench_dropout();
void bench_router();
}  // namespace motley

int main(int argc, char** argv) {
  at::set_num_threads(1);
  const auto wanted = [&](const char* name) {
    bool named = argc == 1;
    for (int i = 1; i < argc; ++i) {
      named = named || std::strcmp(argv[i], name) == 0;
    }
    return named;
  };
  if (wanted("adamw")) {
    motley::bench_adamw();
  }
  if (wanted("codec")) {
    motley::bench_codec();
  }
  if (wanted("dropout")) {
    motley::bench_dropout();
  }
  if (wanted("router")) {
    motley::bench_router();
  }
}
