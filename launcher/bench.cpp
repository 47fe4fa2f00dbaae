#include "motley/launcher/bench.h"

#include <iostream>

#include "motley/base/error.h"
#include "motley/base/nearest.h"

namespace motley {

int command_bench(const Invocation& invocation) {
  if (invocation.describe != nullptr) {
    bench_planner(invocation);
    return bench_plans(invocation);
  }
  constexpr const char* kUsage =
      "usage: motley bench plans|planner ... (motley bench plans --help tells more)\n\n"
      "  plans    every planner's plan for one profile: predicted, over the bound, and as measured\n"
      "  planner  one planner on synthetic models and clusters of any size: time and gap\n\n"
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
  if (what == "planner") {
    return bench_planner(rest);
  }
  throw InputError::of("motley bench: found \"{}\", expected {}", what, one_of(what, {"plans", "planner"}));
}

}  // namespace motley
