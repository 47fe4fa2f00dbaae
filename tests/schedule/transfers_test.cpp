#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "motley/base/error.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "random_schedule.h"

namespace motley {
namespace {

TEST(AddTransfers, IsUndoneByComputeOnly) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    const Schedule compute = random_schedule(seed);
    EXPECT_EQ(compute_only(add_transfers(compute, 1 + static_cast<int>(seed % 3))), compute) << "seed " << seed;
  }
}

TEST(AddTransfers, EveryRandomScheduleCanRunAndMovesEachTensorOnce) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    const Schedule compute = random_schedule(seed);
    const Schedule lowered = add_transfers(compute, 1 + static_cast<int>(seed % 3));
    const auto problems = validate(lowered);
    EXPECT_TRUE(problems.empty()) << "seed " << seed << ": " << problems.front().message;
    const std::vector<int> owner = compute.rank_of_stage();
    std::size_t crossings = 0;
    for (std::size_t s = 0; s + 1 < owner.size(); ++s) crossings += owner[s] != owner[s + 1] ? 1 : 0;
    std::size_t sends = 0, receives = 0;
    for (const auto& row : lowered.ranks) {
      for (const Action& action : row) {
        sends += is_send(action.op) ? 1 : 0;
        receives += is_receive(action.op) ? 1 : 0;
      }
    }
    EXPECT_EQ(sends, 2 * crossings * static_cast<std::size_t>(compute.micro_batch_count())) << "seed " << seed;
    EXPECT_EQ(receives, sends);
  }
}

/// What of one channel a row receives and when it uses it.
struct ChannelUse {
  std::vector<std::pair<int, Action>> posted;  // column, receive
  std::vector<int> used;                       // column of the consumer of posted[k]
};

std::map<int, ChannelUse> channels_into(const Schedule& lowered, std::size_t rank) {
  const std::vector<int> owner = lowered.rank_of_stage();
  const std::vector<Action>& row = lowered.ranks[rank];
  const auto column_of = [&](Op op, int stage, int micro_batch) {
    const auto found = std::find(row.begin(), row.end(), Action{op, stage, micro_batch});
    return found == row.end() ? -1 : static_cast<int>(found - row.begin());
  };
  std::map<int, ChannelUse> channels;  // by sender
  for (int column = 0; column < static_cast<int>(row.size()); ++column) {
    const Action& action = row[column];
    if (!is_receive(action.op)) continue;
    const bool forward = action.op == Op::ReceiveForward;
    ChannelUse& channel = channels[owner[action.stage + (forward ? -1 : 1)]];
    channel.posted.emplace_back(column, action);
    channel.used.push_back(forward ? column_of(Op::Forward, action.stage, action.micro_batch)
                                   : std::max(column_of(Op::Backward, action.stage, action.micro_batch),
                                              column_of(Op::BackwardInput, action.stage, action.micro_batch)));
  }
  return channels;
}

TEST(AddTransfers, PostsEveryReceiveBeforeItsUseAndAsFarAheadAsAskedWhereUseFollowsSending) {
  int in_order = 0;
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    const int ahead = 1 + static_cast<int>(seed % 3);
    const Schedule lowered = add_transfers(random_schedule(seed), ahead);
    for (std::size_t rank = 0; rank < lowered.ranks.size(); ++rank) {
      for (const auto& [from, channel] : channels_into(lowered, rank)) {
        for (std::size_t k = 0; k < channel.posted.size(); ++k) {
          EXPECT_LT(channel.posted[k].first, channel.used[k])
              << "seed " << seed << " " << to_string(channel.posted[k].second);
        }
        if (!std::is_sorted(channel.used.begin(), channel.used.end())) continue;
        ++in_order;
        for (std::size_t k = 0; k < channel.posted.size(); ++k) {
          // At this use, the channel's receives posted before it and not yet used.
          const auto posted = std::count_if(channel.posted.begin(), channel.posted.end(),
                                            [&](const auto& receive) { return receive.first < channel.used[k]; });
          EXPECT_EQ(posted - static_cast<std::ptrdiff_t>(k),
                    std::min<std::ptrdiff_t>(ahead, static_cast<std::ptrdiff_t>(channel.posted.size() - k)))
              << "seed " << seed << " " << to_string(channel.posted[k].second);
        }
      }
    }
  }
  EXPECT_GT(in_order, 100);
}

TEST(AddTransfers, AChannelOfAPipelineHasExactlyTheAskedReceivesPosted) {
  const Schedule lowered = add_transfers(one_f_one_b(2, 5), 2);
  EXPECT_EQ(to_csv(lowered),
            "0RECV_B0,0RECV_B1,0F0,0SEND_F0,0F1,0SEND_F1,0B0,0RECV_B2,0F2,0SEND_F2,0B1,0RECV_B3,0F3,0SEND_F3,0B2,"
            "0RECV_B4,0F4,0SEND_F4,0B3,0B4\n"
            "1RECV_F0,1RECV_F1,1F0,1RECV_F2,1B0,1SEND_B0,1F1,1RECV_F3,1B1,1SEND_B1,1F2,1RECV_F4,1B2,1SEND_B2,1F3,1B3,"
            "1SEND_B3,1F4,1B4,1SEND_B4\n");
}

TEST(AddTransfers, WhatCannotBeLoweredIsRefused) {
  EXPECT_THROW((void)add_transfers(one_f_one_b(2, 2), 0), InputError);
  EXPECT_THROW((void)add_transfers(add_transfers(one_f_one_b(2, 2))), InputError);
  EXPECT_THROW((void)add_transfers(parse_csv("0F0,0F1\n1F0\n", "test")), InputError);
}

}  // namespace
}  // namespace motley
