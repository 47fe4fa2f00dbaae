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
/// Every cut of layers [0, L) into p contiguous stages; every assignment of distinct devices to them (in any order,
/// others unused, unless the options say otherwise); every allowed micro-batch size with micro_batches = global_batch /
/// size; every allowed schedule; for 1F1B every warm-up depth w[p-1] = 1, w[s] = w[s+1] + 1 + e[s] with e[s] in
/// 0..kMostExtraWarmUp (0 everywhere is the textbook's p - s; more hides slow links and costs memory). Depths beyond
/// the number of micro-batches are the same schedule as that number, and only the least e[s] that reaches it is listed.
inline constexpr int kMostExtraWarmUp = 2;

/// Throws InputError for a batch or limit that makes no sense and for a schedule the space does not have.
void check_options(const SearchOptions& options);

/// The allowed sizes, ascending. Throws InputError when none divides the batch or one was not profiled.
[[nodiscard]] std::vector<std::int64_t> micro_batch_sizes(const ModelProfile& model, const SearchOptions& options);

/// Most stages that a plan can have.
[[nodiscard]] int most_stages(const Profile& profile, const SearchOptions& options);

/// Fewest stages that a plan can have.
[[nodiscard]] int fewest_stages(const Profile& profile, const SearchOptions& options);

/// The plan with stage s on `devices[s]`, from layer `cuts[s]` to `cuts[s + 1]`; cuts has one entry more than devices.
[[nodiscard]] Plan make_plan(std::span<const int> cuts, std::span<const int> devices, std::span<const int> warm_up,
                             std::int64_t size, std::int64_t global_batch, const std::string& schedule);

/// p, p - 1, ..., 1.
[[nodiscard]] std::vector<int> textbook_warm_up(int stages);

/// Whether `extra` more forwards than textbook ahead of a stage of depth `next` is a schedule of its own.
[[nodiscard]] bool is_distinct_warm_up(int next, int extra, std::int64_t micro_batches);

/// Every warm-up of the space for `stages` stages; one, the textbook's, unless `schedule` is 1f1b.
[[nodiscard]] std::vector<std::vector<int>> warm_ups(const std::string& schedule, int stages,
                                                     std::int64_t micro_batches);

/// The space in words, for certificates.
[[nodiscard]] std::string describe_space(const Profile& profile, const SearchOptions& options);

}  // namespace motley
