#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <thread>

#include "motley/base/error.h"
#include "motley/comm/communicator.h"
#include "motley/comm/detail/diagnosis.h"
#include "motley/comm/failure_state.h"
#include "motley/comm/signals.h"
#include "ranks.h"

namespace {
thread_local std::int64_t allocations_of_this_thread = 0;
}  // namespace

// GCC does not see that operator new above takes from malloc.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

// Counts, so that a test can say that something allocates nothing.
void* operator new(std::size_t size) {
  ++allocations_of_this_thread;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++allocations_of_this_thread;
  return std::malloc(size);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace motley {
namespace {

using testing::AllOf;
using testing::HasSubstr;

void sleep_for(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

TEST(Abort, ReachesEveryRankWithItsRankAndReason) {
  run_ranks(3, with_deadline(10), [](Communicator& comm) {
    std::vector<char> data(1);
    const std::string failure = failure_of([&] {
      if (comm.rank() == 2) comm.abort("loss is not a number");
      comm.from((comm.rank() + 1) % 3).receive(bytes_of(data), "never").wait();
    });
    EXPECT_EQ(failure, "rank 2 ended the run: loss is not a number");
    EXPECT_TRUE(comm.failed());
    EXPECT_EQ(comm.failure(), failure);
    EXPECT_EQ(failure_of([&] { comm.world().barrier("later"); }), failure);
    EXPECT_EQ(failure_of([&] { comm.to((comm.rank() + 1) % 3).send(bytes_of(std::as_const(data)), "later").wait(); }),
              failure);
  });
}

TEST(Abort, TellsEveryRankWhetherTheInputWasWrong) {
  for (const bool by_input : {true, false}) {
    run_ranks(3, with_deadline(10), [&](Communicator& comm) {
      const std::string failure = failure_of([&] {
        if (comm.rank() == 1) {
          by_input ? comm.abort(InputError("job.toml: steps: found 0")) : comm.abort(Fault("disk is full"));
        }
        comm.world().barrier("start");
      });
      EXPECT_EQ(failure,
                by_input ? "rank 1 ended the run: job.toml: steps: found 0" : "rank 1 ended the run: disk is full");
      EXPECT_EQ(comm.failure_state()->by_input(), by_input);
    });
  }
}

TEST(Exception, OfOneRankEndsTheOthers) {
  std::atomic<int> told{0};
  EXPECT_THROW(run_ranks(3, with_deadline(10),
                         [&](Communicator& comm) {
                           if (comm.rank() == 1) throw std::runtime_error("out of memory");
                           EXPECT_EQ(failure_of([&] { comm.world().barrier("step"); }),
                                     "rank 1 ended the run: stopped by an exception");
                           ++told;
                         }),
               std::runtime_error);
  EXPECT_EQ(told, 2);
}

TEST(Goodbye, IsNoFailureForThoseWhoStay) {
  run_ranks(3, with_deadline(1), [](Communicator& comm) {
    comm.world().barrier("all");
    if (comm.rank() == 2) return;
    const auto rest = comm.group({0, 1});
    sleep_for(1.5);
    rest->barrier("after a deadline without rank 2");
    EXPECT_FALSE(comm.failed());
  });
}

TEST(Goodbye, DeliversWhatWasSentBefore) {
  run_ranks(2, with_deadline(5), [](Communicator& comm) {
    std::vector<char> data(100'000, comm.rank() == 0 ? 'x' : ' ');
    if (comm.rank() == 0) return comm.to(1).send(bytes_of(std::as_const(data)), "last").wait();
    sleep_for(0.3);
    comm.from(0).receive(bytes_of(data), "last").wait();
    EXPECT_EQ(data.back(), 'x');
  });
}

TEST(Goodbye, FailsAReceiveThatCanNoLongerCome) {
  run_ranks(2, with_deadline(5), [](Communicator& comm) {
    if (comm.rank() == 0) return;
    std::vector<char> data(1);
    EXPECT_EQ(failure_of([&] { comm.from(0).receive(bytes_of(data), "1RECV_F9").wait(); }),
              "rank 0 finished while rank 1 still had 1RECV_F9 pending with it");
  });
}

TEST(Deadline, NamesTheRankThatIsStuckAtTheEndOfAChainOfWaits) {
  std::atomic<bool> release{false};
  run_ranks(3, with_deadline(1), [&](Communicator& comm) {
    std::vector<char> data(1);
    comm.set_progress(comm.rank() == 2 ? "2B1" : "next");
    if (comm.rank() == 2) {
      // Stuck in an action while the thread that owns its connections lives.
      while (!release) sleep_for(0.01);
      EXPECT_THAT(comm.failure(), HasSubstr("rank 2 has been in 2B1 for"));
      return;
    }
    const std::string failure = failure_of([&] {
      if (comm.rank() == 0) sleep_for(0.3);
      comm.from(comm.rank() + 1).receive(bytes_of(data), comm.rank() == 0 ? "0RECV_B1" : "1RECV_B1").wait();
    });
    EXPECT_THAT(failure, AllOf(HasSubstr("rank 1 waited 1.0 s for 1RECV_B1 from rank 2"),
                               HasSubstr("rank 2 has been in 2B1 for 1.")));
    release = true;
  });
}

TEST(Deadline, NamesTheRankThatDoesNotComeToACollective) {
  std::atomic<bool> release{false};
  run_ranks(3, with_deadline(0.5), [&](Communicator& comm) {
    comm.set_progress("0F7");
    if (comm.rank() == 1) {
      while (!release) sleep_for(0.01);
      return;
    }
    const std::string failure = failure_of([&] { comm.world().barrier("NORM"); });
    EXPECT_THAT(failure, AllOf(HasSubstr("for NORM from rank 1"), HasSubstr("rank 1 has been in 0F7 for")));
    release = true;
  });
}

TEST(Deadline, SaysWhenRanksWaitForEachOther) {
  run_ranks(2, with_deadline(0.5), [](Communicator& comm) {
    std::vector<char> data(1);
    const std::string failure =
        failure_of([&] { comm.from(1 - comm.rank()).receive(bytes_of(data), "never sent").wait(); });
    EXPECT_THAT(failure, HasSubstr("so these ranks wait for each other"));
  });
}

TEST(Deadline, CountsOnlyTheTimeWithoutDataFromThePeer) {
  // The second message comes later than a deadline after the wait began, but others moved between.
  run_ranks(2, with_deadline(0.6), [](Communicator& comm) {
    std::vector<std::vector<char>> data(4, std::vector<char>(1));
    std::vector<Work> works;
    for (auto& message : data) {
      if (comm.rank() == 0) {
        sleep_for(0.3);
        comm.to(1).send(bytes_of(std::as_const(message)), "slow").wait();
      } else {
        works.push_back(comm.from(0).receive(bytes_of(message), "slow"));
      }
    }
    if (comm.rank() == 1) works.back().wait();
    EXPECT_FALSE(comm.failed());
  });
}

TEST(Progress, IsSetWithoutAllocation) {
  run_ranks(1, with_deadline(10), [](Communicator& comm) {
    const std::string_view action = "12SEND_F123[100:104]@12 and a text beyond the length that is kept";
    comm.set_progress(action);
    const std::int64_t before = allocations_of_this_thread;
    for (int i = 0; i < 1000; ++i) comm.set_progress(action, i % 2 == 0, i);
    EXPECT_EQ(allocations_of_this_thread, before);
  });
}

TEST(Statistics, CountTheOwnersProcessorTimeAndItSleepsWhileNothingMoves) {
  run_ranks(2, with_deadline(10), [](Communicator& comm) {
    const Seconds before = comm.statistics().owner_cpu;
    sleep_for(0.5);
    const Seconds used = comm.statistics().owner_cpu - before;
    EXPECT_GT(comm.statistics().owner_cpu.value, 0.0);
    // A thread that spins would use 0.25 s even when it shares its core.
    EXPECT_LT(used.value, 0.1);
  });
}

TEST(Options, NameWhatIsWrong) {
  CommOptions options;
  options.transport = "carrier pigeon";
  EXPECT_THAT([&] { (void)connect_in_process(2, options); },
              testing::ThrowsMessage<InputError>(HasSubstr("transport: found \"carrier pigeon\"")));
  options = with_deadline(0);
  EXPECT_THAT([&] { (void)connect_in_process(2, options); },
              testing::ThrowsMessage<InputError>(HasSubstr("deadline: found 0 s")));
  options = CommOptions{};
  options.emulated_links.push_back({0, 2, {1e6}, {}});
  EXPECT_THAT([&] { (void)connect_in_process(2, options); },
              testing::ThrowsMessage<InputError>(HasSubstr("emulated link from rank 0 to rank 2")));
}

TEST(Diagnosis, StopsAtASilentRank) {
  std::vector<RankView> ranks(3);
  ranks[1].beat.waiting = 1;
  ranks[1].beat.waiting_for = 2;
  ranks[1].beat.wait_label = Label("1RECV_B1");
  ranks[1].beat.wait_seconds = 9.5;
  ranks[2].silent = true;
  ranks[2].silent_for = {7.25};
  ranks[2].beat.action = Label("2F4");
  EXPECT_EQ(explain_late(0, "0RECV_B1", 1, {10.0}, ranks),
            "rank 0 waited 10.0 s for 0RECV_B1 from rank 1; rank 1 waited 9.5 s for 1RECV_B1 from rank 2; "
            "rank 2 has been silent for 7.2 s, last seen in 2F4");
}

TEST(Diagnosis, SaysWhatTheLostRankAndThisOneDid) {
  Heartbeat last;
  last.action = Label("2F3");
  Heartbeat mine;
  mine.action = Label("1B2");
  EXPECT_EQ(explain_lost(2, "connection closed", last, 1, mine),
            "rank 2 is gone (connection closed), last seen in 2F3; rank 1 was in 1B2");
  mine.waiting = 1;
  mine.waiting_for = 2;
  mine.wait_label = Label("1RECV_B3");
  EXPECT_EQ(explain_lost(2, "connection closed", last, 1, mine),
            "rank 2 is gone (connection closed), last seen in 2F3; rank 1 was waiting for 1RECV_B3 from rank 2");
}

TEST(SignalWatch, MayEndAsSoonAsItBegan) {
  for (int i = 0; i < 500; ++i) {
    const SignalWatch watch("program");
  }
}

}  // namespace
}  // namespace motley
