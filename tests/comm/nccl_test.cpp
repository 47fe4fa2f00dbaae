// Edges and groups over NCCL and through pinned memory, on fakes: ranks are threads, each with a device of its own.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <map>
#include <thread>

#include "comm/ranks.h"
#include "fakes/fakes.h"
#include "motley/comm/nccl/cuda_fabric.h"
#include "motley/comm/nccl/nccl_communicator.h"
#include "motley/cuda/memory.h"

namespace motley {
namespace {

using fakes::Operation;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

/// A rank's device, stream and fabric.
class Rank {
 public:
  Rank(Communicator& communicator, const std::vector<EdgeUse>& edges, const std::vector<GroupUse>& groups = {})
      : communicator_(communicator),
        api_(fakes::nccl()),
        device_(fakes::cuda(), communicator.rank()),
        compute_(device_),
        clock_(compute_),
        fabric_(cuda_fabric({communicator, compute_, clock_, &api_}, edges, groups)) {}

  [[nodiscard]] Fabric& fabric() { return *fabric_; }
  [[nodiscard]] Stream& compute() { return compute_; }
  [[nodiscard]] CudaMemory memory(std::size_t bytes) { return {device_, CudaMemory::Kind::Device, bytes}; }

  /// Sends `bytes` of `value`, in parts of these sizes.
  void send(int to, const std::vector<CudaMemory>& parts, std::vector<Work>& works,
            std::string_view label = "0SEND_F0") {
    std::vector<std::span<const std::byte>> spans;
    for (const CudaMemory& part : parts) spans.emplace_back(part.bytes());
    fabric_->to(to).send(spans, label, works);
  }
  void receive(int from, const std::vector<CudaMemory>& parts, std::vector<Work>& works,
               std::string_view label = "1RECV_F0") {
    std::vector<std::span<std::byte>> spans;
    for (const CudaMemory& part : parts) spans.push_back(part.bytes());
    fabric_->from(from).receive(spans, label, works);
  }
  void settle() { fabric_->settle("test", {}); }
  /// Buffers may go afterwards.
  void end() { fabric_.reset(); }

