#pragma once

#include <functional>
#include <optional>
#include <string>

#include "motley/comm/communicator.h"
#include "motley/comm/signals.h"
#include "motley/config/config.h"
#include "motley/device/host_memory.h"
#include "motley/launcher/gpus.h"
#include "motley/workloads/workload.h"

namespace motley {

/// What a rank has before it knows the others.
struct RankInputs {
  Config config;
  HostMemory memory;
  Workload workload;
  CommOptions comm;
  GpuSupport gpus = {};
};

/// The part of a command that mpirun starts on every rank. `prepare` reads what this rank needs, alone; nullopt: there
/// is nothing to do (--help). Then, if they are as many as the configuration says, the ranks connect and run `body`
/// together. What one of them throws ends the run on every rank, and one rank tells of it. Returns the exit code.
/// Throws what `prepare` throws where there is no mpirun.
int on_ranks(const std::string& program, const std::function<std::optional<RankInputs>()>& prepare,
             const std::function<void(RankInputs&, SignalWatch&, Communicator&)>& body);

}  // namespace motley
