#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "motley/base/units.h"

namespace motley {

/// One replica of a stage: `gpus` GPUs that share its layers by tensor parallelism.
struct SailorReplica {
  std::string gpu;
  std::string zone;
  int gpus = 1;
  friend bool operator==(const SailorReplica&, const SailorReplica&) = default;
};

struct SailorStage {
  int first_layer = 0;
  int end_layer = 0;
  std::vector<SailorReplica> replicas;
};

/// A plan of eth-easl/sailor (sailor/Planner/.../validation), with what was measured where the file has it.
struct SailorPlan {
  std::string source;
  std::vector<SailorStage> stages;  ///< equally many replicas each
  std::int64_t micro_batch_size = 0;
  int micro_batches = 0;
  std::optional<Seconds> measured;
  std::optional<Bytes> measured_memory;
};

/// Throws InputError naming file and field: several pipelines, layers with a gap, a batch that does not divide,
/// replicas of several machines, stages with different replica counts.
[[nodiscard]] SailorPlan read_sailor_plan(const std::filesystem::path& file);

/// What Sailor's tables do not hold. fit() found the two times on the nine measured plans; reasons() says why each is
/// needed.
struct SailorConstants {
  Seconds timer{0.00018};    ///< in every layer pass of the tables
  Seconds iteration{0.080};  ///< once an iteration
  Bytes process{4'500'000'000};
  struct Reason {
    std::string name;
    double value = 0.0;
    std::string reason;
  };
  [[nodiscard]] std::vector<Reason> reasons() const;
};

/// The plans with a measured time below `folder`/validation, except `plan`, that have as many layers; in the order of
/// their paths, none where there is no such folder. Throws InputError as read_sailor_plan() does.
[[nodiscard]] std::vector<SailorPlan> measured_sailor_plans(const std::filesystem::path& folder,
                                                            const SailorPlan& plan);

struct SailorPrediction {
  Seconds iteration;
  Bytes memory;  ///< of the fullest GPU
};

/// Sailor's tables for one model: layer times per GPU type, micro-batch size and tensor-parallel degree, layer sizes,
/// and the directed links between GPU types and zones.
class SailorModel {
 public:
  /// Reads profiles_tmp.json, llm_info.json and multizone_bandwidths_het.json of `folder`; the model is the one that
  /// has `layers` layers, or `name` where that is not empty. Throws InputError naming file and field.
  SailorModel(const std::filesystem::path& folder, int layers, const std::string& name);

  [[nodiscard]] const std::string& name() const { return name_; }

  /// deepspeed_iteration() of the slowest replica, then the sum of gradients over replicas, then updates and
  /// `constants.iteration`.
  ///
  /// An activation crosses as one copy on the link between one pair of GPUs. Gradients: a ring moves 2 (n - 1) / n of
  /// each GPU's share, all GPUs of a replica at once over the link of so many pairs. Memory: 24 bytes a parameter
  /// (float32 weights, gradients, Adam's two moments, DeepSpeed's two buffers), the activations of the micro-batches in
  /// flight, those of the largest layer once more for their gradients, and `constants.process`.
  ///
  /// Throws InputError naming what the tables lack: a GPU type, micro-batch size, degree or link.
  [[nodiscard]] SailorPrediction predict(const SailorPlan& plan, const SailorConstants& constants) const;

  /// The two times that make the sum of squared relative errors on the measured ones of `plans` least: `timer` on a
  /// grid of 0.01 ms up to 0.3 ms, `iteration` by least squares, not negative.
  [[nodiscard]] SailorConstants fit(std::span<const SailorPlan> plans) const;

 private:
  struct Pass {
    double forward_s = 0.0;
    double backward_s = 0.0;
    double update_s = 0.0;
  };
  struct Layer {
    double parameters = 0.0;  // floats of a GPU
    double output = 0.0;      // floats a sample
    double saved = 0.0;       // floats a sample of a GPU
  };
  /// GB/s = a log2(MB)^2 + b log2(MB) + c, at most `most`.
  struct Link {
    double a = 0.0, b = 0.0, c = 0.0;
    double most = 0.0;  // bytes/s
  };

  [[nodiscard]] const std::vector<Pass>& passes(const SailorReplica& replica, std::int64_t size) const;
  [[nodiscard]] const std::vector<Layer>& layers(const SailorReplica& replica) const;
  [[nodiscard]] double transfer_s(const SailorReplica& from, const SailorReplica& to, int pairs, double bytes) const;
  [[nodiscard]] double passes_s(const SailorPlan& plan, std::size_t replica, double timer_s) const;
  [[nodiscard]] double gradient_sum_s(const SailorStage& stage) const;
  [[nodiscard]] double memory_bytes(const SailorPlan& plan) const;

  std::string name_;
  std::filesystem::path folder_;
  std::map<std::string, std::vector<Pass>> passes_;  // by "GPU, micro-batch size, degree"
  std::map<int, std::vector<Layer>> layers_;         // by degree
  std::map<std::string, Link> links_;                // by "zone GPU xN to zone GPU xN"
};

}  // namespace motley
