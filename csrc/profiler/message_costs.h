#pragma once

#include <string>
#include <vector>

#include "motley/comm/communicator.h"
#include "motley/device/device.h"
#include "motley/device/pacing.h"
#include "motley/plan/model_profile.h"
#include "motley/profiler/links.h"

namespace motley {

/// Seconds that a message takes from what this rank computes meanwhile, the first rank of its type in `types` (by rank)
/// on a host: sent and received, for the sizes of put_message_costs(). A thread moves messages, but on a host whose
/// cores all compute it takes its time from the computing, and so does the system. 0 s on other ranks and on devices
/// that are not the host, and where the computing scatters by more than messages slow it. Collective over the world;
/// `links` is complete on every rank, `span` how long to look each time.
[[nodiscard]] std::vector<double> measure_message_costs(Communicator& communicator, ComputeDevice& device, Pacer pacer,
                                                        const std::vector<std::string>& types,
                                                        const std::vector<std::vector<TransferCurve>>& links,
                                                        Seconds span);

/// Adds what measure_message_costs() returned on the first rank of the type to what its wire formats take.
void put_message_costs(const std::vector<double>& seconds, DeviceTable& table);

}  // namespace motley
