#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace motley {

/// The next event of each of a fixed number of sources, the earliest first, ties by source. A binary heap that knows
/// where each source stands: set and pop are O(log sources), without allocation.
class EventQueue {
 public:
  void reset(std::size_t sources) {
    place_.assign(sources, kAbsent);
    heap_.clear();
    heap_.reserve(sources);
  }
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] std::size_t first() const { return heap_.front().second; }
  [[nodiscard]] double first_s() const { return heap_.front().first; }

  void set(std::size_t source, double at_s) {
    if (place_[source] == kAbsent) {
      place_[source] = heap_.size();
      heap_.emplace_back(at_s, source);
    } else {
      heap_[place_[source]].first = at_s;
    }
    down(up(place_[source]));
  }

  void pop() {
    place_[heap_.front().second] = kAbsent;
    if (heap_.size() > 1) {
      heap_.front() = heap_.back();
      place_[heap_.front().second] = 0;
    }
    heap_.pop_back();
    if (!heap_.empty()) down(0);
  }

 private:
  using Entry = std::pair<double, std::size_t>;  // time, source
  static constexpr std::size_t kAbsent = static_cast<std::size_t>(-1);

  void swap(std::size_t a, std::size_t b) {
    std::swap(heap_[a], heap_[b]);
    place_[heap_[a].second] = a;
    place_[heap_[b].second] = b;
  }
  std::size_t up(std::size_t i) {
    while (i > 0 && heap_[i] < heap_[(i - 1) / 2]) {
      swap(i, (i - 1) / 2);
      i = (i - 1) / 2;
    }
    return i;
  }
  void down(std::size_t i) {
    while (true) {
      std::size_t least = i;
      for (std::size_t child = 2 * i + 1; child <= 2 * i + 2 && child < heap_.size(); ++child) {
        if (heap_[child] < heap_[least]) least = child;
      }
      if (least == i) return;
      swap(i, least);
      i = least;
    }
  }

  std::vector<Entry> heap_;
  std::vector<std::size_t> place_;
};

}  // namespace motley
