#include "motley/partitioner/free_stages.h"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "motley/partitioner/completions.h"
#include "motley/partitioner/space.h"

namespace motley {
namespace {

std::vector<std::vector<int>> classes_of(const Profile& profile, const SearchOptions& options) {
  if (options.any_order) return interchangeable_devices(profile.cluster);
  std::vector<std::vector<int>> each;
  for (int device = 0; device < profile.cluster.size(); ++device) each.push_back({device});
  return each;
}

}  // namespace

FreeStages::FreeStages(const Profile& profile, const SearchOptions& options, std::int64_t size)
    : size_(size),
      micro_batches_(static_cast<double>(options.global_batch) / static_cast<double>(size)),
      clip_(options.clip),
      classes_(classes_of(profile, options)),
      fused_(profile, classes_, {.size = size, .shares = {size}, .apart = false}),
      apart_(profile, classes_, {.size = size, .shares = {size}, .apart = true}) {
  const auto width = static_cast<std::size_t>(layers()) + 1;
  stages_.resize(classes_.size() * width * width);
  for (int c = 0; c < static_cast<int>(classes_.size()); ++c) {
    for (int first = 0; first < layers(); ++first) {
      for (int end = first + 1; end <= layers(); ++end) {
        FreePasses of = passes(c, first, end);
        double backward = 0.0;
        if (first > 0) {
          of.forward += fused_.decode(Pass::Forward, c, first, size_, 0);
          backward += fused_.encode(Pass::Backward, c, first, size_, 0);
        }
        if (end < layers()) {
          of.forward += fused_.encode(Pass::Forward, c, end, size_, 0);
          backward += fused_.decode(Pass::Backward, c, end, size_, 0);
        }
        of.gradient += backward;
        of.backward += backward;
        stages_[index(c, first, end)] = of;
      }
    }
  }
}

FreePasses FreeStages::passes(int c, int first, int end) const {
  const double input = apart_.backward(c, 0, first, end);
  const double whole = fused_.backward(c, 0, first, end);
  return {fused_.forward(c, 0, first, end), std::min(input, whole),
          std::min(input + apart_.weight(c, 0, first, end), whole), fused_.update(c, first, end)};
}

FreeMessages FreeStages::messages(int before, int c, int cut) const {
  if (before < 0) return {};
  return {fused_.transfer(Pass::Forward, before, c, cut, size_, 0),
          fused_.transfer(Pass::Backward, c, before, cut, size_, 0)};
}

FreeDuration FreeStages::duration(const FreePasses& of, const FreeMessages& from_before, double trip) const {
  const double m = micro_batches_;
  const double forwards = std::max(m * of.forward, of.forward + trip);
  const double channel = std::max(from_before.forward, from_before.backward);
  return {std::max(forwards + m * of.gradient, of.forward + trip + of.gradient + (m - 1.0) * channel),
          forwards + m * of.backward + (clip_ ? 0.0 : of.update)};
}

FreeRests::FreeRests(const FreeStages& stages, const Profile& profile, const SearchOptions& options)
    : stages_(stages),
      most_(most_stages(profile, options)),
      fewest_(std::max(2, fewest_stages(profile, options))),
      any_order_(options.any_order) {
  if (!group_classes(profile)) return;
  list_messages();
  list_rests();
}

bool FreeRests::group_classes(const Profile& profile) {
  const auto layers = static_cast<double>(stages_.layers());
  for (const int fineness : {2, 1, 0}) {
    groups_.clear();
    stride_.clear();
    group_of_.clear();
    codes_ = 1;
    std::map<std::tuple<std::string, std::string, int>, int> known;
    for (int c = 0; c < static_cast<int>(stages_.classes().size()); ++c) {
      const std::vector<int>& members = stages_.classes()[static_cast<std::size_t>(c)];
      const Device& device = profile.cluster.devices[static_cast<std::size_t>(members.front())];
      const auto [place, fresh] = known.try_emplace(
          {device.type, fineness > 0 ? device.host : "", fineness > 1 ? c : 0}, static_cast<int>(groups_.size()));
      if (fresh) groups_.emplace_back();
      group_of_.push_back(place->second);
      Group& group = groups_[static_cast<std::size_t>(place->second)];
      group.classes.push_back(c);
      group.devices += static_cast<int>(members.size());
    }
    double steps = layers * layers * static_cast<double>(groups_.size() * groups_.size());
    for (const Group& group : groups_) steps *= group.devices + 1.0;
    if (steps > Completions::kMostWork) continue;
    for (const Group& group : groups_) {
      stride_.push_back(codes_);
      codes_ *= static_cast<std::size_t>(group.devices) + 1;
    }
    if (fineness < 2) any_order_ = true;  // a device's place cannot be told
    return true;
  }
  stride_.assign(groups_.size(), 0);
  return false;
}

void FreeRests::list_messages() {
  const auto count = groups_.size();
  messages_.assign(static_cast<std::size_t>(stages_.layers()) * count * count,
                   {FreeRest::none().trip, FreeRest::none().trip});
  for (int cut = 1; cut < stages_.layers(); ++cut) {
    for (std::size_t a = 0; a < count; ++a) {
      for (std::size_t b = 0; b < count; ++b) {
        FreeMessages& least = messages_[edge(cut, a, b)];
        for (const int from : groups_[a].classes) {
          for (const int to : groups_[b].classes) {
            if (from == to && stages_.classes()[static_cast<std::size_t>(from)].size() < 2) continue;
            const FreeMessages between = stages_.messages(from, to, cut);
            least.forward = std::min(least.forward, between.forward);
            least.backward = std::min(least.backward, between.backward);
          }
        }
      }
    }
  }
}

void FreeRests::list_rests() {
  const int layers = stages_.layers();
  rests_.assign(codes_ * groups_.size() * (static_cast<std::size_t>(layers) + 1), FreeRest::none());
  std::vector<int> used(groups_.size(), 0);
  for (std::size_t code = codes_; code-- > 1;) {
    int devices = 0;
    for (std::size_t g = 0; g < used.size(); ++g) {
      used[g] = static_cast<int>(code / stride_[g] % (static_cast<std::size_t>(groups_[g].devices) + 1));
      devices += used[g];
    }
    for (std::size_t last = 0; last < used.size(); ++last) {
      if (used[last] == 0) continue;
      if (devices >= fewest_) rests_[index(code, last, layers)] = {};
      if (devices >= most_) continue;
      for (int first = 1; first < layers; ++first) {
        rests_[index(code, last, first)] = least(code, used, devices, last, first);
      }
    }
  }
}

FreeRest FreeRests::least(std::size_t code, const std::vector<int>& used, int stages, std::size_t last,
                          int first) const {
  FreeRest least = FreeRest::none();
  for (std::size_t g = 0; g < used.size(); ++g) {
    if (used[g] == groups_[g].devices || (!any_order_ && static_cast<int>(g) != stages)) continue;
    const FreeMessages& between = messages_[edge(first, last, g)];
    const double both = between.forward + between.backward;
    for (int end = first + 1; end <= stages_.layers(); ++end) {
      const FreeRest& behind = rests_[index(code + stride_[g], g, end)];
      if (behind.trip == FreeRest::none().trip) continue;
      const FreePasses& of = stages_.stage(groups_[g].classes.front(), first, end);
      const FreeDuration own = stages_.duration(of, between, behind.trip);
      least.trip = std::min(least.trip, both + of.forward + of.gradient + behind.trip);
      least.to_gradient =
          std::min(least.to_gradient, both + std::max(own.to_gradient, of.forward + of.gradient + behind.to_gradient));
      least.to_end = std::min(least.to_end, between.forward + std::max(own.to_end, of.forward + behind.to_end));
    }
  }
  return least;
}

}  // namespace motley
