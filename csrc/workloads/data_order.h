#pragma once

#include <cstdint>
#include <vector>

namespace motley {

/// Samples of training step `step` (from 0): a pure function of its arguments, so that every rank and a resumed run
/// agree without talking. Position p = step * batch + i of the endless stream is place p % size of epoch p / size, and
/// each epoch visits each of the `size` samples once in an order of its own. A batch may span two epochs.
///
/// O(batch): the permutation is a Feistel network walked until it lands in range (Black and Rogaway, CT-RSA 2002).
[[nodiscard]] std::vector<std::int64_t> samples_of_step(std::uint64_t seed, std::int64_t step, std::int64_t batch,
                                                        std::int64_t size);

}  // namespace motley