 private:
  Communicator& communicator_;
  NcclApi api_;
  CudaDevice device_;
  Stream compute_;
  CudaClock clock_;
  std::unique_ptr<Fabric> fabric_;
};

void fill(const CudaMemory& memory, int seed) {
  for (std::size_t i = 0; i < memory.bytes().size(); ++i) {
    memory.bytes()[i] = static_cast<std::byte>((i * 31 + static_cast<std::size_t>(seed)) % 251);
  }
}

bool holds(const CudaMemory& memory, int seed) {
  for (std::size_t i = 0; i < memory.bytes().size(); ++i) {
    if (memory.bytes()[i] != static_cast<std::byte>((i * 31 + static_cast<std::size_t>(seed)) % 251)) return false;
  }
  return true;
}

std::vector<EdgeUse> ring(int ranks, const std::string& transport) {
  std::vector<EdgeUse> edges;
  for (int rank = 0; rank < ranks; ++rank) {
    edges.push_back({rank, (rank + 1) % ranks, transport});
    if (ranks > 2) edges.push_back({(rank + 1) % ranks, rank, transport});
  }
  return edges;
}

void play(const std::string& script) {
  fakes::control().play("devices=4;" + script);
}

void expect_nothing_left() {
  const fakes::Counts counts = fakes::control().counts();
  EXPECT_EQ(counts.streams, 0);
  EXPECT_EQ(counts.events, 0);
  EXPECT_EQ(counts.device_blocks, 0);
  EXPECT_EQ(counts.pinned_blocks, 0);
  EXPECT_EQ(counts.communicators, 0);
  EXPECT_THAT(fakes::control().misuse(), IsEmpty());
}

class Transports : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, Transports, testing::Values("nccl", "host"), [](const auto& name) { return name.param; });

TEST_P(Transports, MessagesOfAllSizesArriveInOrderInBothDirectionsAtOnce) {
  play("");
  const std::vector<std::vector<std::size_t>> messages{{1}, {4096, 3}, {0}, {65537}, {7, 0, 5}, {300000}};
  run_ranks(3, with_deadline(20), [&](Communicator& communicator) {
    Rank rank(communicator, ring(3, GetParam()));
    const int next = (communicator.rank() + 1) % 3;
    const int before = (communicator.rank() + 2) % 3;
    for (int round = 0; round < 3; ++round) {
      std::vector<std::vector<CudaMemory>> out;
      std::vector<std::vector<CudaMemory>> in;
      std::vector<Work> works;
      for (std::size_t m = 0; m < messages.size(); ++m) {
        for (const int peer : {next, before}) {
          auto& sent = out.emplace_back();
          auto& got = in.emplace_back();
          for (const std::size_t size : messages[m]) {
            sent.push_back(rank.memory(size));
            fill(sent.back(), static_cast<int>(m) + 10 * communicator.rank() + 100 * peer);
            got.push_back(rank.memory(size));
          }
          rank.receive(peer, got, works);
          rank.send(peer, sent, works);
        }
        rank.fabric().progress();
      }
      for (Work& work : works) work.wait();
      rank.settle();
      for (std::size_t m = 0; m < messages.size(); ++m) {
        for (std::size_t side = 0; side < 2; ++side) {
          const int peer = side == 0 ? next : before;
          for (const CudaMemory& part : in[2 * m + side]) {
            EXPECT_TRUE(holds(part, static_cast<int>(m) + 10 * peer + 100 * communicator.rank()));
          }
        }
      }
      while (!std::all_of(works.begin(), works.end(), [](const Work& work) { return work.done(); })) {
        rank.fabric().progress();
        std::this_thread::yield();
      }
      for (const Work& work : works) EXPECT_LE(work.started().value, work.finished().value);
    }
    communicator.world().barrier("end");
  });
  expect_nothing_left();
}

TEST_P(Transports, AReceiveWaitsForTheComputingBeforeItAndTheComputingAfterItForTheReceive) {
  play("nccl.delay=0.005");
  run_ranks(2, with_deadline(20), [&](Communicator& communicator) {
    Rank rank(communicator, ring(2, GetParam()));
    std::vector<CudaMemory> data;
    data.push_back(rank.memory(1000));
    std::vector<Work> works;
    // The sender's bytes are made in its stream, late; the receiver reads them in its own.
    if (communicator.rank() == 0) {
      rank.compute().call([](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(30)); }, nullptr);
      rank.compute().call([](void* memory) { fill(*static_cast<CudaMemory*>(memory), 9); }, data.data());
      rank.send(1, data, works);
      for (Work& work : works) work.wait();
      rank.settle();
    } else {
      rank.receive(0, data, works);
      for (Work& work : works) work.wait();
      static bool held;
      held = false;
      rank.compute().call([](void* memory) { held = holds(*static_cast<CudaMemory*>(memory), 9); }, data.data());
      rank.settle();
      EXPECT_TRUE(held);
    }
    communicator.world().barrier("end");
  });
  expect_nothing_left();
}

TEST(StagedEdges, AMessageThatWasPostedArrivesThoughTheFabricIsGone) {
  play("");
  constexpr std::size_t kMoreThanSocketsHold = 32'000'000;
  run_ranks(2, with_deadline(20), [&](Communicator& communicator) {
    Rank rank(communicator, ring(2, "host"));
    std::vector<CudaMemory> message;
    message.push_back(rank.memory(kMoreThanSocketsHold));
    std::vector<Work> works;
    if (communicator.rank() == 0) {
      fill(message.back(), 5);
      rank.send(1, message, works);
      works.clear();
      rank.end();
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      rank.receive(0, message, works);
      works.back().wait();
      rank.settle();
      EXPECT_TRUE(holds(message.back(), 5));
      works.clear();
      rank.end();
    }
    communicator.world().barrier("end");
  });
  expect_nothing_left();
}

