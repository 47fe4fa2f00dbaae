#include "motley/comm/nccl/staged_edge.h"

#include <algorithm>
#include <numeric>

#include "motley/base/error.h"

namespace motley {
namespace {

bool all_done(const std::vector<Work>& works) {
  return std::all_of(works.begin(), works.end(), [](const Work& work) { return work.done(); });
}

}  // namespace

void StagedTransfer::reserve(std::span<const std::size_t> sizes) {
  const std::size_t bytes = std::accumulate(sizes.begin(), sizes.end(), std::size_t{0});
  if (!pinned_ || pinned_->bytes().size() < bytes) {
    pinned_.emplace(order_.compute.device(), CudaMemory::Kind::Pinned, bytes);
  }
  parts_.clear();
  std::size_t begin = 0;
  for (const std::size_t size : sizes) {
    parts_.push_back({nullptr, pinned_->bytes().subspan(begin, size)});
    begin += size;
  }
  works_.clear();
  works_.reserve(parts_.size());
}

bool StagedTransfer::is_done() const {
  if (order_.host.failed()) return true;
  if (!issued_ || (sends_ && !posted_)) return false;
  return all_done(works_) && ended_.passed();
}

bool StagedTransfer::bring_in() {
  if (issued_) return true;
  if (!all_done(works_)) return false;
  for (Work& work : works_) work.wait();  // throws what failed it
  for (const Part& part : parts_) stream_->copy(part.device, part.pinned.data(), part.pinned.size());
  end(*stream_);
  return true;
}

void StagedTransfer::end_posted() {
  for (Work& work : works_) {
    try {
      work.wait();
    } catch (const CommError&) {
      return;  // the run is over
    }
  }
}

void StagedTransfer::wait() {
  if (!sends_ && !issued_) {
    for (Work& work : works_) work.wait();
    (void)bring_in();
  }
  DeviceTransfer::wait();
}

Seconds StagedTransfer::start_time() const {
  return works_.empty() ? DeviceTransfer::start_time() : works_.front().started();
}

Seconds StagedTransfer::end_time() const {
  return works_.empty() ? DeviceTransfer::end_time() : works_.back().finished();
}

StagedEdge::StagedEdge(DeviceOrder& order, int peer, bool sends)
    : order_(order), peer_(peer), sends_(sends), stream_(order.compute.device()) {}

StagedEdge::~StagedEdge() {
  // A callback must find its transfer, and a message its bytes.
  (void)stream_.device().api().cudaStreamSynchronize(stream_.handle());
  if (!sends_) return;
  for (const std::shared_ptr<StagedTransfer>& transfer : pool_.under_way()) transfer->end_posted();
}

std::shared_ptr<StagedTransfer> StagedEdge::next(std::string_view label, std::span<const std::size_t> sizes) {
  const auto transfer = pool_.next([&] { return std::make_shared<StagedTransfer>(order_); });
  transfer->reserve(sizes);
  transfer->channel_ = sends_ ? &order_.host.to(peer_) : &order_.host.from(peer_);
  transfer->stream_ = &stream_;
  transfer->posted_ = false;
  transfer->begin(label, peer_, sends_, stream_);
  return transfer;
}

void StagedEdge::send(std::span<const std::span<const std::byte>> parts, std::string_view label,
                      std::vector<Work>& works) {
  MOTLEY_CHECK(sends_, "{}: send on the edge from rank {}", label, peer_);
  sizes_.clear();
  for (const auto part : parts) sizes_.push_back(part.size());
  const std::shared_ptr<StagedTransfer> transfer = next(label, sizes_);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    stream_.copy(transfer->parts_[i].pinned.data(), parts[i].data(), parts[i].size());
  }
  transfer->end(stream_);
  // The pool keeps it until it is done, and the edge waits for its stream before the pool goes.
  stream_.call(
      [](void* argument) {
        auto& own = *static_cast<StagedTransfer*>(argument);
        for (const StagedTransfer::Part& part : own.parts_) {
          own.works_.push_back(own.channel_->send(part.pinned, own.label_));
        }
        own.posted_ = true;
      },
      transfer.get());
  works.emplace_back(transfer);
}

void StagedEdge::receive(std::span<const std::span<std::byte>> parts, std::string_view label,
                         std::vector<Work>& works) {
  MOTLEY_CHECK(!sends_, "{}: receive on the edge to rank {}", label, peer_);
  sizes_.clear();
  for (const auto part : parts) sizes_.push_back(part.size());
  const std::shared_ptr<StagedTransfer> transfer = next(label, sizes_);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    transfer->parts_[i].device = parts[i].data();
    transfer->works_.push_back(transfer->channel_->receive(transfer->parts_[i].pinned, label));
  }
  works.emplace_back(transfer);
}

std::int64_t StagedEdge::ended() {
  if (!sends_) {
    for (const std::shared_ptr<StagedTransfer>& transfer : pool_.under_way()) {
      if (order_.host.failed() || !transfer->bring_in()) break;
    }
  }
  return pool_.ended();
}

/// One sum of one buffer.
class StagedReduction::Sum final : public DeviceTransfer {
 public:
  Sum(DeviceOrder& order, Group& group, const WaitUntil& wait_until)
      : DeviceTransfer(order), group_(group), wait_until_(wait_until) {}

  void start(std::span<float> values, Stream& stream, std::string_view label) {
    values_ = values;
    summed_ = false;
    if (!pinned_ || pinned_->bytes().size() < values.size_bytes()) {
      pinned_.emplace(order_.compute.device(), CudaMemory::Kind::Pinned, values.size_bytes());
    }
    begin(label, -1, false, stream);
    stream.copy(pinned_->bytes().data(), values.data(), values.size_bytes());
    end(stream);
  }

  [[nodiscard]] bool is_done() const override { return order_.host.failed() || summed_; }

  void wait() override {
    if (summed_) return;
    wait_until_([this] { return DeviceTransfer::is_done(); }, label_, -1);
    group_.all_reduce_sum(std::span(reinterpret_cast<float*>(pinned_->bytes().data()), values_.size()), label_);
    // In the computing's own stream, where the next copy to the host waits for it too.
    order_.compute.copy(values_.data(), pinned_->bytes().data(), values_.size_bytes());
    summed_ = true;
  }

 private:
  Group& group_;
  const WaitUntil& wait_until_;
  std::optional<CudaMemory> pinned_;
  std::span<float> values_;
  bool summed_ = true;
};

StagedReduction::StagedReduction(DeviceOrder& order, std::unique_ptr<Group> group, WaitUntil wait_until)
    : order_(order), group_(std::move(group)), wait_until_(std::move(wait_until)), stream_(order.compute.device()) {}

StagedReduction::~StagedReduction() = default;

Work StagedReduction::sum(std::span<float> values, std::string_view label) {
  if (values.empty()) return {};
  auto free = std::find_if(sums_.begin(), sums_.end(),
                           [](const std::shared_ptr<Sum>& one) { return one.use_count() == 1 && one->is_done(); });
  if (free == sums_.end()) {
    sums_.push_back(std::make_shared<Sum>(order_, *group_, wait_until_));
    free = sums_.end() - 1;
  }
  (*free)->start(values, stream_, label);
  return Work(*free);
}

}  // namespace motley
