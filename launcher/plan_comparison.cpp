#include "motley/launcher/plan_comparison.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "motley/base/error.h"
#include "motley/base/median.h"
#include "motley/plan/files.h"

namespace motley {
namespace {

/// What the measurements say of the predictions.
struct Agreement {
  double tau = 0.0;
  double median_error = 0.0;
  double worst_error = 0.0;
};

double error_of(const ComparedPlan& compared) {
  return compared.plan.prediction->expected.value / median_of(compared.measured) - 1.0;
}

std::optional<Agreement> agreement(const PlanComparison& comparison) {
  std::vector<double> predicted;
  std::vector<double> measured;
  std::vector<double> errors;
  for (const ComparedPlan& compared : comparison.plans) {
    if (compared.measured.empty()) {
      continue;
    }
    predicted.push_back(compared.plan.prediction->expected.value);
    measured.push_back(median_of(compared.measured));
    errors.push_back(std::abs(error_of(compared)));
  }
  if (errors.empty()) {
    return std::nullopt;
  }
  const double worst = *std::max_element(errors.begin(), errors.end());
  return Agreement{kendall_tau(predicted, measured), median(std::move(errors)), worst};
}

/// Stages as layers@devices: "0-4@2 5-9@0+1".
std::string stages_of(const Plan& plan) {
  std::vector<std::string> parts;
  for (const StagePlan& stage : plan.stages) {
    std::vector<int> devices;
    for (const Replica& replica : stage.replicas) {
      devices.push_back(replica.device);
    }
    parts.push_back(fmt::format("{}-{}@{}", stage.first_layer, stage.end_layer - 1, fmt::join(devices, "+")));
  }
  if (parts.size() > 6) {
    return fmt::format("{} {} ... {}", parts[0], parts[1], parts.back());
  }
  return fmt::format("{}", fmt::join(parts, " "));
}

}  // namespace

double kendall_tau(std::span<const double> a, std::span<const double> b) {
  MOTLEY_CHECK(a.size() == b.size(), "{} and {} values to rank", a.size(), b.size());
  const auto sign = [](double difference) { return (difference > 0.0) - (difference < 0.0); };
  double agreeing = 0.0;
  double apart_a = 0.0;
  double apart_b = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const int of_a = sign(a[i] - a[j]);
      const int of_b = sign(b[i] - b[j]);
      agreeing += of_a * of_b;
      apart_a += of_a * of_a;
      apart_b += of_b * of_b;
    }
  }
  return apart_a == 0.0 || apart_b == 0.0 ? 0.0 : agreeing / std::sqrt(apart_a * apart_b);
}

double median_of(std::span<const Seconds> times) {
  std::vector<double> seconds;
  for (const Seconds time : times) {
    seconds.push_back(time.value);
  }
  return median(std::move(seconds));
}

std::string in_words(const PlanComparison& comparison) {
  const bool ran = std::any_of(comparison.plans.begin(), comparison.plans.end(),
                               [](const ComparedPlan& compared) { return !compared.measured.empty(); });
  std::string text = fmt::format("{:<24} {:>12} {:>9} {:>9}", "planner", "predicted", "x bound", "solve");
  if (ran) {
    text += fmt::format(" {:>12} {:>17} {:>8}", "measured", "least to most", "error");
  }
  text += "  micro-batches, stages\n";
  for (const ComparedPlan& compared : comparison.plans) {
    const Prediction& prediction = *compared.plan.prediction;
    const std::string over =
        comparison.lower_bound.value > 0.0 ? fmt::format("{:.4f}", prediction.iteration / comparison.lower_bound) : "-";
    text += fmt::format("{:<24} {:>10.4f} s {:>9} {:>7.2f} s", fmt::format("{}", fmt::join(compared.planners, ", ")),
                        prediction.expected.value, over, compared.solve.value);
    if (!compared.measured.empty()) {
      const auto [least, most] = std::minmax_element(compared.measured.begin(), compared.measured.end());
      text += fmt::format(" {:>10.4f} s {:>17} {:>+7.1f}%", median_of(compared.measured),
                          fmt::format("{:.4f} {:.4f} s", least->value, most->value), error_of(compared) * 100);
    }
    text += fmt::format("  {} x {}, {}: {}\n", compared.plan.micro_batches, compared.plan.micro_batch_size,
                        compared.plan.schedule, stages_of(compared.plan));
  }
  for (const NoPlan& failed : comparison.failed) {
    text += fmt::format("{:<24} no plan: {}\n", failed.planner, failed.reason);
  }
  if (comparison.lower_bound.value > 0.0) {
    text += fmt::format("no plan of these planners' spaces takes less than {:.4f} s\n", comparison.lower_bound.value);
  }
  if (const auto found = agreement(comparison)) {
    text += fmt::format("predictions{}: median error {:.1f} %, worst {:.1f} %; Kendall's tau {:.2f} over {} plans\n",
                        comparison.emulated ? " (emulated devices)" : "", found->median_error * 100,
                        found->worst_error * 100, found->tau, comparison.plans.size());
  }
  return text;
}

nlohmann::json to_json(const PlanComparison& comparison) {
  nlohmann::json result = {{"emulated", comparison.emulated}, {"plans", nlohmann::json::array()}};
  if (comparison.lower_bound.value > 0.0) {
    result["lower_bound_s"] = comparison.lower_bound.value;
  }
  for (const ComparedPlan& compared : comparison.plans) {
    nlohmann::json row = {{"planners", compared.planners},
                          {"predicted_s", compared.plan.prediction->expected.value},
                          {"solve_s", compared.solve.value},
                          {"plan", to_json(compared.plan)}};
    if (comparison.lower_bound.value > 0.0) {
      row["ratio_to_bound"] = compared.plan.prediction->iteration.value / comparison.lower_bound.value;
    }
    if (!compared.measured.empty()) {
      row["measured_s"] = median_of(compared.measured);
      row["error"] = error_of(compared);
      for (const Seconds time : compared.measured) {
        row["runs_s"].push_back(time.value);
      }
    }
    result["plans"].push_back(std::move(row));
  }
  for (const NoPlan& failed : comparison.failed) {
    result["infeasible"].push_back({{"planner", failed.planner}, {"reason", failed.reason}});
  }
  if (const auto found = agreement(comparison)) {
    result["kendall_tau"] = found->tau;
    result["median_error"] = found->median_error;
    result["worst_error"] = found->worst_error;
  }
  return result;
}

}  // namespace motley
