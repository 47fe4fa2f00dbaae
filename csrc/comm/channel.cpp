#include "motley/comm/channel.h"

#include <atomic>

#include "motley/base/error.h"
#include "motley/comm/detail/endpoint.h"

namespace motley {

std::shared_ptr<WorkState> Channel::work_of(std::string_view label) {
  // Works end in the order of posting, so the next in turn is free unless all are under way.
  if (!works_.empty() && works_[next_work_].use_count() == 1) {
    // What the owner thread wrote before it let go.
    std::atomic_thread_fence(std::memory_order_acquire);
    const std::shared_ptr<WorkState>& work = works_[next_work_];
    next_work_ = (next_work_ + 1) % works_.size();
    work->begin(label, peer_, MessageKind::Point);
    return work;
  }
  std::shared_ptr<WorkState> work = endpoint_->new_work(label, peer_, MessageKind::Point);
  works_.insert(works_.begin() + static_cast<std::ptrdiff_t>(next_work_), work);
  next_work_ = (next_work_ + 1) % works_.size();
  return work;
}

Work Channel::send(std::span<const std::byte> data, std::string_view label) {
  MOTLEY_CHECK(sends_, "{}: send on the channel from rank {}", label, peer_);
  std::shared_ptr<WorkState> work = work_of(label);
  work->data = data;
  endpoint_->submit({link_, work, true});
  return Work(std::move(work));
}

Work Channel::receive(std::span<std::byte> into, std::string_view label) {
  MOTLEY_CHECK(!sends_, "{}: receive on the channel to rank {}", label, peer_);
  std::shared_ptr<WorkState> work = work_of(label);
  work->into = into;
  endpoint_->submit({link_, work, false});
  return Work(std::move(work));
}

}  // namespace motley
