#include "motley/plan/transports.h"

#include <map>
#include <set>

namespace motley {

std::string faster_transport(const std::vector<MeasuredTransport>& transports, int a, int b) {
  std::map<std::string, Seconds> sums;
  for (const MeasuredTransport& measured : transports) {
    if ((measured.from == a && measured.to == b) || (measured.from == b && measured.to == a)) {
      for (const TransferCurve::Point& point : measured.time.points()) sums[measured.transport] += point.time;
    }
  }
  std::string fastest = "auto";
  for (const auto& [transport, sum] : sums) {
    if (fastest == "auto" || sum < sums.at(fastest)) fastest = transport;
  }
  return fastest;
}

void use_faster_links(std::vector<std::vector<TransferCurve>>& links,
                      const std::vector<MeasuredTransport>& transports) {
  for (const MeasuredTransport& measured : transports) {
    if (measured.transport == faster_transport(transports, measured.from, measured.to)) {
      links.at(static_cast<std::size_t>(measured.from)).at(static_cast<std::size_t>(measured.to)) = measured.time;
    }
  }
}

const TransferCurve& link_over(const ClusterProfile& cluster, int from, int to, const std::string& transport) {
  // What the link is stays so where somebody changed it by hand.
  const bool is_link = transport == "auto" || transport == faster_transport(cluster.transports, from, to);
  for (const MeasuredTransport& measured : cluster.transports) {
    if (!is_link && measured.from == from && measured.to == to && measured.transport == transport) return measured.time;
  }
  return cluster.links[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)];
}

void choose_transports(Plan& plan, const ClusterProfile& cluster) {
  if (cluster.transports.empty()) return;
  for (int s = 0; s + 1 < plan.stage_count(); ++s) {
    StagePlan& below = plan.stages[static_cast<std::size_t>(s)];
    std::set<std::string> fastest;
    for (const Replica& from : below.replicas) {
      for (const Replica& to : plan.stages[static_cast<std::size_t>(s) + 1].replicas) {
        if (from.device != to.device) fastest.insert(faster_transport(cluster.transports, from.device, to.device));
      }
    }
    if (fastest.size() == 1) below.transport = *fastest.begin();
  }
}

}  // namespace motley
