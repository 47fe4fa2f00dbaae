#include "kernels/faulty_kernels.h"

namespace motley::kernels {
namespace {

__global__ void reverse_kernel(int* values, bool with_barrier) {
  __shared__ int shared[1024];
  shared[threadIdx.x] = values[threadIdx.x];
  if (with_barrier) {
    __syncthreads();
  }
  values[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

__global__ void sum_of_block_kernel(int* values, bool sets_to_zero) {
  __shared__ int sum;
  if (sets_to_zero && threadIdx.x == 0) {
    sum = 0;
  }
  __syncthreads();
  atomicAdd(&sum, static_cast<int>(threadIdx.x));
  __syncthreads();
  values[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

__global__ void neighbour_kernel(int* values, bool with_barrier) {
  __shared__ int shared[32];
  shared[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (with_barrier) {
    __syncwarp();
  }
  values[threadIdx.x] = shared[(threadIdx.x + 1) % 32];
}

__global__ void branch_kernel(int* values, bool first_half_only_waits) {
  if (!first_half_only_waits || threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __syncwarp();  // waits for lanes that are at the other barrier
  }
  values[threadIdx.x] = 1;
}

__global__ void mask_kernel(int* values, unsigned mask) {
  values[threadIdx.x] = __shfl_xor_sync(mask, static_cast<int>(threadIdx.x), 1);
}

__global__ void shuffle_in_branch_kernel(int* values) {
  if (threadIdx.x < 16) {
    values[threadIdx.x] = __shfl_sync(0xffffffffU, 1, 0);
  }
}

__global__ void beyond_kernel(int* values, unsigned /*count*/) {
  values[threadIdx.x] = 1;
}

__global__ void beyond_shared_kernel(int* values) {
  __shared__ int shared[16];
  shared[threadIdx.x] = 1;
  __syncthreads();
  values[threadIdx.x] = shared[0];
}

__global__ void count_kernel(unsigned* counter, bool atomically) {
  if (atomically) {
    atomicAdd(counter, 1U);
  } else {
    *counter = *counter + 1;
  }
}

__global__ void own_block_kernel(int* values) {
  values[blockIdx.x * blockDim.x + threadIdx.x] = static_cast<int>(blockIdx.x);
}

__global__ void sum_kernel(int* values) {
  int sum = values[threadIdx.x];
  for (unsigned step = 16; step > 0; step /= 2) {
    sum += __shfl_down_sync(0xffffffffU, sum, step);
  }
  if (threadIdx.x == 0) {
    values[0] = sum;
  }
}

__global__ void tickets_kernel(unsigned* counter, unsigned* tickets) {
  tickets[threadIdx.x] = atomicAdd(counter, 1U);
}

__global__ void any_all_kernel(unsigned* votes, unsigned least) {
  const unsigned mine = votes[threadIdx.x];
  const int any = __any_sync(0xffffffffU, mine >= least ? 1 : 0);
  const int all = __all_sync(0xffffffffU, mine >= least ? 1 : 0);
  votes[threadIdx.x] = static_cast<unsigned>(any) + 2U * static_cast<unsigned>(all);
}

__global__ void extremes_kernel(float* sum, unsigned* largest) {
  atomicAdd(sum, static_cast<float>(threadIdx.x));
  atomicMax(largest, blockIdx.x * blockDim.x + threadIdx.x * 7 % 32);
}

__global__ void votes_kernel(unsigned* votes) {
  votes[threadIdx.x] = __ballot_sync(0xffffffffU, threadIdx.x % 3 == 0 ? 1 : 0);
}

}  // namespace

void reverse_in_shared(int* values, unsigned threads, bool with_barrier) {
  launch(reverse_kernel, dim3(1), dim3(threads), nullptr, values, with_barrier);
}
void sum_of_block(int* values, unsigned blocks, bool sets_to_zero) {
  launch(sum_of_block_kernel, dim3(blocks), dim3(64), nullptr, values, sets_to_zero);
}
void neighbour_in_warp(int* values, bool with_barrier) {
  launch(neighbour_kernel, dim3(1), dim3(32), nullptr, values, with_barrier);
}
void barrier_in_branch(int* values, unsigned threads, bool first_half_only_waits) {
  launch(branch_kernel, dim3(1), dim3(threads), nullptr, values, first_half_only_waits);
}
void shuffle_with_mask(int* values, unsigned mask) {
  launch(mask_kernel, dim3(1), dim3(32), nullptr, values, mask);
}
void shuffle_in_branch(int* values) {
  launch(shuffle_in_branch_kernel, dim3(1), dim3(32), nullptr, values);
}
void write_beyond(int* values, unsigned count, unsigned threads) {
  launch(beyond_kernel, dim3(1), dim3(threads), nullptr, values, count);
}
void write_beyond_shared(int* values, unsigned threads) {
  launch(beyond_shared_kernel, dim3(1), dim3(threads), nullptr, values);
}
void count_threads(unsigned* counter, unsigned blocks, bool atomically) {
  launch(count_kernel, dim3(blocks), dim3(32), nullptr, counter, atomically);
}
void write_own_block(int* values, unsigned blocks) {
  launch(own_block_kernel, dim3(blocks), dim3(64), nullptr, values);
}
void sum_of_warp(int* values) {
  launch(sum_kernel, dim3(1), dim3(32), nullptr, values);
}
void tickets_of_block(unsigned* counter, unsigned* tickets, unsigned threads) {
  launch(tickets_kernel, dim3(1), dim3(threads), nullptr, counter, tickets);
}
void any_and_all(unsigned* votes, unsigned least) {
  launch(any_all_kernel, dim3(1), dim3(32), nullptr, votes, least);
}
void sum_and_largest(float* sum, unsigned* largest, unsigned blocks) {
  launch(extremes_kernel, dim3(blocks), dim3(32), nullptr, sum, largest);
}
void votes_of_warp(unsigned* votes) {
  launch(votes_kernel, dim3(1), dim3(32), nullptr, votes);
}

}  // namespace motley::kernels
