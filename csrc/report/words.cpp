#include "motley/report/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace motley {
namespace {

// Beyond these something stands out.
constexpr double kPredictionOff = 0.10;
constexpr double kUneven = 1.25;       // slow tenth over quick tenth
constexpr double kEngineShare = 0.10;  // neither computing nor waiting
constexpr double kIdleShare = 0.25;
constexpr double kPacesShare = 0.90;  // busy share of a rank that sets the pace
constexpr double kLinkSlow = 0.20;    // over its profiled time
constexpr double kLinkBusy = 0.50;
constexpr double kMemoryFull = 0.90;
constexpr double kTraceOff = 0.15;
constexpr double kGap = 0.01;

std::string time_text(Seconds time) {
  if (time.value < 1e-3) {
    return fmt::format("{:.0f} µs", time.value * 1e6);
  }
  return time.value < 1.0 ? fmt::format("{:.3g} ms", time.value * 1e3) : fmt::format("{:.3f} s", time.value);
}

std::string memory_text(Bytes bytes) {
  const auto value = static_cast<double>(bytes.value);
  if (value < 1e6) {
    return fmt::format("{:.1f} KB", value / 1e3);
  }
  return value < 1e9 ? fmt::format("{:.1f} MB", value / 1e6) : fmt::format("{:.2f} GB", value / 1e9);
}

/// "12 % longer than", "3 % less than", "as"
std::string relation(double ratio, const char* more, const char* less) {
  const double percent = (ratio - 1.0) * 100.0;
  if (std::abs(percent) < 0.5) {
    return "as";
  }
  return percent > 0 ? fmt::format("{:.0f} % {} than", percent, more) : fmt::format("{:.0f} % {} than", -percent, less);
}

double busy_share(const RankAnalysis& rank, const Analysis& analysis) {
  return rank.measured && analysis.iteration.measured ? rank.measured->busy / *analysis.iteration.measured : 0.0;
}

const RankAnalysis& busiest(const Analysis& analysis) {
  return *std::ranges::max_element(analysis.ranks, {},
                                   [&](const RankAnalysis& rank) { return busy_share(rank, analysis); });
}

std::string speed_words(const AnalysedRun& run) {
  const Plan& plan = run.data.plan;
  const Analysis& analysis = run.analysis;
  const std::size_t used = analysis.ranks.size();
  const int all = run.data.profile ? run.data.profile->cluster.size() : 0;
  std::string devices =
      fmt::format("{} {}{}", used, run.data.emulated ? "emulated " : "", used == 1 ? "device" : "devices");
  if (all > static_cast<int>(used)) {
    devices += fmt::format(" of {}", all);
  }
  std::string text = fmt::format("The plan by \"{}\" runs {} on {} ({} micro-batches of {} samples", plan.planner,
                                 plan.schedule == "1f1b"    ? "1F1B"
                                 : plan.schedule == "gpipe" ? "GPipe"
                                                            : plan.schedule,
                                 devices, plan.micro_batches, plan.micro_batch_size);
  if (!analysis.iteration.measured) {
    return text + "); no step has ended yet.";
  }
  text += fmt::format("): an iteration takes {}, {:.0f} samples/s", time_text(*analysis.iteration.measured),
                      analysis.samples_per_s());
  if (const auto error = error_of(analysis.iteration)) {
    text += fmt::format(", where {} was predicted ({:+.1f} %)", time_text(*analysis.iteration.predicted), *error * 100);
  }
  return text + ".";
}

std::string balance_words(const Analysis& analysis) {
  if (!analysis.idle_share) {
    return "";
  }
  const RankAnalysis& most = busiest(analysis);
  std::string text =
      fmt::format(" Its devices compute {:.0f} % of the time", (1.0 - std::max(0.0, *analysis.idle_share)) * 100);
  if (analysis.ranks.size() == 1) {
    return text + ".";
  }
  const RankAnalysis& waits = *std::ranges::max_element(
      analysis.ranks, {}, [](const RankAnalysis& rank) { return rank.measured->waiting.value; });
  return text + fmt::format(": rank {} is the busiest ({:.0f} %), rank {} waits most ({:.0f} %).", most.rank,
                            busy_share(most, analysis) * 100, waits.rank,
                            waits.measured->waiting / *analysis.iteration.measured * 100);
}

std::string memory_words(const Analysis& analysis) {
  const RankAnalysis* fullest = nullptr;
  double most = 0.0;
  for (const RankAnalysis& rank : analysis.ranks) {
    if (rank.memory.measured && rank.limit && rank.limit->value > 0) {
      const double share = static_cast<double>(rank.memory.measured->value) / static_cast<double>(rank.limit->value);
      if (share > most) {
        most = share;
        fullest = &rank;
      }
    }
  }
  return fullest == nullptr
             ? ""
             : fmt::format(" Memory is tightest on rank {}: {} of {} ({:.0f} %).", fullest->rank,
                           memory_text(*fullest->memory.measured), memory_text(*fullest->limit), most * 100);
}

std::string link_words(const Analysis& analysis) {
  if (analysis.links.empty() || !analysis.iteration.measured) {
    return "";
  }
  const LinkAnalysis& link = *std::ranges::max_element(
      analysis.links, {}, [](const LinkAnalysis& one) { return one.time.measured.value_or(Seconds{}).value; });
  return fmt::format(" The link in use longest, rank {} to {}, carries {} in {} of it ({:.1f} %).", link.from, link.to,
                     memory_text(link.bytes), time_text(*link.time.measured),
                     *link.time.measured / *analysis.iteration.measured * 100);
}

std::string loss_words(const RunData& run) {
  if (run.steps.empty()) {
    return "";
  }
  return fmt::format(" Over {} steps the loss went from {:.4f} to {:.4f}.", run.steps.size(), run.steps.front().loss,
                     run.steps.back().loss);
}

std::string comparison_words(std::span<const AnalysedRun> runs) {
  std::string text;
  for (std::size_t i = 1; i < runs.size(); ++i) {
    if (!runs[0].analysis.iteration.measured || !runs[i].analysis.iteration.measured) {
      continue;
    }
    const double ratio = runs[0].analysis.samples_per_s() / runs[i].analysis.samples_per_s();
    text += fmt::format("{}{:.2f} × {}",
                        text.empty()           ? ""
                        : i + 1 == runs.size() ? " and "
                                               : ", ",
                        ratio, runs[i].data.name);
  }
  return text.empty() ? "" : fmt::format(" Its speed is {}.", text);
}

std::string router_words(const nlohmann::json& evaluation) {
  if (evaluation.is_null() || !evaluation.contains("rows") || evaluation.at("rows").empty()) {
    return "";
  }
  const nlohmann::json& router = evaluation.at("rows").front();
  std::string text = fmt::format(" The router's choice is right for {:.1f} % of {} held-out queries",
                                 router.value("accuracy", 0.0) * 100, evaluation.value("queries", 0));
  for (const nlohmann::json& row : evaluation.at("rows")) {
    if (row.value("name", "") == "best single LLM") {
      text += fmt::format("; always asking {} for {:.1f} %", evaluation.value("best_single", ""),
                          row.value("accuracy", 0.0) * 100);
    }
  }
  return text + ".";
}

void prediction_findings(const AnalysedRun& run, std::vector<std::string>& found) {
  const Analysis& analysis = run.analysis;
  const auto error = error_of(analysis.iteration);
  if (!error || std::abs(*error) <= kPredictionOff) {
    return;
  }
  std::string text =
      fmt::format("The iteration takes {} predicted.", relation(1.0 / (1.0 + *error), "longer", "less time"));
  const RankAnalysis* worst = nullptr;  // of those that are off in the same direction
  double most = kPredictionOff;
  for (const RankAnalysis& rank : analysis.ranks) {
    const double own = error_of(rank.busy).value_or(0.0);
    if (std::abs(own) > most && own * *error > 0.0) {
      most = std::abs(own);
      worst = &rank;
    }
  }
  if (worst != nullptr) {
    text += fmt::format(
        " Rank {} computes for {} where {} was profiled: its device was under another load then. Profile again with "
        "the "
        "machine as it will be.",
        worst->rank, time_text(*worst->busy.measured), time_text(*worst->busy.predicted));
  } else {
    text += " The ranks' own work does not explain it, so look at waiting, links and the engine's own time.";
  }
  found.push_back(text);
}

void balance_findings(const AnalysedRun& run, std::vector<std::string>& found) {
  const Analysis& analysis = run.analysis;
  const Plan& plan = run.data.plan;
  if (!analysis.idle_share || analysis.ranks.size() < 2) {
    return;
  }
  const RankAnalysis& most = busiest(analysis);
  const auto stages = static_cast<double>(plan.stage_count());
  const double ramp = (stages - 1) / (static_cast<double>(plan.micro_batches) + stages - 1);
  if (busy_share(most, analysis) > kPacesShare) {
    found.push_back(
        fmt::format("Rank {} sets the pace: it computes {:.0f} % of the iteration. Only fewer layers there or a "
                    "faster device make the pipeline quicker.",
                    most.rank, busy_share(most, analysis) * 100));
  } else if (*analysis.idle_share > kIdleShare) {
    found.push_back(
        fmt::format("Devices are idle {:.0f} % of the time and none of them is full. Filling and draining a "
                    "pipeline of {} stages with {} micro-batches costs {:.0f} % by itself; more micro-batches a "
                    "step shorten that.",
                    *analysis.idle_share * 100, plan.stage_count(), plan.micro_batches, ramp * 100));
  }
  for (const RankAnalysis& rank : analysis.ranks) {
    if (!rank.measured) {
      continue;
    }
    const Seconds rest = *analysis.iteration.measured - rank.measured->busy - rank.measured->waiting;
    if (rest / *analysis.iteration.measured > kEngineShare) {
      found.push_back(
          fmt::format("Rank {} spends {:.0f} % of the iteration neither computing nor waiting: that is the "
                      "engine's own time or a core it did not get. Larger micro-batches have fewer actions.",
                      rank.rank, rest / *analysis.iteration.measured * 100));
      break;
    }
  }
}

void link_findings(const AnalysedRun& run, std::vector<std::string>& found) {
  for (const LinkAnalysis& link : run.analysis.links) {
    const double share = run.analysis.iteration.measured && link.time.measured
                             ? *link.time.measured / *run.analysis.iteration.measured
                             : 0.0;
    const auto error = error_of(link.time);
    if (error && 1.0 / (1.0 + *error) > 1.0 + kLinkSlow && share > 0.02) {
      found.push_back(fmt::format("The link from rank {} to {} takes {:.1f} times its profiled time.", link.from,
                                  link.to, 1.0 / (1.0 + *error)));
    }
    if (share > kLinkBusy) {
      found.push_back(
          fmt::format("The link from rank {} to {} is in use {:.0f} % of the iteration: cut where less crosses, "
                      "or place the stages in another order.",
                      link.from, link.to, share * 100));
    }
  }
}

void memory_findings(const AnalysedRun& run, std::vector<std::string>& found) {
  for (const RankAnalysis& rank : run.analysis.ranks) {
    if (rank.memory.measured && rank.limit && rank.limit->value > 0 &&
        static_cast<double>(rank.memory.measured->value) > kMemoryFull * static_cast<double>(rank.limit->value)) {
      found.push_back(fmt::format(
          "Rank {} is within {:.0f} % of its memory limit.", rank.rank,
          (1.0 - static_cast<double>(rank.memory.measured->value) / static_cast<double>(rank.limit->value)) * 100));
    }
    const auto error = error_of(rank.memory);
    if (error && std::abs(*error) > kPredictionOff) {
      found.push_back(
          fmt::format("Rank {} has a peak of {}, predicted were {}: a plan near the limit cannot be trusted.",
                      rank.rank, memory_text(*rank.memory.measured), memory_text(*rank.memory.predicted)));
    }
  }
}

void run_findings(const AnalysedRun& run, std::vector<std::string>& found) {
  const Analysis& analysis = run.analysis;
  if (analysis.quick_iteration.value > 0 && analysis.slow_iteration / analysis.quick_iteration > kUneven) {
    found.push_back(
        fmt::format("Iterations are uneven: a tenth take less than {}, a tenth more than {}. Something else "
                    "uses the machine, or a device throttles.",
                    time_text(analysis.quick_iteration), time_text(analysis.slow_iteration)));
  }
  if (analysis.traced_iteration && analysis.iteration.measured &&
      std::abs(*analysis.traced_iteration / *analysis.iteration.measured - 1.0) > kTraceOff) {
    found.push_back(fmt::format("The traced iteration below took {}, the median one {}: it is not typical.",
                                time_text(*analysis.traced_iteration), time_text(*analysis.iteration.measured)));
  }
  if (run.data.plan.certificate && run.data.plan.certificate->gap > kGap) {
    found.push_back(fmt::format("A plan up to {:.1f} % faster may exist: the search proved no more than a bound of {}.",
                                run.data.plan.certificate->gap * 100,
                                time_text(run.data.plan.certificate->lower_bound)));
  }
  if (!run.data.steps.empty() && run.data.steps.back().step + 1 < run.data.planned_steps) {
    found.push_back(
        fmt::format("The record ends after {} of {} steps.", run.data.steps.back().step + 1, run.data.planned_steps));
  }
}

}  // namespace

std::string paragraph(std::span<const AnalysedRun> runs) {
  const AnalysedRun& run = runs.front();
  return speed_words(run) + comparison_words(runs) + balance_words(run.analysis) + link_words(run.analysis) +
         memory_words(run.analysis) + loss_words(run.data) + router_words(run.data.evaluation);
}

std::vector<std::string> findings(const AnalysedRun& run) {
  std::vector<std::string> found;
  prediction_findings(run, found);
  balance_findings(run, found);
  link_findings(run, found);
  memory_findings(run, found);
  run_findings(run, found);
  return found;
}

}  // namespace motley
