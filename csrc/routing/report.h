#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "motley/routing/frontier.h"

namespace motley {

/// Pairs of query and LLM whose probability of a right answer was predicted alike.
struct CalibrationBin {
  std::size_t pairs = 0;
  double predicted = 0.0;  ///< mean probability
  double right = 0.0;      ///< share of right answers
};

/// One way to choose an LLM per query, scored on a split.
struct RoutingRow {
  std::string name;
  double accuracy = 0.0;                         ///< share of right answers when asking the argmax
  double macro_auc = 0.0;                        ///< NaN where the method has no score per query
  double brier = 0.0;                            ///< likewise
  double usd = 0.0;                              ///< mean price of a call
  double aiq = 0.0;                              ///< NaN where there is no cost-quality sweep
  std::vector<CostQuality> frontier = {};        ///< hull of its sweep; empty where there is none
  std::vector<CalibrationBin> calibration = {};  ///< likewise; bins of equal width that hold a pair, ascending
};

struct RouterEvaluation {
  std::size_t queries = 0;
  std::size_t models = 0;
  double validation_auc = 0.0;  ///< of the router alone: what a choice of its settings may look at
  double blend = 0.0;           ///< weight of the neighbours in the row of both, chosen on validation
  std::string best_single;
  std::vector<RoutingRow> rows;  ///< router first
  std::vector<std::string> single_names;
  std::vector<CostQuality> singles;  ///< each LLM asked for everything, by single_names
};

/// Scores "correctness" (logits) and "length" of predictions-test.safetensors in the folder of a run against the test
/// split of `data`. Whatever is chosen (neighbours, blend) is chosen by predictions-validation.safetensors and the
/// validation split. Throws InputError when a file is missing or shapes do not fit.
[[nodiscard]] RouterEvaluation evaluate_run(const std::filesystem::path& data, const std::filesystem::path& run);

/// Also the file evaluation.json.
[[nodiscard]] nlohmann::json to_json(const RouterEvaluation& evaluation);

/// A table and what was learnt, for a person.
[[nodiscard]] std::string in_words(const RouterEvaluation& evaluation);

}  // namespace motley
