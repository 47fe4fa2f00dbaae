#include "motley/routing/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/record/safetensors.h"
#include "motley/routing/metrics.h"

namespace motley {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

struct Moments {
  std::vector<double> mean;
  std::vector<double> deviation;
};

/// Of log1p(output characters) of answered training queries, per model: what the length head's targets were scaled by.
Moments length_moments(const RoutingData& data) {
  const std::size_t models = data.model_count();
  Moments moments{std::vector<double>(models, 0.0), std::vector<double>(models, 0.0)};
  const std::vector<std::size_t> train = data.of_split(0);
  for (std::size_t model = 0; model < models; ++model) {
    double count = 0.0;
    for (const std::size_t query : train) {
      if (data.answered[query * models + model] != 0) {
        moments.mean[model] += std::log1p(data.output_chars[query * models + model]);
        count += 1.0;
      }
    }
    moments.mean[model] /= std::max(count, 1.0);
    for (const std::size_t query : train) {
      if (data.answered[query * models + model] != 0) {
        const double error = std::log1p(data.output_chars[query * models + model]) - moments.mean[model];
        moments.deviation[model] += error * error;
      }
    }
    moments.deviation[model] = std::sqrt(moments.deviation[model] / std::max(count, 1.0));
  }
  return moments;
}

std::vector<float> floats(const SafetensorsFile& file, const std::string& name, std::size_t count) {
  const StoredTensor& tensor = file.at(name);
  if (tensor.dtype != DType::Float32 || tensor.data.size() != count * sizeof(float)) {
    throw InputError::of("{}: tensor \"{}\" has {} bytes, expected {} float32 (queries of the split times models)",
                         file.source(), name, tensor.data.size(), count);
  }
  std::vector<float> values(count);
  std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

constexpr std::size_t kCalibrationBins = 10;

/// A reliability diagram's points (DeGroot and Fienberg, 1983).
std::vector<CalibrationBin> calibration_of(const Scores& probabilities, const std::vector<std::uint8_t>& labels) {
  std::vector<CalibrationBin> bins(kCalibrationBins);
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    const auto place = static_cast<std::size_t>(probabilities[i] * static_cast<double>(kCalibrationBins));
    CalibrationBin& bin = bins[std::min(place, kCalibrationBins - 1)];
    ++bin.pairs;
    bin.predicted += probabilities[i];
    bin.right += labels[i] != 0 ? 1.0 : 0.0;
  }
  std::erase_if(bins, [](const CalibrationBin& bin) { return bin.pairs == 0; });
  for (CalibrationBin& bin : bins) {
    bin.predicted /= static_cast<double>(bin.pairs);
    bin.right /= static_cast<double>(bin.pairs);
  }
  return bins;
}

RoutingRow score(const RoutingData& data, const std::vector<std::size_t>& rows, const std::string& name,
                 const Scores& scores, std::vector<CostQuality> frontier, double least_usd, double most_usd) {
  const std::size_t models = data.model_count();
  RoutingRow row{name};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto begin = scores.begin() + static_cast<std::ptrdiff_t>(i * models);
    const auto best =
        static_cast<std::size_t>(std::max_element(begin, begin + static_cast<std::ptrdiff_t>(models)) - begin);
    row.accuracy += data.right(rows[i], best) ? 1.0 : 0.0;
    row.usd += data.usd(rows[i], best, data.output_chars[rows[i] * models + best]);
  }
  row.accuracy /= static_cast<double>(rows.size());
  row.usd /= static_cast<double>(rows.size());
  std::vector<std::uint8_t> labels;
  for (const std::size_t query : rows) {
    for (std::size_t model = 0; model < models; ++model) {
      labels.push_back(data.right(query, model) ? 1 : 0);
    }
  }
  row.macro_auc = macro_auc(data, rows, scores);
  row.brier = brier(scores, labels);
  row.calibration = calibration_of(scores, labels);
  row.aiq = aiq(frontier, least_usd, most_usd);
  row.frontier = std::move(frontier);
  return row;
}

}  // namespace

namespace {

/// Probabilities of a right answer, from a predictions file.
Scores probabilities(const SafetensorsFile& file, std::size_t count) {
  Scores scores;
  for (const float logit : floats(file, "correctness", count)) {
    scores.push_back(1.0 / (1.0 + std::exp(-static_cast<double>(logit))));
  }
  return scores;
}

}  // namespace

