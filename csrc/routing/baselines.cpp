#include "motley/routing/baselines.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "motley/routing/metrics.h"

namespace motley {
namespace {

constexpr std::array<int, 6> kNeighbours{10, 20, 50, 100, 200, 300};

/// For each of `rows` the training queries nearest by cosine, nearest first (embeddings have unit length).
std::vector<std::vector<std::size_t>> nearest_training(const RoutingData& data, const std::vector<std::size_t>& rows,
                                                       std::size_t most) {
  const std::vector<std::size_t> train = data.of_split(0);
  const auto width = static_cast<std::size_t>(data.embedding_width);
  most = std::min(most, train.size());
  std::vector<std::vector<std::size_t>> result;
  std::vector<float> cosine(train.size());
  std::vector<std::size_t> order(train.size());
  for (const std::size_t row : rows) {
    const float* query = data.embeddings.data() + row * width;
    for (std::size_t i = 0; i < train.size(); ++i) {
      const float* other = data.embeddings.data() + train[i] * width;
      float dot = 0.0F;
      for (std::size_t j = 0; j < width; ++j) {
        dot += query[j] * other[j];
      }
      cosine[i] = dot;
    }
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(
        order.begin(), order.begin() + static_cast<std::ptrdiff_t>(most), order.end(),
        [&](std::size_t a, std::size_t b) { return cosine[a] != cosine[b] ? cosine[a] > cosine[b] : a < b; });
    std::vector<std::size_t>& near = result.emplace_back();
    for (std::size_t i = 0; i < most; ++i) {
      near.push_back(train[order[i]]);
    }
  }
  return result;
}

Scores mean_over(const RoutingData& data, const std::vector<std::vector<std::size_t>>& neighbours, std::size_t k) {
  const std::size_t models = data.model_count();
  Scores scores(neighbours.size() * models, 0.0);
  for (std::size_t row = 0; row < neighbours.size(); ++row) {
    const std::size_t used = std::min(k, neighbours[row].size());
    for (std::size_t i = 0; i < used; ++i) {
      for (std::size_t model = 0; model < models; ++model) {
        scores[row * models + model] += data.right(neighbours[row][i], model) ? 1.0 : 0.0;
      }
    }
    for (std::size_t model = 0; model < models; ++model) {
      scores[row * models + model] /= static_cast<double>(std::max<std::size_t>(used, 1));
    }
  }
  return scores;
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

Scores neighbour_scores(const RoutingData& data, const std::vector<std::size_t>& rows, int k) {
  return mean_over(data, nearest_training(data, rows, static_cast<std::size_t>(k)), static_cast<std::size_t>(k));
}

int choose_neighbours(const RoutingData& data) {
  const std::vector<std::size_t> rows = data.of_split(1);
  const auto neighbours = nearest_training(data, rows, static_cast<std::size_t>(kNeighbours.back()));
  int best = kNeighbours.front();
  double best_auc = 0.0;
  for (const int k : kNeighbours) {
    const double auc = macro_auc(data, rows, mean_over(data, neighbours, static_cast<std::size_t>(k)));
    if (auc > best_auc) {
      best_auc = auc;
      best = k;
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
