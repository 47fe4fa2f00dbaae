#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace motley {

/// A queue that keeps its memory: in a steady state it allocates nothing, which std::deque does every few elements.
template <typename Element>
class Ring {
 public:
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] Element& front() { return elements_[begin_]; }

  void push_back(Element element) {
    if (size_ == elements_.size()) grow();
    elements_[(begin_ + size_++) % elements_.size()] = std::move(element);
  }

  /// Takes the first element out.
  Element pop_front() {
    Element element = std::exchange(elements_[begin_], Element{});
    begin_ = (begin_ + 1) % elements_.size();
    --size_;
    return element;
  }

 private:
  void grow() {
    std::vector<Element> larger(elements_.empty() ? 8 : 2 * elements_.size());
    for (std::size_t i = 0; i < size_; ++i) larger[i] = std::move(elements_[(begin_ + i) % elements_.size()]);
    elements_ = std::move(larger);
    begin_ = 0;
  }

  std::vector<Element> elements_;
  std::size_t begin_ = 0;
  std::size_t size_ = 0;
};

}  // namespace motley
