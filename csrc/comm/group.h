#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "motley/comm/work.h"

namespace motley {

class GroupState;

/// Ranks that act together. Every member calls the same operations in the same order with the same sizes; labels only
/// serve messages and may differ. Operations of one group run one after the other; those of different groups and of
/// channels do not wait for each other, except on an emulated link.
class Group {
 public:
  explicit Group(std::shared_ptr<GroupState> state);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  [[nodiscard]] const std::vector<int>& ranks() const;  ///< of the world, ascending
  [[nodiscard]] int size() const;
  [[nodiscard]] int index() const;  ///< of this rank in ranks()

  /// Member i's `mine` goes to `all[i * mine.size(), (i + 1) * mine.size())` on every member. Each member sends
  /// (size - 1) * mine.size() bytes.
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all, std::string_view label);
  Work all_gather_async(std::span<const std::byte> mine, std::span<std::byte> all, std::string_view label);

  /// Replaces `values` by the sum over the members, ((v0 + v1) + v2) + ... element by element in rank order, so that it
  /// is the same bit for bit on every member and in every run. Up to 64 KiB in all one round of messages, beyond that
  /// two (blocks summed by one member each, then gathered), with 2 (size - 1) / size of the bytes sent by each member.
  void all_reduce_sum(std::span<float> values, std::string_view label);
  void all_reduce_sum(std::span<double> values, std::string_view label);
  Work all_reduce_sum_async(std::span<float> values, std::string_view label);
  Work all_reduce_sum_async(std::span<double> values, std::string_view label);

  /// Returns when every member has called it.
  void barrier(std::string_view label);

 private:
  std::shared_ptr<GroupState> state_;
};

}  // namespace motley
