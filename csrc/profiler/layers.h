#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "motley/device/device.h"
#include "motley/device/pacing.h"
#include "motley/plan/model_profile.h"
#include "motley/stage/stage.h"

namespace motley {

/// Times of every layer on this rank and how far its whole passes scattered.
struct MeasuredTimes {
  DeviceTimes times;    ///< medians of every layer (on a host of processor time), scaled so that they add up to the
                        ///< median of whole passes
  double spread = 0.0;  ///< inter-quartile range over median of a whole pass, the worst micro-batch size
};

/// Runs the model layer by layer, each as a stage of its own (the very code that runs in training), in passes over the
/// whole chain, so that caches are as cold as in training.
class LayerMeter {
 public:
  LayerMeter(const Workload& workload, ComputeDevice& device, Pacer pacer, std::uint64_t seed,
             const OptimizerOptions& optimizer, std::vector<std::int64_t> micro_batch_sizes);

  /// Parameter, boundary and activation bytes by the device's allocator. Two passes per size.
  [[nodiscard]] std::vector<LayerProfile> memory();

  /// Passes until every size has `repeats` and `enough()` says so (asked between passes; all ranks must load the
  /// machine until the slowest is done).
  [[nodiscard]] MeasuredTimes times(std::int64_t repeats, const std::function<bool()>& enough);

 private:
  struct Samples;  // per layer, of one size
  [[nodiscard]] Fields fields(const Stage& stage, std::int64_t size) const;
  [[nodiscard]] static std::vector<LayerTimes> times_of(const Samples& samples);
  void measure_memory(std::int64_t size, bool split, std::vector<LayerProfile>& profiles);
  void pass(std::int64_t size, bool split, std::int64_t step, Samples& samples);

  const Workload& workload_;
  ComputeDevice& device_;
  std::vector<Boundary> boundaries_;
  std::vector<std::unique_ptr<Stage>> stages_;
  std::vector<std::int64_t> sizes_;
  Pacer pacer_;
};

}  // namespace motley