TEST(NcclEdges, EveryTransferIsBehindTheComputingAndNoStreamWaitsForTheHost) {
  play("");
  run_ranks(2, with_deadline(20), [&](Communicator& communicator) {
    Rank rank(communicator, ring(2, "nccl"));
    std::vector<CudaMemory> data, answer;
    data.push_back(rank.memory(64));
    answer.push_back(rank.memory(64));
    std::vector<Work> works;
    for (int i = 0; i < 4; ++i) {
      if (communicator.rank() == 0) {
        rank.send(1, data, works);
        rank.receive(1, answer, works);
      } else {
        rank.receive(0, data, works);
        works.back().wait();
        rank.send(0, answer, works);
      }
    }
    for (Work& work : works) work.wait();
    rank.settle();
    communicator.world().barrier("end");
  });
  expect_nothing_left();
  // Program order of each rank: the stream of a transfer has just waited for a record of another stream, the rank's
  // compute stream, that is the youngest there.
  std::map<int, std::vector<Operation>> by_device;
  for (const Operation& operation : fakes::control().operations()) by_device[operation.device].push_back(operation);
  for (const auto& [device, operations] : by_device) {
    const int compute = operations.front().stream;  // the clock's first record
    std::uint64_t last_of_compute = 0;
    std::map<int, Operation> last_wait;
    std::map<int, int> transfers;
    for (const Operation& operation : operations) {
      if (operation.kind == Operation::Kind::Record && operation.stream == compute) last_of_compute = operation.mark;
      if (operation.kind == Operation::Kind::Wait) last_wait[operation.stream] = operation;
      if (operation.kind == Operation::Kind::Send || operation.kind == Operation::Kind::Receive) {
        EXPECT_NE(operation.stream, compute);
        EXPECT_EQ(last_wait.at(operation.stream).marked_stream, compute);
        EXPECT_EQ(last_wait.at(operation.stream).mark, last_of_compute);
        ++transfers[operation.stream];
      }
    }
    // Two edges, a stream each: the first transfer and four messages.
    EXPECT_THAT(transfers, testing::ElementsAre(testing::Pair(testing::_, 5), testing::Pair(testing::_, 5)));
  }
}

TEST_P(Transports, GroupsSumInTheOrderOfRanksAsTheHostDoes) {
  play("");
  run_ranks(3, with_deadline(20), [&](Communicator& communicator) {
    Rank rank(communicator, {}, {{{0, 1, 2}, GetParam()}});
    const std::unique_ptr<Reduction> group = rank.fabric().reduction({0, 1, 2});
    for (const std::size_t count : {std::size_t{1}, std::size_t{1000}, std::size_t{100001}}) {
      const CudaMemory memory = rank.memory(count * sizeof(float));
      const std::span values(reinterpret_cast<float*>(memory.bytes().data()), count);
      std::vector<float> expected(count);
      const auto value = [](std::size_t i, int of) {
        return 0.1F * static_cast<float>(i % 97) * static_cast<float>(of + 1);
      };
      for (std::size_t i = 0; i < count; ++i) {
        values[i] = value(i, communicator.rank());
        expected[i] = (value(i, 0) + value(i, 1)) + value(i, 2);
      }
      Work work = group->sum(values, "0REDUCE");
      work.wait();
      rank.settle();
      EXPECT_EQ(std::memcmp(values.data(), expected.data(), count * sizeof(float)), 0);
    }
    communicator.world().barrier("end");
  });
  expect_nothing_left();
}

