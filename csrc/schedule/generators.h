#pragma once

#include <span>
#include <string>

#include "motley/plan/plan.h"
#include "motley/schedule/schedule.h"

namespace motley {

/// All generators: stage s on rank s, `stages` stages, `micro_batches` micro-batches; compute actions only. Backwards
/// of a stage run in micro-batch order (gradients are added in that order). Throw InputError for counts below 1.

/// GPipe (Huang et al., 2019): all forwards, then all backwards.
[[nodiscard]] Schedule gpipe(int stages, int micro_batches);

/// 1F1B (PipeDream-flush, Narayanan et al., 2021): stage s runs min(micro_batches, warm_up[s]) forwards, then
/// alternates one backward and one forward, then the remaining backwards. Textbook depth is stages - s, which keeps at
/// most min(micro_batches, stages - s) micro-batches in flight. Throws InputError unless every depth is >= 1 and none
/// is below that of the next stage (such a schedule cannot run).
[[nodiscard]] Schedule one_f_one_b(int stages, int micro_batches, std::span<const int> warm_up);
[[nodiscard]] Schedule one_f_one_b(int stages, int micro_batches);

/// Zero bubble (Qi et al., ICLR 2024): input and weight gradients apart, the weight gradients where a rank would wait.
/// What list_schedule() makes of passes that all take as long and transfers that take nothing: stage s keeps at most
/// warm_up[s] micro-batches between F and I, and at most warm_up[0] between F and W, as many as 1F1B keeps on its
/// fullest rank. With the textbook's depths this is ZB-H1, whose bubble is (p - 1)(F + I - W); with 2 (p - s) - 1 it is
/// ZB-H2. Depths as for 1F1B.
[[nodiscard]] Schedule zero_bubble(int stages, int micro_batches, std::span<const int> warm_up);

/// Interleaved 1F1B (Narayanan et al., SC 2021): stage s on rank s % ranks, stages / ranks of them on each,
/// micro-batches in groups of about `ranks`. The bubble of 1F1B divided by the stages of a rank, for as many times the
/// transfers. One row a rank. Throws InputError unless stages are a multiple of ranks and micro-batches one of max(1, m
/// / ranks).
[[nodiscard]] Schedule interleaved_one_f_one_b(int ranks, int stages, int micro_batches);

/// Forwards only, for validation and evaluation.
[[nodiscard]] Schedule forward_only(int stages, int micro_batches);

/// Throws InputError naming `schedule` unless there is a depth a stage, each at least 1 and at least that of the next.
void check_warm_up(const std::string& schedule, int stages, std::span<const int> warm_up);

/// One stage a rank by name: "1f1b", "zero-bubble" or "gpipe" (which ignores warm_up). Throws InputError naming those
/// there are.
[[nodiscard]] Schedule make_schedule(const std::string& name, int micro_batches, std::span<const int> warm_up);

/// Puts row r on rank `ranks[r]` of `rank_count` ranks; ranks without a row get an empty one.
[[nodiscard]] Schedule place(const Schedule& schedule, std::span<const int> ranks, int rank_count);

/// The compute schedule of `plan`: by its generator with its warm-up depths (0: textbook), or as listed, on its
/// devices, one row each of `devices`. Throws InputError naming the field when the plan's rows are no actions or put a
/// stage elsewhere than its `stages`.
[[nodiscard]] Schedule compute_schedule(const Plan& plan, int devices);

/// Appends to every rank that has a stage, after its last action: per stage REDUCE_GRAD where it has several ranks,
/// NORM (if `clip`) and UPDATE.
[[nodiscard]] Schedule with_updates(Schedule schedule, bool clip);

}  // namespace motley
