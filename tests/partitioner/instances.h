#pragma once

#include <cstdint>
#include <vector>

#include "motley/partitioner/search.h"

namespace motley {

struct Instance {
  Profile profile;
  SearchOptions options;
};

/// A profile of `layers` layers for `types.size()` devices: device d is "rank<d>" of type "t<types[d]>", which needs
/// (types[d] + 1) ms forward and twice that backward for a layer and a micro-batch, whatever its size; 1 KB of
/// parameters and 1000 bytes saved a layer; links of 10 us and `rate` bytes/s; plenty of memory; micro-batch size 1.
[[nodiscard]] Profile plain_profile(int layers, const std::vector<int>& types, double rate = 1e9);

/// Small enough to enumerate: at most 6 layers, 4 devices, 6 micro-batches, 3 micro-batch sizes; some devices equal,
/// links directed, some of them slow; in about half of the instances a memory limit between nothing fits and all fits.
[[nodiscard]] Instance random_instance(std::uint64_t seed);

/// What random_rich_instance may use beyond random_instance.
struct Rich {
  bool replicas = false;
  bool recompute = false;
  bool wires = false;  ///< some with codecs that take time
  bool zero_bubble = false;
  bool interleaved = false;
  bool nics = false;
  Objective objective = Objective::Iteration;
};

/// At most `most_plans` plans, of all kinds that the space has: a random choice of features, micro-batches of 1 to 4
/// samples on up to 4 devices of one or two hosts, prices, measured groups, and where recomputation is allowed a limit
/// of memory that asks for it.
[[nodiscard]] Instance random_rich_instance(std::uint64_t seed, std::int64_t most_plans, Rich* drawn = nullptr);

/// Prices every link of the instance at `factor` times the rate (the latency stays).
[[nodiscard]] Profile with_faster_links(const Profile& profile, double factor);

/// Device d becomes device order[d].
[[nodiscard]] Profile reordered(const Profile& profile, const std::vector<int>& order);

/// The plan or an exception naming why there is none.
[[nodiscard]] Found found(const SearchResult& result);

}  // namespace motley