TEST(NcclCommunicators, ARankMaySendToItself) {
  play("");
  run_ranks(1, with_deadline(20), [&](Communicator& communicator) {
    const NcclApi api = fakes::nccl();
    const CudaDevice device(fakes::cuda(), 0);
    Stream stream(device);
    const NcclSite site{communicator, api, device};
    NcclCommunicator self(site, "edge to itself", NcclCommunicator::new_id(site), 1, 0);
    const CudaMemory from(device, CudaMemory::Kind::Device, 10000);
    const CudaMemory to(device, CudaMemory::Kind::Device, 10000);
    fill(from, 5);
    const std::array<NcclCommunicator::Call, 2> calls{
        [&](const NcclApi& nccl, NcclComm comm) {
          return nccl.ncclSend(from.bytes().data(), 10000, kNcclBytes, 0, comm, stream.handle());
        },
        [&](const NcclApi& nccl, NcclComm comm) {
          return nccl.ncclRecv(to.bytes().data(), 10000, kNcclBytes, 0, comm, stream.handle());
        }};
    self.group("self", calls);
    stream.finish();
    EXPECT_TRUE(holds(to, 5));
  });
  expect_nothing_left();
}

/// What every rank of two says when rank 0 sends five messages to rank 1 under `script`, and how long it took.
std::vector<std::string> failures_under(const std::string& script, double deadline, Seconds* took = nullptr) {
  play(script);
  std::vector<std::string> said(2);
  const auto start = std::chrono::steady_clock::now();
  run_ranks(2, with_deadline(deadline), [&](Communicator& communicator) {
    said[static_cast<std::size_t>(communicator.rank())] = failure_of([&] {
      Rank rank(communicator, ring(2, "nccl"));
      std::vector<CudaMemory> data;
      data.push_back(rank.memory(64));
      std::vector<Work> works;
      for (int i = 0; i < 5; ++i) {
        if (communicator.rank() == 0) {
          rank.send(1, data, works, fmt::format("0SEND_F{}", i));
        } else {
          rank.receive(0, data, works, fmt::format("1RECV_F{}", i));
        }
        for (Work& work : works) work.wait();
        rank.settle();
      }
      communicator.world().barrier("end");
    });
  });
  if (took != nullptr) *took = {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
  return said;
}

TEST(NcclFailures, APeerThatNeverConnectsEndsTheRunWithinTheDeadline) {
  Seconds took;
  const auto said = failures_under("device1:nccl.init_hang", 1.0, &took);
  // The two wait for each other alike, and either may be the first to tell.
  for (const std::string& text : said) {
    EXPECT_THAT(text, HasSubstr("ended the run: NCCL, edge from rank 0 to rank 1: connecting took more than 1.0 s"));
  }
  EXPECT_LT(took.value, 6.0);
  expect_nothing_left();
}

TEST(NcclFailures, AnInitThatFailsNamesTheEdgeAndTheRank) {
  const auto said = failures_under("device1:ncclCommInitRankConfig@1=2", 5.0);
  EXPECT_EQ(said[0], said[1]);
  EXPECT_THAT(said[0], AllOf(HasSubstr("rank 1 ended the run: NCCL, edge from rank 1 to rank 0: connecting: unhandled "
                                       "system error (NCCL error 2)")));
  expect_nothing_left();
}

TEST(NcclFailures, AnIdThatCannotBeMadeIsTold) {
  const auto said = failures_under("device0:ncclGetUniqueId=2", 5.0);
  EXPECT_EQ(said[0], said[1]);
  EXPECT_THAT(said[0], HasSubstr("rank 0 ended the run: NCCL gives no id: unhandled system error"));
  expect_nothing_left();
}

TEST(NcclFailures, ALostMessageEndsTheRunWithTheWaitingRanksByName) {
  Seconds took;
  // The first of rank 0 is the edge's probe; the last of its five messages is lost.
  const auto said = failures_under("device0:nccl.lose@5", 1.0, &took);
  for (const std::string& text : said) EXPECT_THAT(text, HasSubstr("rank 1 waited 1.0 s for 1RECV_F4 from rank 0"));
  EXPECT_LT(took.value, 6.0);
  expect_nothing_left();
}

TEST(NcclFailures, ATransferThatHangsIsAborted) {
  const auto said = failures_under("device1:nccl.hang@5", 1.0);
  // Both wait for the same transfer, and either may be the first to have waited too long.
  for (const std::string& text : said) {
    EXPECT_THAT(text, AllOf(HasSubstr("rank 1 waited 1.0 s for 1RECV_F3 from rank 0"),
                            HasSubstr("rank 0 waited 1.0 s for 0SEND_F3 from rank 1")));
  }
  expect_nothing_left();
}

TEST(NcclFailures, AnAsynchronousErrorEndsTheRunLongBeforeTheDeadline) {
  Seconds took;
  const auto said = failures_under("device1:nccl.async@4=6", 30.0, &took);
  EXPECT_EQ(said[0], said[1]);
  EXPECT_THAT(said[0], AllOf(HasSubstr("rank 1 ended the run: NCCL, edge from rank 0 to rank 1"),
                             HasSubstr("remote process exited or there was a network error (NCCL error 6)")));
  EXPECT_LT(took.value, 10.0);
  expect_nothing_left();
}

TEST(NcclFailures, ACallThatIsRefusedNamesItsAction) {
  const auto said = failures_under("device0:ncclSend@3=4", 5.0);
  EXPECT_EQ(said[0], said[1]);
  EXPECT_THAT(said[0], HasSubstr("rank 0 ended the run: NCCL, edge from rank 0 to rank 1: 0SEND_F2: invalid argument"));
  expect_nothing_left();
}

TEST(NcclFailures, ADeviceThatBreaksEndsTheRunOnEveryRank) {
  play("device1:sticky@30=700");
  std::vector<std::string> said(2);
  run_ranks(2, with_deadline(5.0), [&](Communicator& communicator) {
    Rank rank(communicator, ring(2, "nccl"));
    std::vector<CudaMemory> data;
    data.push_back(rank.memory(64));
    std::vector<Work> works;
    try {
      for (int i = 0; i < 50; ++i) {
        if (communicator.rank() == 0) {
          rank.send(1, data, works);
        } else {
          rank.receive(0, data, works);
        }
        works.back().wait();
        rank.settle();
      }
    } catch (const std::exception& error) {
      communicator.abort(error.what());
      said[static_cast<std::size_t>(communicator.rank())] = error.what();
      rank.end();
    }
  });
  EXPECT_THAT(said[1], HasSubstr("an illegal memory access was encountered (CUDA error 700)"));
  EXPECT_THAT(said[0], HasSubstr("illegal memory access"));
}

TEST(NcclFailures, OutOfMemoryOnOneRankEndsTheRunOnEveryRank) {
  play("device1:memory=100");
  std::vector<std::string> said(2);
  run_ranks(2, with_deadline(5.0), [&](Communicator& communicator) {
    try {
      Rank rank(communicator, ring(2, "nccl"));
      const CudaMemory data = rank.memory(101);
      communicator.world().barrier("end");
    } catch (const std::exception& error) {
      communicator.abort(error.what());
      said[static_cast<std::size_t>(communicator.rank())] = error.what();
    }
  });
  EXPECT_EQ(said[1], "out of memory on cuda:1: asked for 101 bytes, 100 of 100 are free");
  EXPECT_EQ(said[0], "rank 1 ended the run: " + said[1]);
  expect_nothing_left();
}

TEST(LoadNccl, NamesWhatIsMissingAndRefusesOldVersions) {
  const auto said = [](const std::string& library) {
    try {
      (void)load_nccl(library);
    } catch (const Fault& fault) {
      return std::string(fault.what());
    }
    return std::string();
  };
  EXPECT_EQ(said("/no/libnccl.so"), "no NCCL: /no/libnccl.so could not be loaded");
  EXPECT_THAT(said("libdl.so.2"), HasSubstr("has no ncclGetVersion"));
  fakes::control().play("nccl_version=21600");
  EXPECT_THAT(said(MOTLEY_FAKE_GPU), HasSubstr("is version 2.16.0, expected at least 2.17.0"));
  fakes::control().play("");
  EXPECT_EQ(fakes::nccl().version, 22809);
}

}  // namespace
}  // namespace motley
