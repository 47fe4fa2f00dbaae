#include <map>

#include "motley/comm/communicator.h"
#include "motley/comm/fabric.h"

namespace motley {
namespace {

class HostEdge final : public FabricEdge {
 public:
  explicit HostEdge(Channel& channel) : channel_(channel) {}

  void send(std::span<const std::span<const std::byte>> parts, std::string_view label,
            std::vector<Work>& works) override {
    for (const std::span<const std::byte> part : parts) works.push_back(channel_.send(part, label));
  }
  void receive(std::span<const std::span<std::byte>> parts, std::string_view label, std::vector<Work>& works) override {
    for (const std::span<std::byte> part : parts) works.push_back(channel_.receive(part, label));
  }

 private:
  Channel& channel_;
};

class HostReduction final : public Reduction {
 public:
  explicit HostReduction(std::unique_ptr<Group> group) : group_(std::move(group)) {}
  Work sum(std::span<float> values, std::string_view label) override {
    return group_->all_reduce_sum_async(values, label);
  }

 private:
  std::unique_ptr<Group> group_;
};

/// The host computes at once and in order, so that nothing is left to be ordered.
class HostFabric final : public Fabric {
 public:
  explicit HostFabric(Communicator& communicator) : communicator_(communicator) {
    for (int peer = 0; peer < communicator.size(); ++peer) {
      if (peer == communicator.rank()) continue;
      to_.try_emplace(peer, communicator.to(peer));
      from_.try_emplace(peer, communicator.from(peer));
    }
  }

  FabricEdge& to(int peer) override { return to_.at(peer); }
  FabricEdge& from(int peer) override { return from_.at(peer); }
  std::unique_ptr<Reduction> reduction(const std::vector<int>& ranks) override {
    return std::make_unique<HostReduction>(communicator_.group(ranks));
  }
  void progress() override {}
  void before_compute(std::string_view /*label*/) override {}
  void settle(std::string_view /*label*/, const std::function<std::int64_t()>& /*moved*/) override {}

 private:
  Communicator& communicator_;
  std::map<int, HostEdge> to_;
  std::map<int, HostEdge> from_;
};

}  // namespace

std::unique_ptr<Fabric> host_fabric(Communicator& communicator) {
  return std::make_unique<HostFabric>(communicator);
}

}  // namespace motley
