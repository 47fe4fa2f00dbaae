#pragma once

#include <span>
#include <string>

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

/// Forwards only, for validation and evaluation.
[[nodiscard]] Schedule forward_only(int stages, int micro_batches);

/// By name: "1f1b" or "gpipe" (warm_up is ignored by gpipe). Throws InputError naming those there are.
[[nodiscard]] Schedule make_schedule(const std::string& name, int micro_batches, std::span<const int> warm_up);

/// Puts stage s on rank `ranks[s]` of `rank_count` ranks; ranks without a stage get an empty row.
[[nodiscard]] Schedule place(const Schedule& schedule, std::span<const int> ranks, int rank_count);

/// Appends to every rank that has a stage, after its last action: per stage REDUCE_GRAD where it has several ranks,
/// NORM (if `clip`) and UPDATE.
[[nodiscard]] Schedule with_updates(Schedule schedule, bool clip);

}  // namespace motley
