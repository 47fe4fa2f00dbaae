#include "motley/routing/baselines.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "motley/routing/metrics.h"

namespace motley {
namespace {

constexpr std::array<int, 6> kNeighbours{10, 20, 50, 100, 200, kMostNeighbours};
constexpr std::array<double, 4> kTemperatures{0.0, 0.05, 0.1, 0.2};
constexpr int kBlends = 10;

/// In eight sums, which is what a vector unit does and needs no licence to reorder.
float dot(const float* a, const float* b, std::size_t width) {
  std::array<float, 8> lanes{};
  const std::size_t whole = width / lanes.size() * lanes.size();
  for (std::size_t i = 0; i < whole; i += lanes.size()) {
    for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
      lanes[lane] += a[i + lane] * b[i + lane];
    }
  }
  float sum = std::accumulate(lanes.begin(), lanes.end(), 0.0F);
  for (std::size_t i = whole; i < width; ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

/// Scores that depend on the query's group only: share right on the training queries of the group.
template <typename Group>
Scores group_scores(const RoutingData& data, const std::vector<std::size_t>& rows, std::size_t groups, Group&& group) {
  const std::size_t models = data.model_count();
  std::vector<double> right(groups * models, 0.0);
  std::vector<double> count(groups, 0.0);
  for (const std::size_t query : data.of_split(0)) {
    count[group(query)] += 1.0;
    for (std::size_t model = 0; model < models; ++model) {
      right[group(query) * models + model] += data.right(query, model) ? 1.0 : 0.0;
    }
  }
  Scores scores;
  for (const std::size_t query : rows) {
    for (std::size_t model = 0; model < models; ++model) {
      scores.push_back(right[group(query) * models + model] / std::max(count[group(query)], 1.0));
    }
  }
  return scores;
}

}  // namespace

Scores mean_scores(const RoutingData& data, const std::vector<std::size_t>& rows) {
  return group_scores(data, rows, 1, [](std::size_t) { return std::size_t{0}; });
}

Scores category_scores(const RoutingData& data, const std::vector<std::size_t>& rows) {
  return group_scores(data, rows, 256,
                      [&](std::size_t query) { return static_cast<std::size_t>(data.category[query]); });
}

std::vector<std::vector<Neighbour>> nearest_training(const RoutingData& data, const std::vector<std::size_t>& rows,
                                                     std::size_t most) {
  const std::vector<std::size_t> train = data.of_split(0);
  const auto width = static_cast<std::size_t>(data.embedding_width);
  most = std::min(most, train.size());
  std::vector<std::vector<Neighbour>> result;
  std::vector<Neighbour> all(train.size());
  for (const std::size_t row : rows) {
    const float* query = data.embeddings.data() + row * width;
    for (std::size_t i = 0; i < train.size(); ++i) {
      all[i] = {train[i], dot(query, data.embeddings.data() + train[i] * width, width)};
    }
    const auto end = all.begin() + static_cast<std::ptrdiff_t>(most);
    std::partial_sort(all.begin(), end, all.end(), [](const Neighbour& a, const Neighbour& b) {
      return a.cosine != b.cosine ? a.cosine > b.cosine : a.query < b.query;
    });
    result.emplace_back(all.begin(), end);
  }
  return result;
}

Scores neighbour_scores(const RoutingData& data, const std::vector<std::vector<Neighbour>>& nearest,
                        const Neighbours& options) {
  const std::size_t models = data.model_count();
  Scores scores(nearest.size() * models, 0.0);
  for (std::size_t row = 0; row < nearest.size(); ++row) {
    const std::size_t used = std::min(static_cast<std::size_t>(options.k), nearest[row].size());
    double total = 0.0;
    for (std::size_t i = 0; i < used; ++i) {
      const Neighbour& neighbour = nearest[row][i];
      const double weight =
          options.temperature > 0.0 ? std::exp((neighbour.cosine - nearest[row][0].cosine) / options.temperature) : 1.0;
      total += weight;
      for (std::size_t model = 0; model < models; ++model) {
        scores[row * models + model] += data.right(neighbour.query, model) ? weight : 0.0;
      }
    }
    for (std::size_t model = 0; model < models; ++model) {
      scores[row * models + model] /= std::max(total, 1e-300);
    }
  }
  return scores;
}

Neighbours choose_neighbours(const RoutingData& data, const std::vector<std::vector<Neighbour>>& nearest,
                             bool weighted) {
  const std::vector<std::size_t> rows = data.of_split(1);
  Neighbours best{kNeighbours.front(), 0.0};
  double best_auc = 0.0;
  for (const int k : kNeighbours) {
    for (const double temperature : kTemperatures) {
      if (temperature > 0.0 && !weighted) {
        continue;
      }
      const Neighbours options{k, temperature};
      const double auc = macro_auc(data, rows, neighbour_scores(data, nearest, options));
      if (auc > best_auc) {
        best_auc = auc;
        best = options;
      }
    }
  }
  return best;
}

Scores blend(const Scores& a, const Scores& b, double weight) {
  Scores mixed(a.size());
  std::transform(a.begin(), a.end(), b.begin(), mixed.begin(),
                 [&](double x, double y) { return (1.0 - weight) * x + weight * y; });
  return mixed;
}

double choose_blend(const RoutingData& data, const Scores& a, const Scores& b) {
  const std::vector<std::size_t> rows = data.of_split(1);
  double best = 0.0;
  double best_auc = 0.0;
  for (int i = 0; i <= kBlends; ++i) {
    const double weight = static_cast<double>(i) / kBlends;
    const double auc = macro_auc(data, rows, blend(a, b, weight));
    if (auc > best_auc) {
      best_auc = auc;
      best = weight;
    }
  }
  return best;
}

double macro_auc(const RoutingData& data, const std::vector<std::size_t>& rows, const Scores& scores) {
  const std::size_t models = data.model_count();
  double sum = 0.0;
  int counted = 0;
  for (std::size_t model = 0; model < models; ++model) {
    std::vector<double> column;
    std::vector<std::uint8_t> labels;
    for (std::size_t row = 0; row < rows.size(); ++row) {
      column.push_back(scores[row * models + model]);
      labels.push_back(data.right(rows[row], model) ? 1 : 0);
    }
    const bool both = std::find(labels.begin(), labels.end(), 0) != labels.end() &&
                      std::find(labels.begin(), labels.end(), 1) != labels.end();
    if (both) {
      sum += roc_auc(column, labels);
      ++counted;
    }
  }
  return counted > 0 ? sum / counted : 0.5;
}

}  // namespace motley
