#pragma once

#include <string>
#include <vector>

#include "motley/plan/cluster_profile.h"
#include "motley/plan/plan.h"

namespace motley {

// Between GPUs there may be several transports. Where a profile has measured them, the faster one is what its links
// are, what a plan names for each edge, and what a run takes.

/// The transport that is faster between two devices, both ways together over all sizes that were measured; "auto" where
/// there was none to choose from.
[[nodiscard]] std::string faster_transport(const std::vector<MeasuredTransport>& transports, int a, int b);

/// Makes `links` those of the faster transport where several were measured.
void use_faster_links(std::vector<std::vector<TransferCurve>>& links, const std::vector<MeasuredTransport>& transports);

/// Time from one device to another over `transport` where that was measured and is not the faster; else, and for
/// "auto", that of the link.
[[nodiscard]] const TransferCurve& link_over(const ClusterProfile& cluster, int from, int to,
                                             const std::string& transport);

/// Names for each edge of `plan` the transport that is faster between all its pairs of devices; "auto" where they
/// disagree, so that each pair takes its own.
void choose_transports(Plan& plan, const ClusterProfile& cluster);

}  // namespace motley
