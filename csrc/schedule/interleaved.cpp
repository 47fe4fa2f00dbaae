#include <algorithm>

#include "motley/base/error.h"
#include "motley/schedule/generators.h"

namespace motley {

Schedule interleaved_one_f_one_b(int ranks, int stages, int micro_batches) {
  if (ranks < 1 || stages < ranks || stages % ranks != 0) {
    throw InputError::of("interleaved-1f1b: found {} stages on {} ranks, expected a multiple of the ranks", stages,
                         ranks);
  }
  // As many rounds as there are whole groups of `ranks` micro-batches; a group visits every stage of a rank in turn.
  const int rounds = std::max(1, micro_batches / ranks);
  if (micro_batches < 1 || micro_batches % rounds != 0) {
    throw InputError::of("interleaved-1f1b: found {} micro-batches on {} ranks, expected a multiple of {}",
                         micro_batches, ranks, rounds);
  }
  const int group = micro_batches / rounds;
  const int local = stages / ranks;
  const int passes = micro_batches * local;
  Schedule schedule;
  for (int rank = 0; rank < ranks; ++rank) {
    // The k-th forward (backward) of a rank: its stages in ascending (descending) order, a group of micro-batches each.
    const auto nth = [&](Op op, int k) {
      const int turn = k / group;
      const int place = op == Op::Forward ? turn % local : local - 1 - turn % local;
      return Action{op, place * ranks + rank, turn / local * group + k % group};
    };
    const int warm_up = std::min(passes, (local - 1) * group + 2 * (ranks - 1 - rank) + 1);
    std::vector<Action>& row = schedule.ranks.emplace_back();
    for (int k = 0; k < passes + warm_up; ++k) {
      if (k < passes) {
        row.push_back(nth(Op::Forward, k));
      }
      if (k + 1 >= warm_up && k + 1 - warm_up < passes) {
        row.push_back(nth(Op::Backward, k + 1 - warm_up));
      }
    }
  }
  return schedule;
}

}  // namespace motley
