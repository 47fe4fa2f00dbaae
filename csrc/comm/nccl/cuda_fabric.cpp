#include "motley/comm/nccl/cuda_fabric.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "motley/base/error.h"
#include "motley/comm/nccl/nccl_edge.h"
#include "motley/comm/nccl/staged_edge.h"

namespace motley {
namespace {

constexpr auto kShortestPause = std::chrono::microseconds(10);
constexpr auto kLongestPause = std::chrono::microseconds(500);
constexpr Seconds kLongestDrain{1.0};  // of a device that answers: its kernels end with their communicators

/// Looks after communicators from a thread of its own.
class NcclWatch {
 public:
  NcclWatch(Communicator& host, std::vector<NcclCommunicator*> communicators)
      : host_(host), communicators_(std::move(communicators)) {
    if (!communicators_.empty()) thread_ = std::thread([this] { run(); });
  }
  ~NcclWatch() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  NcclWatch(const NcclWatch&) = delete;
  NcclWatch& operator=(const NcclWatch&) = delete;

 private:
  void run() {
    const auto pause = std::chrono::duration<double>(std::min(0.05, host_.options().deadline.value / 20.0));
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      for (NcclCommunicator* const communicator : communicators_) communicator->check();
      if (host_.failed()) {
        for (NcclCommunicator* const communicator : communicators_) communicator->abort();
        return;
      }
      changed_.wait_for(lock, pause, [this] { return stopping_; });
    }
  }

  Communicator& host_;
  std::vector<NcclCommunicator*> communicators_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;
};

class CudaFabric final : public Fabric {
 public:
  CudaFabric(const CudaFabricParts& parts, std::vector<EdgeUse> edges, const std::vector<GroupUse>& groups)
      : parts_(parts), order_{parts.host, parts.compute, parts.clock, [this] { let_go(); }} {
    std::sort(edges.begin(), edges.end());
    for (const EdgeUse& edge : edges) connect(edge);
    for (const GroupUse& group : groups) connect(group);
    std::vector<NcclCommunicator*> communicators;
    for (NcclEdge* const edge : nccl_edges_) communicators.push_back(&edge->communicator());
    for (NcclReduction* const reduction : nccl_reductions_) communicators.push_back(&reduction->communicator());
    watch_.emplace(parts.host, std::move(communicators));
  }

  ~CudaFabric() override {
    watch_.reset();
    if (parts_.host.failed()) abort();
  }

  FabricEdge& to(int peer) override { return edge(to_, peer, "to"); }
  FabricEdge& from(int peer) override { return edge(from_, peer, "from"); }

  std::unique_ptr<Reduction> reduction(const std::vector<int>& ranks) override {
    const auto made = reductions_.find(ranks);
    MOTLEY_CHECK(made != reductions_.end() && made->second != nullptr, "a group of {} ranks that was not named",
                 ranks.size());
    return std::make_unique<Shared>(made->second);
  }

  void progress() override { (void)ended(); }

  void before_compute(std::string_view label) override {
    // A fake's kernels are the host's: they begin when they are called, so all before them must be done.
    if (parts_.compute.device().is_fake()) settle(label, {});
  }

  void settle(std::string_view label, const std::function<std::int64_t()>& moved) override {
    parts_.clock.mark(parts_.compute);
    wait_until([this] { return parts_.clock.passed(); }, label, -1, moved);
    parts_.clock.wind();
  }

 private:
  /// A handle on one of reductions_.
  class Shared final : public Reduction {
   public:
    explicit Shared(std::shared_ptr<Reduction> made) : made_(std::move(made)) {}
    Work sum(std::span<float> values, std::string_view label) override { return made_->sum(values, label); }

   private:
    std::shared_ptr<Reduction> made_;
  };

  static FabricEdge& edge(const std::map<int, FabricEdge*>& edges, int peer, std::string_view direction) {
    const auto found = edges.find(peer);
    MOTLEY_CHECK(found != edges.end(), "an edge {} rank {} that was not named", direction, peer);
    return *found->second;
  }

  [[nodiscard]] NcclSite site() const { return {parts_.host, *parts_.nccl, parts_.compute.device()}; }

  void connect(const EdgeUse& use) {
    const int rank = parts_.host.rank();
    if (use.from != rank && use.to != rank) return;
    const bool sends = use.from == rank;
    const int peer = sends ? use.to : use.from;
    std::map<int, FabricEdge*>& edges = sends ? to_ : from_;
    MOTLEY_CHECK(!edges.contains(peer), "two edges from rank {} to rank {}", use.from, use.to);
    if (use.transport == "nccl") {
      MOTLEY_CHECK(parts_.nccl != nullptr, "an NCCL edge without NCCL");
      auto made = std::make_unique<NcclEdge>(site(), order_, peer, sends);
      NcclEdge& edge = *made;
      nccl_edges_.push_back(&edge);
      watched_.push_back(&edge);
      edges[peer] = &edge;
      owned_.push_back(std::move(made));
      edge.try_out([this](const std::function<bool()>& over, std::string_view what, int other) {
        wait_until(over, what, other, {});
      });
      return;
    }
    MOTLEY_CHECK(use.transport == "host", "an edge of transport {}", use.transport);
    auto made = std::make_unique<StagedEdge>(order_, peer, sends);
    watched_.push_back(made.get());
    edges[peer] = made.get();
    owned_.push_back(std::move(made));
  }

