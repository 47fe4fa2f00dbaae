#include "motley/partitioner/completions.h"

#include <algorithm>
#include <numeric>

namespace motley {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

Completions::Completions(const Corner& corner) : corner_(corner) {
  const double layers = corner.tables().layers();
  const double classes = corner.classes();
  const double work =
      static_cast<double>(corner.codes()) * classes * static_cast<double>(corner.teams().size()) * layers * layers;
  if (corner.codes() > 0 && work <= kMostWork) build();
}

/// Codes with more devices used are larger, so going down finds every completion known.
void Completions::build() {
  const int layers = corner_.tables().layers();
  round_trip_.assign(
      corner_.codes() * static_cast<std::size_t>(corner_.classes()) * (static_cast<std::size_t>(layers) + 1),
      kInfinity);
  bottleneck_ = busiest_ = round_trip_;
  for (std::size_t code = corner_.codes(); code-- > 1;) {
    const std::vector<int> used = corner_.used_of(code);
    for (int c = 0; c < corner_.classes(); ++c) {
      if (used[c] == 0) continue;
      if (corner_.may_end(used)) {
        const std::size_t done = index(code, c, 0);
        round_trip_[done] = bottleneck_[done] = busiest_[done] = 0.0;
      }
      for (int end = 1; end < layers; ++end) complete(code, used, c, end);
    }
  }
}

void Completions::complete(std::size_t code, const std::vector<int>& used, int c, int end) {
  double least_trip = kInfinity;
  double least_bottleneck = kInfinity;
  double least_busiest = kInfinity;
  const auto m = static_cast<double>(corner_.micro_batches());
  const int devices = std::accumulate(used.begin(), used.end(), 0);
  // Without replicas devices are stages, so that the limit of stages is known here.
  if (!corner_.may_replicate() && !corner_.may_go_on(devices)) return;
  for (const Team& team : corner_.teams()) {
    if (!corner_.may_place(used, team)) continue;
    const double forward = message(Pass::Forward, team, c, end);
    const double backward = message(Pass::Backward, team, c, end);
    const double messages = (m - 1) * std::max(forward, backward) + forward + backward;
    for (int first = end - 1; first >= 0; --first) {
      if (!fits(team, first, end, std::nullopt)) break;
      if (!fits(team, first, end, corner_.may_replicate() ? 1 : devices)) continue;
      const Work of = work(team, first, end);
      for (int before = 0; before < corner_.classes(); ++before) {
        if (team.count[before] == 0) continue;
        const std::size_t rest = index(code + team.stride, before, first);
        if (round_trip_[rest] == kInfinity) continue;
        least_trip = std::min(least_trip, of.trip + forward + backward + round_trip_[rest]);
        const double own = std::max({m * of.pass, of.trip + messages});
        least_bottleneck =
            std::min(least_bottleneck, std::max({round_trip_[rest] + own, m * of.everything, bottleneck_[rest]}));
        least_busiest =
            std::min(least_busiest, std::max({m * of.everything, m * forward, m * backward, busiest_[rest]}));
      }
    }
  }
  round_trip_[index(code, c, end)] = least_trip;
  bottleneck_[index(code, c, end)] = least_bottleneck;
  busiest_[index(code, c, end)] = least_busiest;
}

/// `behind`: at least so many stages come after it.
bool Completions::fits(const Team& team, int first, int end, std::optional<int> behind) const {
  const std::int64_t in_flight = behind ? corner_.least_in_flight(*behind + 1, *behind) : 1;
  const auto fits_with = [&](int c, int share) {
    const CrewOfClasses::Seat seat{c, share, 0, 0};
    if (!behind) return !corner_.is_too_long(seat, first, end);
    return corner_.fits(seat, first, end, in_flight, false) ||
           (corner_.may_recompute() && corner_.fits(seat, first, end, in_flight, true));
  };
  for (int c = 0; c < corner_.classes(); ++c) {
    if (team.count[c] == 0) continue;
    bool any = team.devices == 1 && fits_with(c, corner_.whole_share());
    for (int share = 0; share < corner_.tables().shares() && team.devices > 1 && !any; ++share) {
      any = fits_with(c, share);
    }
    if (!any) return false;
  }
  return true;
}

double Completions::per_sample(int c, int first, int end, bool everything) const {
  const StageTables& tables = corner_.tables();
  double least = kInfinity;
  for (int share = 0; share < tables.shares(); ++share) {
    const double seconds = tables.forward(c, share, first, end) + tables.backward(c, share, first, end) +
                           (everything ? tables.weight(c, share, first, end) : 0.0);
    least = std::min(least, seconds / static_cast<double>(tables.samples(share)));
  }
  return least;
}

Completions::Work Completions::work(const Team& team, int first, int end) const {
  const StageTables& tables = corner_.tables();
  const auto pass = [&](int c, int share) {
    return tables.forward(c, share, first, end) + tables.backward(c, share, first, end);
  };
  Work result{kInfinity, 0.0, 0.0};
  double pass_speed = 0.0;  // samples a second
  double speed = 0.0;
  for (int c = 0; c < corner_.classes(); ++c) {
    if (team.count[c] == 0) continue;
    if (team.devices == 1) {
      const double alone = pass(c, corner_.whole_share());
      return {alone, alone, alone + tables.weight(c, corner_.whole_share(), first, end)};
    }
    for (int share = 0; share < tables.shares(); ++share) result.trip = std::min(result.trip, pass(c, share));
    pass_speed += team.count[c] / per_sample(c, first, end, false);
    speed += team.count[c] / per_sample(c, first, end, true);
  }
  const auto samples = static_cast<double>(corner_.size());
  result.pass = std::max(result.trip, samples / pass_speed);
  result.everything = std::max(result.pass, samples / speed);
  return result;
}

double Completions::message(Pass pass, const Team& team, int c, int cut) const {
  const StageTables& tables = corner_.tables();
  const std::int64_t samples = corner_.may_replicate() ? share_unit(corner_.options(), corner_.size()) : corner_.size();
  double least = kInfinity;
  for (int before = 0; before < corner_.classes(); ++before) {
    if (team.count[before] == 0) continue;
    for (int wire = 0; wire < tables.wires(); ++wire) {
      least = std::min(least, pass == Pass::Forward ? tables.transfer(pass, before, c, cut, samples, wire)
                                                    : tables.transfer(pass, c, before, cut, samples, wire));
    }
  }
  return least;
}

}  // namespace motley