RouterEvaluation evaluate_run(const std::filesystem::path& folder, const std::filesystem::path& run) {
  const RoutingData data = read_routing_data(folder);
  const std::vector<std::size_t> rows = data.of_split(2);
  const std::vector<std::size_t> validation = data.of_split(1);
  const std::size_t models = data.model_count();
  const SafetensorsFile file(run / "predictions-test.safetensors");
  const Scores router = probabilities(file, rows.size() * models);
  const std::vector<float> lengths = floats(file, "length", rows.size() * models);
  const Scores router_validation =
      probabilities(SafetensorsFile(run / "predictions-validation.safetensors"), validation.size() * models);
  const Moments moments = length_moments(data);
  std::vector<double> expected_usd;  // by the predicted length
  std::vector<double> typical_usd;   // by the model's typical length, for methods that predict none
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t model = 0; model < models; ++model) {
      const double log_length =
          moments.mean[model] +
          moments.deviation[model] * std::clamp(static_cast<double>(lengths[i * models + model]), -4.0, 4.0);
      expected_usd.push_back(data.usd(rows[i], model, std::expm1(log_length)));
      typical_usd.push_back(data.usd(rows[i], model, std::expm1(moments.mean[model])));
    }
  }
  const std::vector<CostQuality> singles = single_models(data, rows);
  const auto [cheapest, dearest] = std::minmax_element(
      singles.begin(), singles.end(), [](const CostQuality& a, const CostQuality& b) { return a.usd < b.usd; });
  const double least = cheapest->usd;
  const double most = dearest->usd;

  RouterEvaluation result;
  result.queries = rows.size();
  result.models = models;
  const auto near_validation = nearest_training(data, validation, kMostNeighbours);
  const auto near_test = nearest_training(data, rows, kMostNeighbours);
  const Neighbours plain = choose_neighbours(data, near_validation, false);
  const Neighbours weighted = choose_neighbours(data, near_validation, true);
  result.validation_auc = macro_auc(data, validation, router_validation);
  result.blend = choose_blend(data, router_validation, neighbour_scores(data, near_validation, weighted));
  result.single_names = data.models;
  result.singles = singles;
  const Scores knn = neighbour_scores(data, near_test, plain);
  const Scores near = neighbour_scores(data, near_test, weighted);
  const Scores both = blend(router, near, result.blend);
  const Scores category = category_scores(data, rows);
  const Scores mean = mean_scores(data, rows);
  result.best_single = data.models[static_cast<std::size_t>(
      std::max_element(mean.begin(), mean.begin() + static_cast<std::ptrdiff_t>(models)) - mean.begin())];
  result.rows.push_back(
      score(data, rows, "router", router, hull(sweep(data, rows, router, expected_usd)), least, most));
  result.rows.push_back(
      score(data, rows, "router + neighbours", both, hull(sweep(data, rows, both, expected_usd)), least, most));
  result.rows.push_back(score(data, rows, fmt::format("kNN weighted, k {}", weighted.k), near,
                              hull(sweep(data, rows, near, typical_usd)), least, most));
  result.rows.push_back(score(data, rows, fmt::format("kNN, k {}", plain.k), knn,
                              hull(sweep(data, rows, knn, typical_usd)), least, most));
  result.rows.push_back(
      score(data, rows, "best per category", category, hull(sweep(data, rows, category, typical_usd)), least, most));
  result.rows.push_back(score(data, rows, "best single LLM", mean, hull(singles), least, most));
  RoutingRow random{"random", 0.0, kNone, kNone, 0.0, kNone};
  for (const CostQuality& single : singles) {
    random.accuracy += single.accuracy / static_cast<double>(models);
    random.usd += single.usd / static_cast<double>(models);
  }
  result.rows.push_back(random);
  RoutingRow oracle{"oracle", 0.0, kNone, kNone, 0.0, kNone};
  for (const std::size_t query : rows) {
    // Knows every outcome: the cheapest right model, or the cheapest one where all are wrong.
    double right_usd = std::numeric_limits<double>::infinity();
    double any_usd = std::numeric_limits<double>::infinity();
    for (std::size_t model = 0; model < models; ++model) {
      const double usd = data.usd(query, model, data.output_chars[query * models + model]);
      any_usd = std::min(any_usd, usd);
      if (data.right(query, model)) {
        right_usd = std::min(right_usd, usd);
      }
    }
    oracle.accuracy += std::isfinite(right_usd) ? 1.0 : 0.0;
    oracle.usd += std::isfinite(right_usd) ? right_usd : any_usd;
  }
  oracle.accuracy /= static_cast<double>(rows.size());
  oracle.usd /= static_cast<double>(rows.size());
  result.rows.push_back(oracle);
  return result;
}

