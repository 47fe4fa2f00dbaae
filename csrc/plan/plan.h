#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "motley/base/units.h"
#include "motley/plan/certificate.h"

namespace motley {

/// One device of a stage; of every micro-batch it owns the samples [sample_begin, sample_end).
struct Replica {
  int device = 0;
  std::int64_t sample_begin = 0;
  std::int64_t sample_end = 0;
  friend bool operator==(const Replica&, const Replica&) = default;
};

/// Layers [first_layer, end_layer) on one device or several replicas.
struct StagePlan {
  int first_layer = 0;
  int end_layer = 0;
  std::vector<Replica> replicas;
  int warm_up = 0;               ///< forwards ahead of the first backward (1F1B); p - s is the textbook depth
  bool recompute = false;        ///< keeps only the stage's input from F on and runs F again (RECOMPUTE) before B or I
  std::string wire = "float32";  ///< format of the edge to the next stage, both ways: one of wire_formats()
  /// What carries that edge: "nccl" between GPUs, the host's "tcp" or "mpi" (from and to a GPU through pinned memory),
  /// or "auto": what the configuration says.
  std::string transport = "auto";
  friend bool operator==(const StagePlan&, const StagePlan&) = default;
};

/// What the simulator said when the plan was made.
struct Prediction {
  Seconds iteration;                   ///< the plan's cost: devices as fast as when all are busy all the time
  Seconds expected;                    ///< of a run: that, less what devices gain after pauses (Burst)
  double bubble_share = 0.0;           ///< idle share of the used ranks
  std::vector<Seconds> stage_busy;     ///< per stage, one iteration
  std::vector<Seconds> expected_busy;  ///< likewise of a run; empty: no device gains after pauses
  std::vector<Seconds> edge_time;      ///< per boundary between stages, one micro-batch forward and backward
  std::vector<Bytes> stage_memory;     ///< peak per stage, of the replica that has most
  Seconds bottleneck;                  ///< what the busiest device, link or NIC needs of an iteration (simulate.h)
  double usd_per_sample = 0.0;         ///< of the devices used; 0: no prices

  [[nodiscard]] Seconds expected_busy_of(std::size_t stage) const {
    return expected_busy.empty() ? stage_busy.at(stage) : expected_busy.at(stage);
  }
};

/// How a model is run on a cluster. The file plan.json; a hand-written one needs neither prediction nor fingerprints.
struct Plan {
  std::string planner;  ///< who made it
  std::int64_t micro_batch_size = 0;
  std::int64_t micro_batches = 0;
  std::string schedule = "1f1b";  ///< one of schedule_names()
  std::vector<StagePlan> stages;
  std::vector<std::string> actions;  ///< of schedule "listed": row d is what device d computes, as CSV; else empty
  std::optional<Prediction> prediction;
  std::optional<Certificate> certificate;
  std::string profile_fingerprint;  ///< empty: unknown, warns
  std::string model_fingerprint;
  bool emulated = false;

  [[nodiscard]] int stage_count() const { return static_cast<int>(stages.size()); }
};

/// "1f1b", "gpipe", "zero-bubble" (warm-up as 1f1b, input and weight gradients apart), "interleaved-1f1b" (stage s on
/// the devices of stage s - p, p the number of device groups) and "listed" (the plan says what every device does).
[[nodiscard]] std::span<const std::string_view> schedule_names();

/// "auto", "nccl", "tcp", "mpi".
[[nodiscard]] std::span<const std::string_view> transport_names();

/// "float32", "bfloat16", "int8": float32 tensors of a boundary as they are, rounded, or as blocks of 64 int8 codes
/// with a float32 scale. Tensors of other types cross as they are.
[[nodiscard]] std::span<const std::string_view> wire_formats();

/// Throws InputError naming `source` and the field unless the stages cover layers [0, layers) in order without a gap,
/// every device is in [0, devices), samples of a stage cover the micro-batch, names are known and counts are positive.
/// A device has one stage, unless the schedule is interleaved-1f1b (see schedule_names) or listed.
void validate(const Plan& plan, int layers, int devices, const std::string& source);

/// visit(stage, device) for every device at either end of the edge from `stage` to the next, edge by edge.
template <typename Visit>
void for_each_edge_end(const Plan& plan, Visit&& visit) {
  for (int s = 0; s + 1 < plan.stage_count(); ++s) {
    for (int end = s; end <= s + 1; ++end) {
      for (const Replica& replica : plan.stages[static_cast<std::size_t>(end)].replicas) visit(s, replica.device);
    }
  }
}

}  // namespace motley
