// The engine itself asks for no memory in a steady state: a step of more micro-batches costs what their layers ask for.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "comm/ranks.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "runtime/pipeline.h"

namespace {

thread_local long allocations_of_this_thread = 0;

void* allocate(std::size_t size) {
  ++allocations_of_this_thread;
  void* memory = std::malloc(size == 0 ? 1 : size);
  return memory != nullptr ? memory : throw std::bad_alloc();
}

void* allocate(std::size_t size, std::align_val_t alignment) {
  ++allocations_of_this_thread;
  void* memory = nullptr;
  const int error = posix_memalign(&memory, static_cast<std::size_t>(alignment), size == 0 ? 1 : size);
  return error == 0 ? memory : throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) {
  return allocate(size);
}
void* operator new[](std::size_t size) {
  return allocate(size);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++allocations_of_this_thread;
  return std::malloc(size == 0 ? 1 : size);
}
void* operator new[](std::size_t size, const std::nothrow_t& nothrow) noexcept {
  return operator new(size, nothrow);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, alignment);
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return allocate(size, alignment);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace motley {
namespace {

constexpr int kStages = 3;
constexpr int kFew = 16;
constexpr int kMany = 48;

at::Tensor tensor_of(const TensorSpec& spec) {
  std::vector<std::int64_t> shape{kMicroBatchSize};
  shape.insert(shape.end(), spec.shape.begin(), spec.shape.end());
  return at::zeros(shape);
}

/// What a stage's layers, its data and the tensors it is handed ask for in a step.
long layers_alone(const Workload& workload, Stage& stage, int micro_batches) {
  const TensorList input{stage.input().empty() ? at::Tensor() : tensor_of(stage.input()[0])};
  const TensorList gradient{stage.output().empty() ? at::Tensor() : tensor_of(stage.output()[0])};
  const auto samples = batch_of(workload, 0, micro_batches);
  const long before = allocations_of_this_thread;
  for (int m = 0; m < micro_batches; ++m) {
    const std::span mine = std::span(samples).subspan(static_cast<std::size_t>(m * kMicroBatchSize), kMicroBatchSize);
    Fields fields;
    if (!stage.reads().empty()) {
      fields = workload.data->fetch(stage.reads(), Split::Train, mine);
    }
    (void)stage.forward(m, 0, stage.first() == 0 ? TensorList{} : TensorList{at::empty_like(input[0])}, fields, true);
    (void)stage.backward(m, stage.is_last() ? TensorList{} : TensorList{at::empty_like(gradient[0])}, 1.0);
  }
  const long counted = allocations_of_this_thread - before;
  stage.abandon_step();
  return counted;
}

TEST(Allocations, AFurtherMicroBatchCostsTheEngineNone) {
  const Workload workload = small_router();
  const std::vector<int> cuts = even_cuts(workload, kStages);
  run_ranks(kStages, with_deadline(20), [&](Communicator& communicator) {
    at::set_num_threads(1);
    const OwnStages own(workload, cuts, {0, 1, 2}, communicator.rank());
    Stage& stage = *own.view().begin()->second;
    std::map<int, long> engine;
    std::map<int, long> layers;
    for (const int micro_batches : {kFew, kMany}) {
      const Schedule lowered = add_transfers(with_updates(one_f_one_b(kStages, micro_batches), true));
      Executor executor(communicator, workload, own.view(), lowered, executor_options(), Pacer());
      const auto samples = batch_of(workload, 0, micro_batches);
      // How far a channel runs ahead, and so how many messages it has in hand, differs from step to step: the least of
      // several steps is the steady state.
      for (int step = 0; step < 12; ++step) {
        const long before = allocations_of_this_thread;
        (void)executor.train(step, samples);
        const long counted = allocations_of_this_thread - before;
        engine[micro_batches] = step == 0 ? counted : std::min(engine[micro_batches], counted);
      }
      (void)layers_alone(workload, stage, micro_batches);
      layers[micro_batches] = layers_alone(workload, stage, micro_batches);
    }
    EXPECT_GT(layers[kMany], layers[kFew]) << "nothing is counted";
    // A list that was never as long as in this step may have grown; what is asked for a message comes to more.
    constexpr long kGrown = (kMany - kFew) / 4;
    EXPECT_LT(engine[kMany] - engine[kFew], layers[kMany] - layers[kFew] + kGrown) << "rank " << communicator.rank();
  });
}

}  // namespace
}  // namespace motley