nlohmann::json to_json(const RouterEvaluation& evaluation) {
  const auto number = [](double value) { return std::isnan(value) ? nlohmann::json() : nlohmann::json(value); };
  const auto curve = [](const std::vector<CostQuality>& points) {
    nlohmann::json list = nlohmann::json::array();
    for (const CostQuality& point : points) {
      list.push_back({point.usd, point.accuracy});
    }
    return list;
  };
  const auto reliability = [](const std::vector<CalibrationBin>& bins) {
    nlohmann::json list = nlohmann::json::array();
    for (const CalibrationBin& bin : bins) {
      list.push_back({{"pairs", bin.pairs}, {"predicted", bin.predicted}, {"right", bin.right}});
    }
    return list;
  };
  nlohmann::json result = {{"motley", "evaluation"},
                           {"version", 1},
                           {"queries", evaluation.queries},
                           {"models", evaluation.models},
                           {"best_single", evaluation.best_single},
                           {"validation_macro_auc", evaluation.validation_auc},
                           {"blend", evaluation.blend}};
  for (std::size_t model = 0; model < evaluation.singles.size(); ++model) {
    result["single_models"].push_back({{"name", evaluation.single_names[model]},
                                       {"usd_per_query", evaluation.singles[model].usd},
                                       {"accuracy", evaluation.singles[model].accuracy}});
  }
  for (const RoutingRow& row : evaluation.rows) {
    result["rows"].push_back({{"name", row.name},
                              {"accuracy", row.accuracy},
                              {"macro_auc", number(row.macro_auc)},
                              {"brier", number(row.brier)},
                              {"usd_per_query", row.usd},
                              {"aiq", number(row.aiq)},
                              {"frontier", curve(row.frontier)},
                              {"calibration", reliability(row.calibration)}});
  }
  return result;
}

std::string in_words(const RouterEvaluation& evaluation) {
  const auto cell = [](double value) { return std::isnan(value) ? std::string("-") : fmt::format("{:.4f}", value); };
  std::string text = fmt::format(
      "routing {} held-out queries among {} LLMs:\n  {:<20} {:>8} {:>10} {:>8} {:>14} {:>8}\n", evaluation.queries,
      evaluation.models, "method", "right", "macro AUC", "Brier", "USD per 1000", "AIQ");
  for (const RoutingRow& row : evaluation.rows) {
    text += fmt::format("  {:<20} {:>8} {:>10} {:>8} {:>14.3f} {:>8}\n", row.name, cell(row.accuracy),
                        cell(row.macro_auc), cell(row.brier), row.usd * 1000, cell(row.aiq));
  }
  const RoutingRow& router = evaluation.rows.front();
  const auto single = std::find_if(evaluation.rows.begin(), evaluation.rows.end(),
                                   [](const RoutingRow& row) { return row.name == "best single LLM"; });
  text += fmt::format("The router's choice is right for {:.1f} % of queries; always asking {} is right for {:.1f} %.\n",
                      router.accuracy * 100, evaluation.best_single, single->accuracy * 100);
  // Where the router's frontier first reaches the best single model's accuracy, and at which price.
  for (std::size_t i = 0; i < router.frontier.size(); ++i) {
    const CostQuality& point = router.frontier[i];
    if (point.accuracy >= single->accuracy) {
      double usd = point.usd;
      if (i > 0) {
        const CostQuality& before = router.frontier[i - 1];
        usd = before.usd +
              (point.usd - before.usd) * (single->accuracy - before.accuracy) / (point.accuracy - before.accuracy);
      }
      text += fmt::format("It reaches {}'s accuracy at {:.0f} % of its price.\n", evaluation.best_single,
                          usd / single->usd * 100);
      return text;
    }
  }
  text += fmt::format("It does not reach {}'s accuracy at any price.\n", evaluation.best_single);
  return text;
}

}  // namespace motley
