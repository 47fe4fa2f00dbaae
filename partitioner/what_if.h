#pragma once

#include <string>
#include <vector>

#include "motley/partitioner/search.h"

namespace motley {

/// `profile` with one thing changed that a person may ask about:
///
///  - "device 3 = A100-80": the device (its place or its name) is of another type that the model was profiled on; it
///    gets the memory and the price of a device of that type where the cluster has one and keeps its own otherwise, and
///    keeps its host and links;
///  - "device 3 memory = 24GB", "device 3 memory + 1GB";
///  - "device 3 price = 2.5": USD an hour;
///  - "device 3 unused": there is no such device;
///  - "link 0 -> 1 x 2": messages that way take half the time.
///
/// Throws InputError naming the change, what was found and what is expected.
[[nodiscard]] Profile what_if(const Profile& profile, const std::string& change);

/// The profile of these devices alone, in this order; what was measured of groups that are no more whole is left out.
[[nodiscard]] Profile only_devices(const Profile& profile, const std::vector<int>& devices);

/// Devices to rent: so many of each type, the first ones of the cluster.
struct Composition {
  std::vector<int> devices;
  std::string words;  ///< "2 x fast + 1 x slow"
  double usd_per_hour = 0.0;
};

/// Every composition of at least one device, by ascending price, then by devices. Throws InputError above
/// kMostCompositions.
[[nodiscard]] std::vector<Composition> compositions(const ClusterProfile& cluster);
inline constexpr std::size_t kMostCompositions = 1000;

/// Which of the points (price, time) no other one beats in both, or in one with the other equal.
[[nodiscard]] std::vector<bool> pareto(const std::vector<double>& prices, const std::vector<double>& times);

}  // namespace motley
