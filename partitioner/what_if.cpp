#include "motley/partitioner/what_if.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>
#include <set>
#include <utility>

#include "motley/base/error.h"
#include "motley/base/nearest.h"

namespace motley {
namespace {

constexpr const char* kForms =
    "\"device D = TYPE\", \"device D memory = 24GB\", \"device D memory + 1GB\", \"device D price = USD\", "
    "\"device D unused\" or \"link A -> B x 2\"";

int device_of(const ClusterProfile& cluster, const std::string& word, const std::string& change) {
  std::vector<std::string> names;
  for (int d = 0; d < cluster.size(); ++d) {
    names.push_back(cluster.devices[static_cast<std::size_t>(d)].name);
    if (names.back() == word || std::to_string(d) == word) return d;
  }
  const std::string near = nearest(word, names);
  throw InputError::of("what if \"{}\": no device {} found, expected 0 to {} or a name{}", change, word,
                       cluster.size() - 1, near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near));
}

double positive(const std::string& word, const std::string& change) {
  std::size_t read = 0;
  double value = 0.0;
  try {
    value = std::stod(word, &read);
  } catch (const std::exception&) {
    read = 0;
  }
  if (read != word.size() || !std::isfinite(value) || value <= 0.0 || value > 1e15) {
    throw InputError::of("what if \"{}\": found {}, expected a number above 0", change, word);
  }
  return value;
}

void set_type(Profile& profile, Device& device, const std::string& type, const std::string& change) {
  if (!profile.model.devices.contains(type)) {
    std::vector<std::string> types;
    for (const auto& [name, table] : profile.model.devices) types.push_back(name);
    throw InputError::of("what if \"{}\": type {} found, expected one that was profiled: {}", change, type,
                         fmt::join(types, ", "));
  }
  const auto like = std::find_if(profile.cluster.devices.begin(), profile.cluster.devices.end(),
                                 [&](const Device& other) { return other.type == type; });
  if (like != profile.cluster.devices.end()) {
    device.memory = like->memory;
    device.usd_per_hour = like->usd_per_hour;
  }
  device.type = type;
}

TransferCurve faster(const TransferCurve& link, double factor) {
  std::vector<TransferCurve::Point> points = link.points();
  for (TransferCurve::Point& point : points) point.time = point.time / factor;
  return TransferCurve(std::move(points));
}

}  // namespace

Profile what_if(const Profile& profile, const std::string& change) {
  static const std::regex kDevice(R"(\s*device\s+(\S+)\s+(.*\S)\s*)");
  static const std::regex kType(R"(=\s*(\S+))");
  static const std::regex kMemory(R"(memory\s*([=+])\s*([0-9.eE+]+)\s*(GB|MB))");
  static const std::regex kPrice(R"(price\s*=\s*(\S+))");
  static const std::regex kLink(R"(\s*link\s+(\S+)\s*->\s*(\S+)\s+x\s*(\S+)\s*)");
  Profile changed = profile;
  std::smatch match;
  if (std::regex_match(change, match, kLink)) {
    const int from = device_of(profile.cluster, match[1], change);
    const int to = device_of(profile.cluster, match[2], change);
    if (from == to) throw InputError::of("what if \"{}\": a link from a device to itself found", change);
    TransferCurve& link = changed.cluster.links[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)];
    link = faster(link, positive(match[3], change));
    return changed;
  }
  if (!std::regex_match(change, match, kDevice)) {
    throw InputError::of("what if \"{}\": not understood, expected {}", change, kForms);
  }
  const int d = device_of(profile.cluster, match[1], change);
  const std::string rest = match[2];
  Device& device = changed.cluster.devices[static_cast<std::size_t>(d)];
  if (std::regex_match(rest, match, kType)) {
    set_type(changed, device, match[1], change);
  } else if (std::regex_match(rest, match, kMemory)) {
    const double bytes = positive(match[2], change) * (match[3] == "GB" ? 1e9 : 1e6);
    if (bytes > 1e15)
      throw InputError::of("what if \"{}\": found {} {}, expected at most 1000000 GB", change, match[2].str(),
                           match[3].str());
    const Bytes amount{static_cast<std::int64_t>(bytes)};
    device.memory = match[1] == "=" ? amount : device.memory + amount;
  } else if (std::regex_match(rest, match, kPrice)) {
    device.usd_per_hour = positive(match[1], change);
  } else if (rest == "unused") {
    std::vector<int> others;
    for (int other = 0; other < profile.cluster.size(); ++other) {
      if (other != d) others.push_back(other);
    }
    if (others.empty()) throw InputError::of("what if \"{}\": it is the only device", change);
    return only_devices(profile, others);
  } else {
    throw InputError::of("what if \"{}\": not understood, expected {}", change, kForms);
  }
  return changed;
}