  void connect(const GroupUse& use) {
    const int rank = parts_.host.rank();
    if (std::find(use.ranks.begin(), use.ranks.end(), rank) == use.ranks.end()) return;
    if (use.transport == "nccl") {
      const auto made = std::make_shared<NcclReduction>(site(), order_, use.ranks);
      nccl_reductions_.push_back(made.get());
      watched_.push_back(made.get());
      reductions_[use.ranks] = made;
      // Also the first transfer: NCCL connects when a group first sums.
      const CudaMemory probe(parts_.compute.device(), CudaMemory::Kind::Device, sizeof(float));
      Work work = made->sum({reinterpret_cast<float*>(probe.bytes().data()), 1}, "first sum");
      wait_until([&] { return work.done(); }, made->communicator().name() + ", first sum", -1, {});
      return;
    }
    auto made = std::make_shared<StagedReduction>(order_, parts_.host.group(use.ranks),
                                                  [this](const std::function<bool()>& over, std::string_view what,
                                                         int other) { wait_until(over, what, other, {}); });
    reductions_[use.ranks] = std::move(made);
  }

  std::int64_t ended() {
    std::int64_t count = 0;
    for (Watched* const watched : watched_) count += watched->ended();
    return count;
  }

  /// Sleeps until `over`; gives up when neither a transfer nor the computing has moved for the deadline.
  void wait_until(const std::function<bool()>& over, std::string_view what, int peer,
                  const std::function<std::int64_t()>& moved) {
    Communicator& host = parts_.host;
    Seconds since = host.now();
    const Seconds begun = since;
    std::int64_t before = -1;
    bool told = false;
    for (auto pause = kShortestPause;; pause = std::min(2 * pause, kLongestPause)) {
      if (host.failed()) let_go();
      const std::int64_t now = ended() + (moved ? moved() : 0);
      if (over()) break;
      if (now != before) {
        before = now;
        since = host.now();
      }
      const DeviceTransfer* const oldest = first_under_way();
      if (!told && host.now() - begun > Seconds{0.01}) {
        told = true;
        host.set_progress(oldest != nullptr ? std::string_view(oldest->label()) : what, true,
                          oldest != nullptr ? oldest->peer() : peer);
      }
      if (host.now() - since > host.options().deadline) {
        host.end_late(oldest != nullptr ? std::string_view(oldest->label()) : what,
                      oldest != nullptr ? oldest->peer() : peer, host.now() - since);
        let_go();
      }
      std::this_thread::sleep_for(pause);
    }
    if (told) host.set_progress(what);
  }

  /// Ends what waits on the device for a peer, and with it all that uses buffers.
  void abort() {
    for (NcclEdge* const edge : nccl_edges_) edge->communicator().abort();
    for (NcclReduction* const reduction : nccl_reductions_) reduction->communicator().abort();
    const Seconds begun = parts_.host.now();
    const auto drained = [](Stream& stream) {
      return stream.device().api().cudaStreamQuery(stream.handle()) != kCudaNotReady;
    };
    const auto all_drained = [&] {
      return drained(parts_.compute) &&
             std::all_of(nccl_edges_.begin(), nccl_edges_.end(), [&](auto* one) { return drained(one->stream()); }) &&
             std::all_of(nccl_reductions_.begin(), nccl_reductions_.end(),
                         [&](auto* one) { return drained(one->stream()); });
    };
    while (!all_drained() && parts_.host.now() - begun < kLongestDrain) std::this_thread::sleep_for(kLongestPause);
  }

  [[noreturn]] void let_go() {
    abort();
    throw CommError(parts_.host.failure());
  }

  [[nodiscard]] const DeviceTransfer* first_under_way() const {
    const DeviceTransfer* first = nullptr;
    for (const Watched* const watched : watched_) {
      const DeviceTransfer* const oldest = watched->oldest();
      if (oldest != nullptr && (first == nullptr || oldest->number() < first->number())) first = oldest;
    }
    return first;
  }

  CudaFabricParts parts_;
  DeviceOrder order_;
  std::vector<std::unique_ptr<FabricEdge>> owned_;
  std::map<int, FabricEdge*> to_;
  std::map<int, FabricEdge*> from_;
  std::vector<NcclEdge*> nccl_edges_;
  std::vector<NcclReduction*> nccl_reductions_;
  std::map<std::vector<int>, std::shared_ptr<Reduction>> reductions_;
  std::vector<Watched*> watched_;
  std::optional<NcclWatch> watch_;
};

}  // namespace

std::unique_ptr<Fabric> cuda_fabric(const CudaFabricParts& parts, std::vector<EdgeUse> edges,
                                    const std::vector<GroupUse>& groups) {
  return std::make_unique<CudaFabric>(parts, std::move(edges), groups);
}

}  // namespace motley
