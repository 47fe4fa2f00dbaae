#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "motley/partitioner/search.h"

namespace motley {

/// The plan space of "exact" and "brute-force", in one place.
///
/// Every cut of layers [0, L) into contiguous stages; every allowed micro-batch size with micro_batches = global_batch
/// / size; every allowed schedule. Under 1f1b, gpipe and zero-bubble a stage has devices of its own: one, or where
/// replicas are allowed a sequence of distinct devices with a share of the samples each. Under interleaved-1f1b p >= 2
/// such groups of devices take the stages in turn, for 2 to max_rounds rounds. Devices come in any order and may stay
/// unused, unless the options say otherwise. Where allowed, every stage recomputes or not, every edge has any of the
/// allowed wire formats.
///
/// Warm-up depths of 1f1b and zero-bubble: w[p-1] = 1, w[s] = w[s+1] + 1 + e[s] with e[s] in 0..kMostExtraWarmUp (0
/// everywhere is the textbook's p - s; more hides slow links and, under zero-bubble, fills the bubble, and costs
/// memory). Depths beyond the number of micro-batches are the same schedule as that number, and only the least e[s]
/// that reaches it is listed.
///
/// Shares are multiples of a unit of samples, between the smallest and the largest measured micro-batch size. Where the
/// unit does not divide the micro-batch, stages of it are not replicated.
inline constexpr int kMostExtraWarmUp = 2;

/// Ways to fill one stage beyond which replicas are not searched but refused.
inline constexpr std::int64_t kMostCrews = 200'000;

/// Throws InputError for a batch or limit that makes no sense, and for a schedule or feature that the space does not
/// have.
void check_options(const SearchOptions& options);

/// What options.allow and options.schedules come to.
struct Allowed {
  bool replicas = false;
  bool recompute = false;
  std::vector<std::string> wires;      ///< "float32" first
  std::vector<std::string> schedules;  ///< each once
};
[[nodiscard]] Allowed allowed(const SearchOptions& options);

/// The allowed schedules under which a device has one stage: all but interleaved-1f1b. For planners that place no
/// others.
[[nodiscard]] std::vector<std::string> one_stage_schedules(const SearchOptions& options);

/// The allowed sizes, ascending. Throws InputError when none divides the batch or one was not profiled.
[[nodiscard]] std::vector<std::int64_t> micro_batch_sizes(const ModelProfile& model, const SearchOptions& options);

/// Most stages that a plan can have on a device each.
[[nodiscard]] int most_stages(const Profile& profile, const SearchOptions& options);

/// Fewest stages that a plan can have on a device each, or replicated.
[[nodiscard]] int fewest_stages(const Profile& profile, const SearchOptions& options);

/// Samples by which shares of a micro-batch of `size` differ; 0: its stages are not replicated.
[[nodiscard]] std::int64_t share_unit(const SearchOptions& options, std::int64_t size);

/// A device, or one of a class of devices that can change places, and how many samples of a micro-batch it has.
struct Seat {
  int device = 0;
  std::int64_t samples = 0;
  friend bool operator==(const Seat&, const Seat&) = default;
};
/// Who computes a stage, by ascending samples.
using Crew = std::vector<Seat>;

/// Every crew of the space, single ones first, where there are `available[d]` devices of class d. Throws InputError
/// above kMostCrews.
[[nodiscard]] std::vector<Crew> crews(const ModelProfile& model, const SearchOptions& options,
                                      std::span<const int> available, std::int64_t size);

/// Whether interleaved-1f1b can give so many micro-batches to so many groups of devices (see generators.h).
[[nodiscard]] bool can_interleave(int groups, std::int64_t micro_batches);

/// One stage of a plan: it ends before layer `end` and starts where the one before ends.
struct StageChoice {
  int end = 0;
  Crew crew;
  int warm_up = 1;
  bool recompute = false;
  std::string wire = "float32";
};

[[nodiscard]] Plan make_plan(std::span<const StageChoice> stages, std::int64_t size, std::int64_t global_batch,
                             const std::string& schedule);
/// The plan with stage s on `devices[s]`, from layer `cuts[s]` to `cuts[s + 1]`; cuts has one entry more than devices.
[[nodiscard]] Plan make_plan(std::span<const int> cuts, std::span<const int> devices, std::span<const int> warm_up,
                             std::int64_t size, std::int64_t global_batch, const std::string& schedule);

/// p, p - 1, ..., 1.
[[nodiscard]] std::vector<int> textbook_warm_up(int stages);

/// Whether `extra` more forwards than textbook ahead of a stage of depth `next` is a schedule of its own.
[[nodiscard]] bool is_distinct_warm_up(int next, int extra, std::int64_t micro_batches);

/// Every warm-up of the space for `stages` stages; one, the textbook's, unless `schedule` is 1f1b or zero-bubble.
[[nodiscard]] std::vector<std::vector<int>> warm_ups(const std::string& schedule, int stages,
                                                     std::int64_t micro_batches);

/// What a certificate keeps of the options, for the checker.
[[nodiscard]] BoundSpace asked_space(const SearchOptions& options);

/// The space in words, for certificates.
[[nodiscard]] std::string describe_space(const Profile& profile, const SearchOptions& options);

}  // namespace motley