Profile only_devices(const Profile& profile, const std::vector<int>& devices) {
  Profile part = profile;
  part.cluster.devices.clear();
  part.cluster.links.clear();
  part.cluster.all_reduce.clear();
  part.cluster.transports.clear();
  std::map<int, int> place;
  std::set<std::string> hosts;
  for (const int device : devices) {
    place[device] = static_cast<int>(place.size());
    part.cluster.devices.push_back(profile.cluster.devices[static_cast<std::size_t>(device)]);
    hosts.insert(part.cluster.devices.back().host);
    std::vector<TransferCurve>& row = part.cluster.links.emplace_back();
    for (const int to : devices) {
      row.push_back(profile.cluster.links[static_cast<std::size_t>(device)][static_cast<std::size_t>(to)]);
    }
  }
  std::erase_if(part.cluster.hosts, [&](const Host& host) { return !hosts.contains(host.name); });
  for (AllReduce group : profile.cluster.all_reduce) {
    if (!std::all_of(group.devices.begin(), group.devices.end(), [&](int d) { return place.contains(d); })) continue;
    for (int& device : group.devices) device = place[device];
    std::sort(group.devices.begin(), group.devices.end());
    part.cluster.all_reduce.push_back(std::move(group));
  }
  for (MeasuredTransport measured : profile.cluster.transports) {
    if (!place.contains(measured.from) || !place.contains(measured.to)) continue;
    measured.from = place[measured.from];
    measured.to = place[measured.to];
    part.cluster.transports.push_back(std::move(measured));
  }
  return part;
}

std::vector<Composition> compositions(const ClusterProfile& cluster) {
  std::map<std::string, std::vector<int>> by_type;
  for (int d = 0; d < cluster.size(); ++d) by_type[cluster.devices[static_cast<std::size_t>(d)].type].push_back(d);
  double count = 1.0;
  for (const auto& [type, devices] : by_type) count *= static_cast<double>(devices.size()) + 1.0;
  if (count - 1.0 > static_cast<double>(kMostCompositions)) {
    throw InputError::of("sweep: {:.0f} compositions of the cluster found, at most {} expected", count - 1.0,
                         kMostCompositions);
  }
  std::vector<Composition> all{{}};
  for (const auto& [type, devices] : by_type) {
    std::vector<Composition> longer;
    for (const Composition& before : all) {
      Composition now = before;
      longer.push_back(now);
      for (std::size_t n = 1; n <= devices.size(); ++n) {
        now.devices.push_back(devices[n - 1]);
        now.usd_per_hour += cluster.devices[static_cast<std::size_t>(devices[n - 1])].usd_per_hour;
        now.words = fmt::format("{}{}{} x {}", before.words, before.words.empty() ? "" : " + ", n, type);
        longer.push_back(now);
      }
    }
    all = std::move(longer);
  }
  std::erase_if(all, [](const Composition& of) { return of.devices.empty(); });
  for (Composition& of : all) std::sort(of.devices.begin(), of.devices.end());
  std::stable_sort(all.begin(), all.end(), [](const Composition& a, const Composition& b) {
    return std::pair(a.usd_per_hour, a.devices.size()) < std::pair(b.usd_per_hour, b.devices.size());
  });
  return all;
}

std::vector<bool> pareto(const std::vector<double>& prices, const std::vector<double>& times) {
  std::vector<bool> unbeaten(prices.size(), true);
  for (std::size_t i = 0; i < prices.size(); ++i) {
    for (std::size_t j = 0; j < prices.size(); ++j) {
      const bool no_worse = prices[j] <= prices[i] && times[j] <= times[i];
      if (no_worse && (prices[j] < prices[i] || times[j] < times[i])) unbeaten[i] = false;
    }
  }
  return unbeaten;
}

}  // namespace motley
