#pragma once

#include <cstdint>

#include "motley/partitioner/search.h"

namespace motley {

/// How large a synthetic profile is.
struct SyntheticSize {
  int layers = 0;
  int devices = 0;
  int types = 1;  ///< of devices; a host has one type
  int hosts = 1;
  std::uint64_t seed = 1;
};

/// A transformer and a cluster drawn from measured distributions: eth-easl/sailor (SOSP 2025), its tables of OPT-350 on
/// seven GPU types and its link fits; synthetic.cpp has the constants and the files that they come from.
///
///  - Layers: an embedding, layers - 2 equal blocks, a head, in float32, sequences of 2,048. Times by type and
///    micro-batch size (1, 2, 4); blocks differ by 0.2 % (the tables repeat one block).
///  - Types: speeds drawn one in each of equal parts of the measured range, on a logarithmic scale; each is the nearest
///    measured type at another clock.
///  - Hosts: devices / hosts devices each, one type a host, every type on as many hosts, hosts in seeded order.
///  - Links: inside a host, between hosts and between zones of a region, as measured for the types of both ends; of two
///    types the slower, as Sailor does. Up to four zones of four hosts or more.
///  - Memory: a GPU's own less 5 to 15 % that the host's other work holds, drawn by host. Of the hosts that a plan
///    would use, drawn ones with kCrowdedShare of all devices and kCrowdedMore of a host hold more other work: what is
///    left lets their fair share of the blocks stand just at a place of their own among the last stages, and no block
///    more. How much a block saves for its backward is as much as nine in ten of those devices have room for by their
///    own memory: for the crowded at the deepest such place, for the others at the first stage.
///
/// Equal sizes and seeds give equal profiles. O(layers * types + devices^2). Throws InputError for counts below 1, for
/// fewer than 3 layers and for more types than hosts or hosts than devices.
[[nodiscard]] Profile synthetic_profile(const SyntheticSize& size);

/// Synchronous 1F1B, a global batch of 8,192 samples, every profiled micro-batch size.
[[nodiscard]] SearchOptions synthetic_options();

/// Part of all devices that compute a stage of `plan` and whose memory has no room for one more layer there. The plan
/// must have a prediction.
[[nodiscard]] double memory_bound_share(const Plan& plan, const Profile& profile);

}  // namespace motley
