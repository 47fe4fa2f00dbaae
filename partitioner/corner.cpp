#include "motley/partitioner/corner.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "motley/base/error.h"
#include "motley/schedule/costs.h"

namespace motley {
namespace {

constexpr std::size_t kMostCodes = std::size_t{1} << 40;

std::vector<std::vector<int>> classes_of(const ClusterProfile& cluster, int fixed_devices) {
  if (fixed_devices == 0) return interchangeable_devices(cluster);
  std::vector<std::vector<int>> classes;
  for (int device = 0; device < fixed_devices; ++device) classes.push_back({device});
  return classes;
}

std::vector<int> sizes_of(const std::vector<std::vector<int>>& classes) {
  std::vector<int> sizes;
  for (const std::vector<int>& members : classes) sizes.push_back(static_cast<int>(members.size()));
  return sizes;
}

/// Devices that stand in ascending order, without a gap.
bool is_run(const Crew& crew) {
  return std::adjacent_find(crew.begin(), crew.end(),
                            [](const Seat& a, const Seat& b) { return b.device != a.device + 1; }) == crew.end();
}

TableRequest request_of(const std::vector<Crew>& crews, const Allowed& may, std::int64_t size, bool apart) {
  TableRequest request{size, {}, may.wires, apart};
  for (const Crew& crew : crews) {
    for (const Seat& seat : crew) request.shares.push_back(seat.samples);
  }
  std::sort(request.shares.begin(), request.shares.end());
  request.shares.erase(std::unique(request.shares.begin(), request.shares.end()), request.shares.end());
  return request;
}

}  // namespace

Corner::Corner(const Profile& profile, const SearchOptions& options, std::int64_t size, std::string schedule,
               int rounds, int fixed_devices)
    : profile_(&profile),
      options_(&options),
      size_(size),
      micro_batches_(options.global_batch / size),
      schedule_(std::move(schedule)),
      rounds_(rounds),
      fixed_devices_(fixed_devices),
      may_recompute_(allowed(options).recompute),
      may_replicate_(share_unit(options, size) > 0),
      shares_nics_(std::any_of(profile.cluster.hosts.begin(), profile.cluster.hosts.end(),
                               [](const Host& host) { return host.send.value > 0.0 || host.receive.value > 0.0; })),
      classes_(classes_of(profile.cluster, fixed_devices)),
      crews_(motley::crews(profile.model, options, sizes_of(classes_), size)),
      tables_(profile, classes_, request_of(crews_, allowed(options), size, apart())) {
  whole_share_ = tables_.share(size);
  const int layers = static_cast<int>(profile.model.layers.size());
  most_stages_ = options.max_stages > 0 ? std::min(options.max_stages, layers) : layers;
  for (const std::vector<int>& members : classes_) {
    stride_.push_back(codes_);
    codes_ = codes_ < kMostCodes ? codes_ * (members.size() + 1) : 0;
  }
  std::map<std::vector<int>, std::size_t> team_of;
  for (const Crew& crew : crews_) {
    if (fixed_devices_ > 0 && !is_run(crew)) continue;
    std::vector<int> count(classes_.size(), 0);
    for (const Seat& seat : crew) ++count[seat.device];
    const auto [place, fresh] = team_of.emplace(count, teams_.size());
    if (fresh) {
      Team& team = teams_.emplace_back();
      team.count = count;
      team.devices = static_cast<int>(crew.size());
      for (std::size_t c = 0; c < count.size(); ++c) team.stride += static_cast<std::size_t>(count[c]) * stride_[c];
    }
    CrewOfClasses& of = teams_[place->second].crews.emplace_back();
    std::int64_t sample = 0;
    for (const Seat& seat : crew) {
      of.seats.push_back({seat.device, tables_.share(seat.samples), sample, sample + seat.samples});
      of.usd_per_hour += tables_.usd_per_hour(seat.device);
      sample += seat.samples;
    }
  }
}

std::vector<int> Corner::used_of(std::size_t code) const {
  std::vector<int> used;
  for (std::size_t c = 0; c < classes_.size(); ++c) {
    used.push_back(static_cast<int>(code / stride_[c] % (classes_[c].size() + 1)));
  }
  return used;
}

bool Corner::may_place(const std::vector<int>& used, const Team& team) const {
  for (int c = 0; c < classes(); ++c) {
    if (used[c] + team.count[c] > class_size(c)) return false;
  }
  if (fixed_devices_ == 0) return true;
  // From the last stage to the first: the highest device that is not used yet.
  const int next = fixed_devices_ - 1 - std::accumulate(used.begin(), used.end(), 0);
  return next >= 0 && team.count[next] > 0;
}

bool Corner::may_end(const std::vector<int>& used) const {
  const int needed = options_->use_all_devices ? profile_->cluster.size() : fixed_devices_;
  return needed == 0 || std::accumulate(used.begin(), used.end(), 0) == needed;
}

std::vector<Crew> Corner::devices_of(const std::vector<const CrewOfClasses*>& crews) const {
  std::vector<int> taken(classes_.size(), 0);
  std::vector<Crew> result;
  for (const CrewOfClasses* crew : crews) {
    Crew& of = result.emplace_back();
    for (const CrewOfClasses::Seat& seat : crew->seats) {
      of.push_back({classes_[seat.c][taken[seat.c]++], seat.end - seat.begin});
    }
  }
  return result;
}

double Corner::reduce(const CrewOfClasses& crew, int first, int end) const {
  if (crew.seats.size() < 2) return 0.0;
  std::vector<int> taken(classes_.size(), 0);
  std::vector<int> devices;
  for (const CrewOfClasses::Seat& seat : crew.seats) devices.push_back(classes_[seat.c][taken[seat.c]++]);
  return all_reduce_time(profile_->cluster, devices, Bytes{tables_.parameters(first, end)}).value;
}

std::vector<Corner> corners(const Profile& profile, const SearchOptions& options) {
  const Allowed may = allowed(options);
  const int devices = profile.cluster.size();
  std::vector<Corner> all;
  for (const std::int64_t size : micro_batch_sizes(profile.model, options)) {
    for (const std::string& schedule : may.schedules) {
      const bool interleaved = schedule == "interleaved-1f1b";
      for (int rounds = interleaved ? 2 : 1; rounds <= (interleaved ? options.max_rounds : 1); ++rounds) {
        if (options.any_order) {
          all.emplace_back(profile, options, size, schedule, rounds, 0);
          continue;
        }
        for (int fixed = options.use_all_devices ? devices : 2; fixed <= devices; ++fixed) {
          all.emplace_back(profile, options, size, schedule, rounds, fixed);
        }
      }
    }
  }
  return all;
}

}  // namespace motley
