#pragma once

#include <cstddef>
#include <future>

namespace motley::parametric {

/// Calls work(0), work(1), ... on two threads in turn.
template <typename Work>
void share(std::size_t count, const Work& work) {
  const auto from = [&](std::size_t first) {
    for (std::size_t i = first; i < count; i += 2) work(i);
  };
  if (count < 2) return from(0);
  auto other = std::async(std::launch::async, from, 1);
  from(0);
  other.get();
}

}  // namespace motley::parametric
