// NCCL and staged edges on the GPUs that are there, or on the library that MOTLEY_CUDA_LIBRARY and MOTLEY_NCCL_LIBRARY
// name: the part of scripts/gpu_acceptance that is about transfers. Ranks are threads.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "comm/ranks.h"
#include "motley/comm/nccl/cuda_fabric.h"
#include "motley/comm/nccl/nccl_communicator.h"
#include "motley/cuda/memory.h"

namespace motley {
namespace {

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

CudaApi cuda() {
  return load_cuda(environment("MOTLEY_CUDA_LIBRARY"));
}

NcclApi nccl() {
  return load_nccl(environment("MOTLEY_NCCL_LIBRARY"));
}

/// A buffer of the device that the host can fill and compare.
class Buffer {
 public:
  Buffer(Stream& stream, std::size_t bytes)
      : stream_(stream),
        device_(stream.device(), CudaMemory::Kind::Device, bytes),
        host_(stream.device(), CudaMemory::Kind::Pinned, bytes) {}

  void fill(unsigned seed) {
    for (std::size_t i = 0; i < host_.bytes().size(); ++i) host_.bytes()[i] = value(i, seed);
    stream_.copy(device_.bytes().data(), host_.bytes().data(), host_.bytes().size());
  }
  bool holds(unsigned seed) {
    stream_.copy(host_.bytes().data(), device_.bytes().data(), host_.bytes().size());
    stream_.finish();
    for (std::size_t i = 0; i < host_.bytes().size(); ++i) {
      if (host_.bytes()[i] != value(i, seed)) return false;
    }
    return true;
  }
  [[nodiscard]] std::span<std::byte> bytes() const { return device_.bytes(); }

 private:
  static std::byte value(std::size_t i, unsigned seed) { return static_cast<std::byte>((i * 31 + seed) % 251); }

  Stream& stream_;
  CudaMemory device_;
  CudaMemory host_;
};

TEST(Gpu, SendsToItselfOverNccl) {
  run_ranks(1, with_deadline(60), [](Communicator& communicator) {
    const NcclApi api = nccl();
    const CudaDevice device(cuda(), 0);
    Stream stream(device);
    const NcclSite site{communicator, api, device};
    NcclCommunicator self(site, "edge to itself", NcclCommunicator::new_id(site), 1, 0);
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{4097}, std::size_t{1} << 20}) {
      Buffer from(stream, bytes);
      Buffer to(stream, bytes);
      from.fill(3);
      const std::array<NcclCommunicator::Call, 2> calls{
          [&](const NcclApi& table, NcclComm comm) {
            return table.ncclSend(from.bytes().data(), bytes, kNcclBytes, 0, comm, stream.handle());
          },
          [&](const NcclApi& table, NcclComm comm) {
            return table.ncclRecv(to.bytes().data(), bytes, kNcclBytes, 0, comm, stream.handle());
          }};
      self.group("self", calls);
      EXPECT_TRUE(to.holds(3));
    }
  });
}

/// Each rank sends to the next and receives from the one before, several sizes, several times.
void ring_of(int ranks, const std::string& transport) {
  const int devices = count_devices(cuda());
  run_ranks(ranks, with_deadline(60), [&](Communicator& communicator) {
    const NcclApi api = nccl();
    const CudaDevice device(cuda(), communicator.rank() % devices);
    Stream compute(device);
    CudaClock clock(compute);
    std::vector<EdgeUse> edges;
    for (int rank = 0; rank < ranks; ++rank) edges.push_back({rank, (rank + 1) % ranks, transport});
    const std::unique_ptr<Fabric> fabric = cuda_fabric({communicator, compute, clock, &api}, edges, {});
    const int next = (communicator.rank() + 1) % ranks;
    const int before = (communicator.rank() + ranks - 1) % ranks;
    for (const std::size_t bytes : {std::size_t{3}, std::size_t{65536}, std::size_t{8} << 20}) {
      Buffer out(compute, bytes);
      Buffer in(compute, bytes);
      const auto start = std::chrono::steady_clock::now();
      constexpr int kTimes = 5;
      for (int i = 0; i < kTimes; ++i) {
        out.fill(static_cast<unsigned>(communicator.rank() + 10 * i));
        std::vector<Work> works;
        const std::array<std::span<std::byte>, 1> into{in.bytes()};
        const std::array<std::span<const std::byte>, 1> parts{out.bytes()};
        fabric->from(before).receive(into, "ring", works);
        fabric->to(next).send(parts, "ring", works);
        for (Work& work : works) work.wait();
        fabric->settle("ring", {});
        EXPECT_TRUE(in.holds(static_cast<unsigned>(before + 10 * i)));
      }
      if (communicator.rank() == 0) {
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        fmt::print("{} ranks over {}: {} bytes in {:.3f} ms, checked\n", ranks, transport, bytes,
                   took.count() * 1e3 / kTimes);
      }
    }
    communicator.world().barrier("end");
  });
}

TEST(Gpu, RanksOnOneGpuExchangeByWayOfTheHost) {
  ring_of(2, "host");
}

TEST(Gpu, RanksOnGpusOfTheirOwnExchangeOverNccl) {
  const int devices = count_devices(cuda());
  if (devices < 2) GTEST_SKIP() << "one GPU";
  ring_of(std::min(devices, 8), "nccl");
}

TEST(Gpu, GivesItsMemoryBack) {
  const CudaDevice device(cuda(), 0);
  ring_of(2, "host");
  const Bytes before = device.free_memory();
  for (int i = 0; i < 3; ++i) ring_of(2, "host");
  EXPECT_GE(device.free_memory().value, before.value - (1 << 20));
}

}  // namespace
}  // namespace motley
