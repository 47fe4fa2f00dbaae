#include "motley/comm/detail/group_state.h"

#include <algorithm>
#include <cstring>

#include "motley/comm/detail/clock.h"
#include "motley/comm/detail/endpoint.h"

namespace motley {
namespace {

// Up to this much gathered data, one round of whole vectors beats two rounds of blocks.
constexpr std::size_t kOneRound = std::size_t{64} << 10;

std::size_t size_of(ElementType type) {
  return type == ElementType::Float ? sizeof(float) : type == ElementType::Double ? sizeof(double) : 1;
}

/// sum[i] = rows[0][i] + rows[1][i] + ..., from left to right. In pieces that stay in the first cache.
template <typename Element>
void add_rows_of(std::span<const std::byte> rows, std::span<std::byte> sum) {
  constexpr std::size_t kPiece = 2048;
  const std::size_t count = sum.size() / sizeof(Element);
  if (count == 0) return;
  const std::size_t row_count = rows.size() / sum.size();
  const auto* values = reinterpret_cast<const Element*>(rows.data());
  auto* total = reinterpret_cast<Element*>(sum.data());
  for (std::size_t begin = 0; begin < count; begin += kPiece) {
    const std::size_t end = std::min(begin + kPiece, count);
    std::copy(values + begin, values + end, total + begin);
    for (std::size_t row = 1; row < row_count; ++row) {
      const Element* more = values + row * count;
      for (std::size_t i = begin; i < end; ++i) total[i] += more[i];
    }
  }
}

void add_rows(ElementType type, std::span<const std::byte> rows, std::span<std::byte> sum) {
  if (type == ElementType::Float) add_rows_of<float>(rows, sum);
  if (type == ElementType::Double) add_rows_of<double>(rows, sum);
}

void copy(std::span<const std::byte> from, std::span<std::byte> to) {
  if (!from.empty()) std::memmove(to.data(), from.data(), from.size());
}

}  // namespace

GroupState::GroupState(Endpoint& endpoint, std::vector<int> ranks, std::size_t index, std::vector<Link*> links)
    : endpoint_(endpoint), ranks_(std::move(ranks)), index_(index), links_(std::move(links)) {}

void GroupState::post(Collective collective) {
  endpoint_.post([self = shared_from_this(), collective = std::move(collective)]() mutable {
    self->queue_.push_back(std::move(collective));
    if (self->queue_.size() == 1) self->start();
  });
}

std::span<std::byte> GroupState::block(std::size_t member) const {
  const Collective& running = queue_.front();
  const std::size_t element = size_of(running.type);
  const std::size_t count = running.whole->into.size() / element;
  const std::size_t begin = count * member / ranks_.size() * element;
  const std::size_t end = count * (member + 1) / ranks_.size() * element;
  return running.whole->into.subspan(begin, end - begin);
}

void GroupState::start() {
  if (const std::string* reason = endpoint_.stopped()) {
    part_failed_ = true;
    part_error_ = *reason;
    return finish();
  }
  const Collective& running = queue_.front();
  WorkState& whole = *running.whole;
  whole.started = steady_now();
  std::vector<Part> sends;
  std::vector<Part> receives;
  if (whole.kind != MessageKind::Reduce) {
    const std::size_t size = whole.data.size();
    copy(whole.data, whole.into.subspan(whole.into.empty() ? 0 : index_ * size, size));
    for (std::size_t member = 0; member < ranks_.size(); ++member) {
      if (member == index_) continue;
      sends.push_back({member, whole.data, {}});
      receives.push_back({member, {}, whole.into.empty() ? whole.into : whole.into.subspan(member * size, size)});
    }
    return exchange(std::move(sends), std::move(receives), &GroupState::finish);
  }
  const bool one_round = whole.into.size() * ranks_.size() <= kOneRound;
  const std::size_t row = one_round ? whole.into.size() : block(index_).size();
  scratch_.resize(row * ranks_.size());
  const auto row_of = [this, row](std::size_t member) { return std::span(scratch_).subspan(member * row, row); };
  copy(one_round ? whole.into : block(index_), row_of(index_));
  for (std::size_t member = 0; member < ranks_.size(); ++member) {
    if (member == index_) continue;
    sends.push_back({member, one_round ? whole.into : block(member), {}});
    receives.push_back({member, {}, row_of(member)});
  }
  exchange(std::move(sends), std::move(receives), one_round ? &GroupState::add_gathered : &GroupState::add_block);
}

void GroupState::exchange(std::vector<Part> sends, std::vector<Part> receives, void (GroupState::*next)()) {
  const WorkState& whole = *queue_.front().whole;
  next_ = next;
  part_failed_ = false;
  parts_.clear();
  parts_left_ = sends.size() + receives.size();
  if (parts_left_ == 0) return (this->*next_)();
  const auto new_part = [this, &whole](const Part& part) {
    const std::shared_ptr<WorkState> work = endpoint_.new_work(whole.label.view(), ranks_[part.member], whole.kind);
    work->data = part.data;
    work->into = part.into;
    work->on_settled = [self = shared_from_this(), raw = work.get()] { self->part_settled(raw->shared_from_this()); };
    return work;
  };
  // Receives first in the list: they tell for whom the whole waits.
  std::vector<std::shared_ptr<WorkState>> works;
  for (const Part& part : receives) works.push_back(new_part(part));
  for (const Part& part : sends) works.push_back(new_part(part));
  parts_ = works;
  queue_.front().whole->peer = parts_.front()->peer.load();
  for (std::size_t i = 0; i < works.size(); ++i) {
    const bool receiving = i < receives.size();
    Link* link = links_[receiving ? receives[i].member : sends[i - receives.size()].member];
    if (receiving) {
      link->receive(std::move(works[i]));
    } else {
      link->send(std::move(works[i]));
    }
  }
}

void GroupState::part_settled(const std::shared_ptr<WorkState>& part) {
  if (part->settled() == WorkState::Status::Failed) {
    part_failed_ = true;
    part_error_ = part->error;
  }
  if (--parts_left_ > 0) {
    const auto pending = [](const auto& known) { return known->settled() == WorkState::Status::Pending; };
    const auto first = std::find_if(parts_.begin(), parts_.end(), pending);
    if (first != parts_.end()) queue_.front().whole->peer = (*first)->peer.load();
    return;
  }
  parts_.clear();
  if (part_failed_) return finish();
  (this->*next_)();
}

void GroupState::add_gathered() {
  const Collective& running = queue_.front();
  add_rows(running.type, scratch_, running.whole->into);
  finish();
}

void GroupState::add_block() {
  add_rows(queue_.front().type, scratch_, block(index_));
  std::vector<Part> sends;
  std::vector<Part> receives;
  for (std::size_t member = 0; member < ranks_.size(); ++member) {
    if (member == index_) continue;
    sends.push_back({member, block(index_), {}});
    receives.push_back({member, {}, block(member)});
  }
  exchange(std::move(sends), std::move(receives), &GroupState::finish);
}

void GroupState::finish() {
  const std::shared_ptr<WorkState> whole = std::move(queue_.front().whole);
  queue_.pop_front();
  const bool failed = part_failed_;
  const std::string error = part_error_;
  part_failed_ = false;
  if (failed) {
    whole->fail(error);
  } else {
    whole->complete(steady_now());
  }
  // Not from within the settling of the last: a long queue that fails would nest as deep as it is long.
  if (!queue_.empty()) endpoint_.post([self = shared_from_this()] { self->start(); });
}

}  // namespace motley
