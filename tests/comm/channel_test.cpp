#include "motley/comm/channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "motley/base/error.h"
#include "ranks.h"

namespace motley {
namespace {

std::vector<std::uint8_t> random_bytes(std::size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::vector<std::uint8_t> values(size);
  for (std::size_t i = 0; i < size; i += 8) {
    const std::uint64_t word = random();
    std::memcpy(values.data() + i, &word, std::min<std::size_t>(8, size - i));
  }
  return values;
}

TEST(Channel, DeliversInTheOrderOfSendingIntoTheOrderOfReceiving) {
  constexpr int kMessages = 500;
  run_ranks(2, with_deadline(10), [](Communicator& comm) {
    std::vector<std::vector<int>> values(kMessages);
    std::vector<Work> works;
    for (int i = 0; i < kMessages; ++i) {
      values[i].assign(static_cast<std::size_t>(i % 37 + 1), comm.rank() == 0 ? i : -1);
      works.push_back(comm.rank() == 0 ? comm.to(1).send(bytes_of(std::as_const(values[i])), "send")
                                       : comm.from(0).receive(bytes_of(values[i]), "receive"));
    }
    for (Work& work : works) work.wait();
    for (int i = 0; i < kMessages; ++i) EXPECT_EQ(values[i].back(), i);
  });
}

TEST(Channel, CarriesBothDirectionsAtOnceForOddEmptyAndLargeMessages) {
  const std::vector<std::size_t> sizes{0, 1, 63, 64, 65, 4095, 65537, 0, (std::size_t{1} << 20) + 3, 1};
  run_ranks(2, with_deadline(10), [&](Communicator& comm) {
    const int other = 1 - comm.rank();
    std::vector<std::vector<std::uint8_t>> sent;
    std::vector<std::vector<std::uint8_t>> received;
    std::vector<Work> works;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      sent.push_back(random_bytes(sizes[i], static_cast<unsigned>(i) + 100U * static_cast<unsigned>(comm.rank())));
      received.emplace_back(sizes[i]);
    }
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      works.push_back(comm.from(other).receive(bytes_of(received[i]), "in"));
      works.push_back(comm.to(other).send(bytes_of(std::as_const(sent[i])), "out"));
    }
    for (Work& work : works) work.wait();
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      EXPECT_EQ(received[i], random_bytes(sizes[i], static_cast<unsigned>(i) + 100U * static_cast<unsigned>(other)));
    }
  });
}

TEST(Channel, CarriesSixtyFourMegabytesUnchanged) {
  const std::size_t size = std::size_t{64} << 20;
  const std::vector<std::uint8_t> expected = random_bytes(size, 7);
  run_ranks(2, with_deadline(10), [&](Communicator& comm) {
    if (comm.rank() == 0) return comm.to(1).send(bytes_of(expected), "big").wait();
    std::vector<std::uint8_t> received(size);
    Work work = comm.from(0).receive(bytes_of(received), "big");
    work.wait();
    EXPECT_EQ(received, expected);
    EXPECT_GT(work.finished(), work.started());
    EXPECT_TRUE(work.times_link());
    EXPECT_EQ(comm.statistics().peers[0].received.value, static_cast<std::int64_t>(size));
    EXPECT_EQ(comm.statistics().peers[0].messages_received, 1);
  });
}

TEST(Channel, KeepsALargeSendPendingUntilItsReceiveIsPosted) {
  // More than socket buffers hold.
  const std::size_t size = std::size_t{64} << 20;
  std::atomic<bool> looked{false};
  run_ranks(2, with_deadline(10), [&](Communicator& comm) {
    std::vector<std::uint8_t> data(size, static_cast<std::uint8_t>(comm.rank() + 1));
    if (comm.rank() == 0) {
      Work work = comm.to(1).send(bytes_of(std::as_const(data)), "big");
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      EXPECT_FALSE(work.done());
      looked = true;
      looked.notify_all();
      work.wait();
    } else {
      looked.wait(false);
      comm.from(0).receive(bytes_of(data), "big").wait();
      EXPECT_EQ(data.front(), 1);
      EXPECT_EQ(data.back(), 1);
    }
  });
}

TEST(Channel, ASendThatTheSystemTakesWholeIsDoneAtOnce) {
  std::atomic<bool> looked{false};
  run_ranks(2, with_deadline(10), [&](Communicator& comm) {
    std::vector<int> values(100, 7);
    if (comm.rank() == 0) {
      Work work = comm.to(1).send(bytes_of(std::as_const(values)), "small");
      EXPECT_TRUE(work.done());
      EXPECT_GE(work.finished(), work.started());
      EXPECT_FALSE(work.times_link());
      EXPECT_EQ(comm.statistics().peers[1].messages_sent, 1);
      std::fill(values.begin(), values.end(), 0);  // the buffer is free
      looked = true;
      looked.notify_all();
    } else {
      std::fill(values.begin(), values.end(), 0);
      looked.wait(false);
      comm.from(0).receive(bytes_of(values), "small").wait();
      EXPECT_THAT(values, testing::Each(7));
    }
  });
}

