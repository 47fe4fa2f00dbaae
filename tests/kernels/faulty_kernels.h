#pragma once

#include <cstddef>

#include "motley/kernels/launch.h"

namespace motley::kernels {

/// Each does one thing wrong unless told otherwise.
void reverse_in_shared(int* values, unsigned threads, bool with_barrier);
void sum_of_block(int* values, unsigned blocks, bool sets_to_zero);
void neighbour_in_warp(int* values, bool with_barrier);
void barrier_in_branch(int* values, unsigned threads, bool first_half_only_waits);
void shuffle_with_mask(int* values, unsigned mask);
void shuffle_in_branch(int* values);
void write_beyond(int* values, unsigned count, unsigned threads);
void write_beyond_shared(int* values, unsigned threads);  // of an array of 16
void count_threads(unsigned* counter, unsigned blocks, bool atomically);
void write_own_block(int* values, unsigned blocks);
void sum_of_warp(int* values);
void votes_of_warp(unsigned* votes);
void tickets_of_block(unsigned* counter, unsigned* tickets, unsigned threads);
void any_and_all(unsigned* votes, unsigned least);  // 1 for any, 2 for all
void sum_and_largest(float* sum, unsigned* largest, unsigned blocks);

}  // namespace motley::kernels
