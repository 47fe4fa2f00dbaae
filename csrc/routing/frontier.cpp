#include "motley/routing/frontier.h"

#include <algorithm>
#include <cmath>

namespace motley {

std::vector<CostQuality> sweep(const RoutingData& data, const std::vector<std::size_t>& rows, const Scores& scores,
                               const std::vector<double>& expected_usd) {
  const std::size_t models = data.model_count();
  std::vector<CostQuality> points;
  // Prices of a call range from 1e-6 to 1e-2 USD, so lambda must range over their inverses, and 0.
  for (int step = -1; step <= 80; ++step) {
    const double lambda = step < 0 ? 0.0 : std::pow(10.0, 0.5 + 0.1 * step);
    CostQuality total;
    for (std::size_t row = 0; row < rows.size(); ++row) {
      std::size_t best = 0;
      double best_value = -1e300;
      for (std::size_t model = 0; model < models; ++model) {
        const double value = scores[row * models + model] - lambda * expected_usd[row * models + model];
        if (value > best_value) {
          best_value = value;
          best = model;
        }
      }
      total.usd += data.usd(rows[row], best, data.output_chars[rows[row] * models + best]);
      total.accuracy += data.right(rows[row], best) ? 1.0 : 0.0;
    }
    const auto n = static_cast<double>(rows.size());
    points.push_back({total.usd / n, total.accuracy / n});
  }
  return points;
}

std::vector<CostQuality> single_models(const RoutingData& data, const std::vector<std::size_t>& rows) {
  const std::size_t models = data.model_count();
  std::vector<CostQuality> points(models);
  for (std::size_t model = 0; model < models; ++model) {
    for (const std::size_t query : rows) {
      points[model].usd += data.usd(query, model, data.output_chars[query * models + model]);
      points[model].accuracy += data.right(query, model) ? 1.0 : 0.0;
    }
    points[model].usd /= static_cast<double>(rows.size());
    points[model].accuracy /= static_cast<double>(rows.size());
  }
  return points;
}

std::vector<CostQuality> hull(std::vector<CostQuality> points) {
  std::sort(points.begin(), points.end(), [](const CostQuality& a, const CostQuality& b) {
    return a.usd != b.usd ? a.usd < b.usd : a.accuracy > b.accuracy;
  });
  std::vector<CostQuality> upper;
  for (const CostQuality& point : points) {
    if (!upper.empty() && point.accuracy <= upper.back().accuracy) {
      continue;
    }
    while (upper.size() >= 2) {
      const CostQuality& a = upper[upper.size() - 2];
      const CostQuality& b = upper.back();
      if ((b.accuracy - a.accuracy) * (point.usd - a.usd) > (point.accuracy - a.accuracy) * (b.usd - a.usd)) {
        break;
      }
      upper.pop_back();
    }
    upper.push_back(point);
  }
  return upper;
}

double aiq(const std::vector<CostQuality>& points, double from_usd, double to_usd) {
  if (points.empty() || to_usd <= from_usd) {
    return 0.0;
  }
  double area = 0.0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const CostQuality& a = points[i];
    const bool last = i + 1 == points.size();
    const CostQuality b = last ? CostQuality{std::max(to_usd, a.usd), a.accuracy} : points[i + 1];
    const double begin = std::max(a.usd, from_usd);
    const double end = std::min(b.usd, to_usd);
    if (end <= begin) {
      continue;
    }
    const auto at = [&](double usd) {
      return b.usd > a.usd ? a.accuracy + (b.accuracy - a.accuracy) * (usd - a.usd) / (b.usd - a.usd) : a.accuracy;
    };
    area += 0.5 * (at(begin) + at(end)) * (end - begin);
  }
  return area / (to_usd - from_usd);
}

}  // namespace motley
