#include "motley/plan/features.h"

#include <array>

namespace motley {
namespace {

constexpr std::array<std::string_view, 7> kFeatures{"replicas",    "recompute",        "bfloat16", "int8",
                                                    "zero-bubble", "interleaved-1f1b", "listed"};

bool uses(const Plan& plan, std::string_view feature) {
  if (feature == plan.schedule) {
    return true;
  }
  for (int s = 0; s < plan.stage_count(); ++s) {
    const StagePlan& stage = plan.stages[static_cast<std::size_t>(s)];
    if ((feature == "replicas" && stage.replicas.size() > 1) || (feature == "recompute" && stage.recompute) ||
        (feature == stage.wire && s + 1 < plan.stage_count())) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::span<const std::string_view> features() {
  return kFeatures;
}

std::vector<std::string> features_of(const Plan& plan) {
  std::vector<std::string> used;
  for (const std::string_view feature : kFeatures) {
    if (uses(plan, feature)) {
      used.emplace_back(feature);
    }
  }
  return used;
}

}  // namespace motley