TEST(Channel, ASendInPiecesIsOvertakenByNone) {
  // Large ones leave in pieces of two threads; small ones that follow must wait for them, and may go at once when they
  // are done.
  constexpr std::size_t kMessages = 60;
  const auto size = [](std::size_t i) { return i % 3 == 0 ? (std::size_t{9} << 20) + i : i; };
  run_ranks(2, with_deadline(20), [&](Communicator& comm) {
    for (std::size_t i = 0; i < kMessages; ++i) {
      if (comm.rank() == 0) {
        const std::vector<std::uint8_t> next = random_bytes(size(i), static_cast<unsigned>(i));
        const std::vector<std::uint8_t> last = random_bytes(5, static_cast<unsigned>(i) + 1000U);
        Work first = comm.to(1).send(bytes_of(next), "one");
        Work second = comm.to(1).send(bytes_of(last), "two");
        second.wait();
        EXPECT_TRUE(first.done());
      } else {
        std::vector<std::uint8_t> first(size(i));
        std::vector<std::uint8_t> second(5);
        comm.from(0).receive(bytes_of(first), "one").wait();
        comm.from(0).receive(bytes_of(second), "two").wait();
        EXPECT_EQ(first, random_bytes(size(i), static_cast<unsigned>(i)));
        EXPECT_EQ(second, random_bytes(5, static_cast<unsigned>(i) + 1000U));
      }
    }
  });
}

TEST(Channel, NamesBothSizesAndLabelsOnBothSidesWhenTheyDisagree) {
  run_ranks(2, with_deadline(10), [](Communicator& comm) {
    std::vector<char> data(comm.rank() == 0 ? 12 : 8);
    std::vector<char> answer(1);
    const std::string failure = failure_of([&] {
      if (comm.rank() == 0) {
        comm.to(1).send(bytes_of(std::as_const(data)), "0SEND_F3").wait();
        comm.from(1).receive(bytes_of(answer), "0RECV_B3").wait();
      } else {
        comm.from(0).receive(bytes_of(data), "1RECV_F3").wait();
      }
    });
    EXPECT_EQ(failure, "rank 0 sent 12 bytes as 0SEND_F3 to rank 1, which expected 8 bytes as 1RECV_F3");
    EXPECT_EQ(comm.failure(), failure);
  });
}

TEST(Channel, RefusesTheWrongDirectionAndItself) {
  run_ranks(2, with_deadline(10), [](Communicator& comm) {
    std::vector<char> data(1);
    EXPECT_THROW(comm.from(1 - comm.rank()).send(bytes_of(std::as_const(data)), "x"), InternalError);
    EXPECT_THROW(comm.to(1 - comm.rank()).receive(bytes_of(data), "x"), InternalError);
    EXPECT_THROW(comm.to(comm.rank()), InternalError);
    EXPECT_THROW(comm.to(2), InternalError);
  });
}

TEST(EmulatedLink, DeliversNoEarlierThanLatencyAndRateAllowAndOneMessageAfterTheOther) {
  CommOptions options = with_deadline(10);
  options.emulated_links.push_back({0, 1, {1e6}, {0.01}});
  run_ranks(2, options, [](Communicator& comm) {
    std::vector<std::vector<char>> data(3, std::vector<char>(50'000));
    std::vector<Work> works;
    const Seconds posted = comm.now();
    for (auto& message : data) {
      works.push_back(comm.rank() == 0 ? comm.to(1).send(bytes_of(std::as_const(message)), "out")
                                       : comm.from(0).receive(bytes_of(message), "in"));
    }
    for (Work& work : works) {
      work.wait();
      EXPECT_EQ(work.times_link(), comm.rank() == 0);
    }
    if (comm.rank() == 0) {
      for (std::size_t i = 0; i < works.size(); ++i) {
        EXPECT_GE((works[i].started() - posted).value, 0.06 * static_cast<double>(i));
        EXPECT_GE((works[i].finished() - posted).value, 0.06 * static_cast<double>(i + 1));
      }
    } else {
      // The receiver's clock is the sender's here; it began to wait a little earlier or later, so compare with
      // differences.
      EXPECT_GE((works[2].finished() - works[0].started()).value, 0.15);
    }
  });
}

TEST(EmulatedLink, IsSharedByChannelsAndGroupsAndLeavesTheOtherDirectionFree) {
  CommOptions options = with_deadline(10);
  options.emulated_links.push_back({0, 1, {1e6}, {0.0}});
  std::atomic<double> posted{0.0};
  run_ranks(2, options, [&](Communicator& comm) {
    std::vector<char> data(100'000);
    Work message;
    if (comm.rank() == 0) {
      posted = comm.now().value;
      message = comm.to(1).send(bytes_of(std::as_const(data)), "out");
    } else {
      message = comm.from(0).receive(bytes_of(data), "in");
    }
    std::vector<char> mine(50'000);
    std::vector<char> all(100'000);
    comm.world().all_gather(bytes_of(std::as_const(mine)), bytes_of(all), "gather");
    if (comm.rank() == 1) {
      EXPECT_GE(comm.now().value - posted, 0.15);
    }
    message.wait();
  });
}

TEST(EmulatedLink, MayHoldAMessageForLongerThanTheDeadline) {
  CommOptions options = with_deadline(0.5);
  options.emulated_links.push_back({0, 1, {1e6}, {0.0}});
  run_ranks(2, options, [](Communicator& comm) {
    std::vector<char> data(900'000);
    if (comm.rank() == 0) {
      comm.to(1).send(bytes_of(std::as_const(data)), "out").wait();
    } else {
      comm.from(0).receive(bytes_of(data), "in").wait();
    }
    EXPECT_FALSE(comm.failed());
  });
}

}  // namespace
}  // namespace motley
