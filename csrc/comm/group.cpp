#include "motley/comm/group.h"

#include "motley/base/error.h"
#include "motley/comm/detail/endpoint.h"
#include "motley/comm/detail/group_state.h"

namespace motley {
namespace {

Work post(GroupState& group, MessageKind kind, ElementType type, std::span<const std::byte> in,
          std::span<std::byte> out, std::string_view label) {
  const std::shared_ptr<WorkState> whole = group.endpoint().new_work(label, -1, kind);
  whole->data = in;
  whole->into = out;
  group.post({whole, type});
  return Work(whole);
}

}  // namespace

Group::Group(std::shared_ptr<GroupState> state) : state_(std::move(state)) {}

Group::~Group() = default;

const std::vector<int>& Group::ranks() const {
  return state_->ranks();
}

int Group::size() const {
  return static_cast<int>(state_->ranks().size());
}

int Group::index() const {
  return static_cast<int>(state_->index());
}

Work Group::all_gather_async(std::span<const std::byte> mine, std::span<std::byte> all, std::string_view label) {
  MOTLEY_CHECK(all.size() == mine.size() * state_->ranks().size(), "{}: {} bytes from each of {} ranks into {}", label,
               mine.size(), size(), all.size());
  return post(*state_, MessageKind::Gather, ElementType::Bytes, mine, all, label);
}

void Group::all_gather(std::span<const std::byte> mine, std::span<std::byte> all, std::string_view label) {
  all_gather_async(mine, all, label).wait();
}

Work Group::all_reduce_sum_async(std::span<float> values, std::string_view label) {
  return post(*state_, MessageKind::Reduce, ElementType::Float, {}, std::as_writable_bytes(values), label);
}

Work Group::all_reduce_sum_async(std::span<double> values, std::string_view label) {
  return post(*state_, MessageKind::Reduce, ElementType::Double, {}, std::as_writable_bytes(values), label);
}

void Group::all_reduce_sum(std::span<float> values, std::string_view label) {
  all_reduce_sum_async(values, label).wait();
}

void Group::all_reduce_sum(std::span<double> values, std::string_view label) {
  all_reduce_sum_async(values, label).wait();
}

void Group::barrier(std::string_view label) {
  post(*state_, MessageKind::Barrier, ElementType::Bytes, {}, {}, label).wait();
}

}  // namespace motley
