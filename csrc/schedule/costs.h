#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "motley/base/units.h"
#include "motley/plan/plan.h"
#include "motley/plan/profile.h"
#include "motley/plan/wire.h"
#include "motley/schedule/lowering.h"

namespace motley {

/// What one stage costs on the rank that runs it, per micro-batch: of a replica, for the samples it owns.
struct StageCosts {
  Seconds forward;
  Seconds backward_input;
  Seconds backward_weight;
  Seconds backward;
  Seconds update;              ///< per iteration, clip norm included
  Seconds reduce;              ///< per iteration: sum of the gradients over the stage's replicas
  Bytes boundary_forward;      ///< sent to the next stage per micro-batch, all samples, on the wire
  Bytes boundary_backward;     ///< sent back by the next stage per micro-batch
  Bytes resident;              ///< weights, gradients, optimiser state
  Bytes saved;                 ///< kept per micro-batch from F to B (or to I); with RECOMPUTE from there
  Bytes queued;                ///< kept per micro-batch from I to W
  Bytes input;                 ///< with RECOMPUTE: kept per micro-batch from F to RECOMPUTE
  Bytes forward_peak;          ///< most that exists of the micro-batch during F, its input included
  Bytes unsaved_peak;          ///< likewise during an F of which only the input is kept
  Bytes backward_input_peak;   ///< likewise during I, with what F saved and the output's gradient
  Bytes backward_weight_peak;  ///< likewise during W, with what I queued
  Bytes backward_peak;         ///< likewise during B
};

/// Time a rank spends on one message of a wire format, beside the transfer.
struct CodecTimes {
  Seconds encode;  ///< at the SEND
  Seconds decode;  ///< before the compute that takes it
};

/// The messages of an edge: those of the boundary behind `stage`, forward or backward.
struct Edge {
  int stage = 0;
  Pass pass = Pass::Forward;
};

/// What the ranks of a host share: all their messages to (from) other hosts together.
struct Nic {
  BytesPerSecond send;     ///< 0: never the limit
  BytesPerSecond receive;  ///< likewise
};

/// Everything simulate needs: costs per stage, transfer times between ranks.
struct PipelineCosts {
  std::vector<StageCosts> stages;                     ///< [stage], on every rank that has no costs of its own
  std::map<std::pair<int, int>, StageCosts> on_rank;  ///< by stage and rank: replicas
  std::function<Seconds(int from, int to, Bytes bytes)> transfer;  ///< of a message that has the link for itself
  /// Bytes of a message that carries only some samples; unset: the schedule has no such messages.
  std::function<Bytes(Edge edge, std::int64_t samples)> part_bytes;
  /// Unset: no edge has a codec. `samples` 0: all.
  std::function<CodecTimes(Edge edge, int from, int to, std::int64_t samples)> codec;
  std::vector<int> host_of_rank;  ///< empty: no NIC is shared
  std::vector<Nic> nics;          ///< by host
  std::vector<Burst> bursts;      ///< by rank; empty: pauses earn nothing
  Bytes base_memory;              ///< of every rank, stages or not
  Seconds action_overhead;
  Seconds norm_exchange;

  [[nodiscard]] const StageCosts& of(int stage, int rank) const;
};

/// Costs of `plan` under `profile`, which must outlive them: rank d is device d. With more than one device used, busy
/// tables; else alone. A replica's times and memory are those of its number of samples, on the straight line between
/// measured micro-batch sizes. Throws InputError naming stage and field when a size lies outside what was measured, or
/// a whole micro-batch on one device was not measured itself.
[[nodiscard]] PipelineCosts costs_of(const Plan& plan, const Profile& profile);

/// What a run of `plan` is expected to meet: costs_of(), with what devices gain after pauses.
[[nodiscard]] PipelineCosts expected_costs_of(const Plan& plan, const Profile& profile);

/// Time to sum `bytes` over `devices`: as measured for this group, else that of a ring (Patarasuk and Yuan, 2009,
/// "Bandwidth optimal all-reduce algorithms for clusters of workstations"): 2 (n - 1) steps, each as long as the
/// slowest link of the ring needs for bytes / n, or a NIC for all the ring's messages through it. The ring goes in the
/// order of `devices`, that of a stage's samples. Zero for one device.
[[nodiscard]] Seconds all_reduce_time(const ClusterProfile& cluster, const std::vector<int>& devices, Bytes bytes);

/// [stage]: which rank has which samples.
[[nodiscard]] Shares shares_of(const Plan& plan);

/// The lowered schedule that runs `plan`: generator by name, placed on devices, replicas, recomputation, updates (with
/// NORM if clip), transfers.
[[nodiscard]] Schedule schedule_of(const Plan& plan, int devices, bool clip, int receive_ahead = 2);

}  // namespace motley
