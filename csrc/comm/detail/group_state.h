#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "motley/comm/detail/link.h"
#include "motley/comm/detail/work_state.h"

namespace motley {

class Endpoint;

enum class ElementType { Bytes, Float, Double };

/// A collective that a member has asked for. `whole->data` and `whole->into` are its input and output, which are one
/// buffer for a reduction.
struct Collective {
  std::shared_ptr<WorkState> whole;
  ElementType type = ElementType::Bytes;
};

/// A member's part in a group's operations, run one after the other by the owner thread. Every operation posts the same
/// messages per pair of members in the same order everywhere, so that they meet without names.
class GroupState : public std::enable_shared_from_this<GroupState> {
 public:
  /// `links[i]` leads to `ranks[i]`; the own entry is null.
  GroupState(Endpoint& endpoint, std::vector<int> ranks, std::size_t index, std::vector<Link*> links);

  [[nodiscard]] const std::vector<int>& ranks() const { return ranks_; }
  [[nodiscard]] std::size_t index() const { return index_; }
  [[nodiscard]] Endpoint& endpoint() { return endpoint_; }

  /// From the working thread.
  void post(Collective collective);

 private:
  struct Part {
    std::size_t member = 0;
    std::span<const std::byte> data;
    std::span<std::byte> into;
  };

  // On the owner thread.
  void start();
  void exchange(std::vector<Part> sends, std::vector<Part> receives, void (GroupState::*next)());
  void part_settled(const std::shared_ptr<WorkState>& part);
  void finish();
  void add_gathered();
  void add_block();
  [[nodiscard]] std::span<std::byte> block(std::size_t member) const;

  Endpoint& endpoint_;
  std::vector<int> ranks_;
  std::size_t index_;
  std::vector<Link*> links_;

  std::deque<Collective> queue_;  ///< the first is running
  std::vector<std::shared_ptr<WorkState>> parts_;
  std::size_t parts_left_ = 0;
  std::string part_error_;
  bool part_failed_ = false;
  void (GroupState::*next_)() = nullptr;
  std::vector<std::byte> scratch_;
};

}  // namespace motley
