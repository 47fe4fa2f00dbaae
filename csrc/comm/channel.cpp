#include "motley/comm/channel.h"

#include "motley/base/error.h"
#include "motley/comm/detail/endpoint.h"

namespace motley {

Work Channel::send(std::span<const std::byte> data, std::string_view label) {
  MOTLEY_CHECK(sends_, "{}: send on the channel from rank {}", label, peer_);
  const std::shared_ptr<WorkState> work = endpoint_->new_work(label, peer_, MessageKind::Point);
  work->data = data;
  endpoint_->post([link = link_, work] { link->send(work); });
  return Work(work);
}

Work Channel::receive(std::span<std::byte> into, std::string_view label) {
  MOTLEY_CHECK(!sends_, "{}: receive on the channel to rank {}", label, peer_);
  const std::shared_ptr<WorkState> work = endpoint_->new_work(label, peer_, MessageKind::Point);
  work->into = into;
  endpoint_->post([link = link_, work] { link->receive(work); });
  return Work(work);
}

}  // namespace motley
