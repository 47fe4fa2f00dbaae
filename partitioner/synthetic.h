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
/// seven GPU types and its link fits; synthetic.cpp has the constants and fit_sailor.py beside the benchmark prints
/// them from Sailor's files.
///
///  - Layers: an embedding, layers - 2 equal blocks, a head, in float32, sequences of 2,048. Times by type and
///    micro-batch size (1, 2, 4); blocks differ by the spread that the tables show.
///  - Types: the seven measured ones in seeded order, then the same at another clock.
///  - Hosts: devices / hosts devices each, one type a host, every type on as many hosts, hosts in seeded order.
///  - Links: inside a host, between hosts, between zones of a region and between regions, as measured for the types of
///    both ends; where a pair was not measured, the slower of the two, as Sailor does. Every `kHostsOfZone` hosts are a
///    zone, the fourth zone of four is another region.
///  - Memory: a GPU's own less 5 to 15 % that the host's other work holds, drawn by host. How much a block saves for
///    its backward is measured between "its input" (all recomputed inside the block) and "everything"; it is drawn so
///    that the fair share of kOverfullShare of the devices that a plan would use does not fit at a random place.
///
/// Equal sizes and seeds give equal profiles. O(layers * types + devices^2). Throws InputError for counts below 1, for
/// fewer than 3 layers and for more types than hosts or hosts than devices.
[[nodiscard]] Profile synthetic_profile(const SyntheticSize& size);

/// Synchronous 1F1B, a global batch of 8,192 samples, every profiled micro-batch size.
[[nodiscard]] SearchOptions synthetic_options();

}  // namespace motley
