#include "motley/plan/features.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "motley/base/error.h"

namespace motley {
namespace {

constexpr std::array<Feature, 7> kFeatures{{{"replicas", true},
                                            {"recompute", true},
                                            {"bfloat16", true},
                                            {"int8", true},
                                            {"zero-bubble", true},
                                            {"interleaved-1f1b", true},
                                            {"listed", true}}};

/// Where `plan` asks for the feature, as a field of its file; "" where it does not.
std::string use_of(std::string_view feature, const Plan& plan) {
  if (feature == plan.schedule) {
    return fmt::format("schedule {}", feature);
  }
  for (int s = 0; s < plan.stage_count(); ++s) {
    const StagePlan& stage = plan.stages[static_cast<std::size_t>(s)];
    if (feature == "replicas" && stage.replicas.size() > 1) {
      return fmt::format("stages[{}] has {} replicas", s, stage.replicas.size());
    }
    if (feature == "recompute" && stage.recompute) {
      return fmt::format("stages[{}] has recompute", s);
    }
    if (feature == stage.wire && s + 1 < plan.stage_count()) {
      return fmt::format("stages[{}] has wire {}", s, stage.wire);
    }
  }
  return "";
}

}  // namespace

std::span<const Feature> features() {
  return kFeatures;
}

std::vector<std::string> features_of(const Plan& plan) {
  std::vector<std::string> used;
  for (const Feature& feature : kFeatures) {
    if (!use_of(feature.name, plan).empty()) {
      used.emplace_back(feature.name);
    }
  }
  return used;
}

void expect_runnable(const Plan& plan, const std::string& source) {
  for (const Feature& feature : kFeatures) {
    if (const std::string use = feature.runnable ? "" : use_of(feature.name, plan); !use.empty()) {
      throw InputError::of("{}: {}, which this engine cannot execute yet", source, use);
    }
  }
}

}  // namespace motley
