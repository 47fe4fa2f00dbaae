#pragma once

#include <functional>
#include <span>
#include <vector>

#include "motley/base/units.h"
#include "motley/plan/plan.h"
#include "motley/plan/profile.h"
#include "motley/schedule/schedule.h"

namespace motley {

/// What one stage costs on the rank that runs it, per micro-batch.
struct StageCosts {
  Seconds forward;
  Seconds backward_input;
  Seconds backward_weight;
  Seconds backward;
  Seconds update;              ///< per iteration, clip norm included
  Bytes boundary_forward;      ///< sent to the next stage per micro-batch
  Bytes boundary_backward;     ///< sent back by the next stage per micro-batch
  Bytes resident;              ///< weights, gradients, optimiser state
  Bytes saved;                 ///< kept per micro-batch from F to B (or to I)
  Bytes queued;                ///< kept per micro-batch from I to W
  Bytes forward_peak;          ///< most that exists of the micro-batch during F, its input included
  Bytes backward_input_peak;   ///< likewise during I, with what F saved and the output's gradient
  Bytes backward_weight_peak;  ///< likewise during W, with what I queued
  Bytes backward_peak;         ///< likewise during B
};

/// Everything simulate needs: costs per stage, transfer times between ranks.
struct PipelineCosts {
  std::vector<StageCosts> stages;
  std::function<Seconds(int from, int to, Bytes bytes)> transfer;
  Bytes base_memory;  ///< of every rank, stages or not
  Seconds action_overhead;
  Seconds norm_exchange;
};

/// Costs of `plan` under `profile`, which must outlive them: rank d is device d. With more than one device used, busy
/// tables; else alone. Throws InputError for what it cannot price yet (replicas, recompute, wire formats), naming it.
[[nodiscard]] PipelineCosts costs_of(const Plan& plan, const Profile& profile);

/// The lowered schedule that runs `plan`: generator by name, placed on devices, updates (with NORM if clip), transfers.
[[nodiscard]] Schedule schedule_of(const Plan& plan, int devices, bool clip, int receive_ahead = 2);

struct Event {
  int rank = 0;  ///< of a transfer: the sender
  int to = -1;   ///< of a transfer: the receiver; -1 for compute
  Action action;
  Seconds start;
  Seconds end;
};

struct Simulation {
  Seconds iteration;
  std::vector<Event> events;        ///< ordered by start; empty unless asked for
  std::vector<Seconds> busy;        ///< per rank: compute and updates
  double bubble_share = 0.0;        ///< 1 - sum(busy) / (iteration * ranks that have actions)
  std::vector<int> peak_in_flight;  ///< per rank: micro-batches between F and the end of B (or of W)
  std::vector<Bytes> peak_memory;   ///< per rank
};

struct SimulateOptions {
  bool events = false;
};

/// Replays a lowered schedule. A transfer starts when its SEND and its RECV are both reached and its channel is free;
/// it takes `costs.transfer`. NORM ends for all when the last rank has reached its own, plus norm_exchange. O(actions
/// log ranks). Throws InputError when the schedule cannot run (see validate) or names a stage without costs.
[[nodiscard]] Simulation simulate(const Schedule& lowered, const PipelineCosts& costs,
                                  const SimulateOptions& options = {});

}  // namespace motley
