#include "motley/launcher/bench.h"

#include <iostream>

#include "motley/base/error.h"

namespace motley {

int command_bench(const Invocation& invocation) {
  if (invocation.describe != nullptr) {
    return bench_plans(invocation);
  }
  constexpr const char* kUsage =
      "usage: motley bench plans ... (motley bench plans --help tells more)\n\n"
      "  plans  every planner's plan for one profile: predicted, over the bound, and as measured\n\n"
      "example: motley bench plans --profile run/quickstart/profile.json --batch 512\n";
  const std::string what = invocation.arguments.empty() ? "" : invocation.arguments.front();
  if (what == "--help" || what == "-h") {
    std::cout << kUsage;
    return 0;
  }
  Invocation rest = invocation;
  if (!rest.arguments.empty()) {
    rest.arguments.erase(rest.arguments.begin());
  }
  if (what == "plans") {
    return bench_plans(rest);
  }
  throw InputError::of("motley bench: found \"{}\", expected plans", what);
}

}  // namespace motley
