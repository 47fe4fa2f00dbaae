// A stage's flat buffers: the host's pass, LibTorch's operators, and the kernels for devices (on the emulator) do the
// same.
#include "motley/stage/parameter_buffers.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/linked_kernels.h"
#include "motley/base/error.h"
#include "motley/stage/stage.h"

namespace motley {
namespace {

using testing::HasSubstr;

constexpr double kClip = 0.5;

Workload router() {
  return builtin_workloads().make(
      {.name = "router",
       .options = workload_options("data = \"synthetic\"\nsamples = 20\nembedding = 20\nmodels = 5\nwidth = 24\n"
                                   "hidden = 40\nblocks = 2"),
       .folder = {}});
}

OptimizerOptions options_of(const std::string& name, DType parameters = DType::Float32) {
  OptimizerOptions options;
  options.name = name;
  options.learning_rate = 0.01;
  options.weight_decay = 0.1;
  options.momentum = 0.9;
  options.parameters = parameters;
  return options;
}

/// Gradients that differ from element to element and from step to step; those of the padding are zero.
void fill_gradients(const ParameterBuffers& buffers, int step) {
  const at::NoGradGuard no_gradients;
  for (const LayerRoom& room : buffers.rooms()) {
    const std::int64_t size = room.offsets.back();
    at::Tensor(buffers.gradients())
        .narrow(0, room.begin, size)
        .copy_(at::sin(at::arange(size, at::kFloat) * (step + 1)));
  }
}

void expect_same_bits(const ParameterBuffers& expected, const ParameterBuffers& found) {
  EXPECT_TRUE(at::equal(expected.parameters(), found.parameters()));
  EXPECT_TRUE(at::equal(expected.gradients(), found.gradients()));
  ASSERT_EQ(expected.moments().size(), found.moments().size());
  for (std::size_t i = 0; i < expected.moments().size(); ++i) {
    EXPECT_TRUE(at::equal(expected.moments()[i].flat, found.moments()[i].flat)) << expected.moments()[i].name;
  }
  ASSERT_EQ(expected.rounded().defined(), found.rounded().defined());
  if (expected.rounded().defined()) {
    EXPECT_TRUE(at::equal(expected.rounded(), found.rounded()));
  }
}

TEST(ParameterBuffers, OperatorsGiveWhatTheHostGives) {
  const Workload workload = router();
  for (const std::string& name : {std::string("adamw"), std::string("sgd")}) {
    const OptimizerOptions options = options_of(name);
    ParameterBuffers on_host(workload.layers, options, at::kCPU);
    ParameterBuffers by_operators(workload.layers, options, at::kCPU);
    for (int step = 0; step < 4; ++step) {
      fill_gradients(on_host, step);
      fill_gradients(by_operators, step);
      on_host.update(options, step, kClip);
      by_operators.update_by_operators(options, step, kClip);
      EXPECT_EQ(by_operators.gradients().abs().max().item<double>(), 0.0);
    }
    EXPECT_GT(on_host.parameters().abs().max().item<double>(), 1e-3);
    EXPECT_LT(on_host.parameters().sub(by_operators.parameters()).abs().max().item<double>(), 1e-6) << name;
  }
}

TEST(ParameterBuffers, KernelsForDevicesGiveTheBitsOfTheHost) {
  const kernels::DeviceKernels table = kernels::linked_kernels();
  const Workload workload = router();
  for (const auto& [name, type] : {std::pair<std::string, DType>{"adamw", DType::Float32},
                                   {"adamw", DType::BFloat16},
                                   {"sgd", DType::Float32},
                                   {"sgd", DType::BFloat16}}) {
    SCOPED_TRACE(name);
    const OptimizerOptions options = options_of(name, type);
    ParameterBuffers on_host(workload.layers, options, at::kCPU);
    ParameterBuffers launched(workload.layers, options, at::kCPU, {&table, nullptr});
    for (int step = 0; step < 3; ++step) {
      fill_gradients(on_host, step);
      fill_gradients(launched, step);
      const std::vector<double> expected = on_host.norms();
      const std::vector<double> found = launched.norms();
      ASSERT_EQ(found.size(), workload.layers.size());
      for (std::size_t layer = 0; layer < found.size(); ++layer) {
        EXPECT_GT(expected[layer], 0.0);
        EXPECT_NEAR(found[layer], expected[layer], 1e-12 * expected[layer]) << "layer " << layer;
      }
      on_host.update(options, step, kClip);
      launched.update(options, step, kClip);
      expect_same_bits(on_host, launched);
    }
  }
}

TEST(ParameterBuffers, ALayersBitsDoNotDependOnTheLayersBeside) {
  const Workload workload = router();
  for (const std::string& name : {std::string("adamw"), std::string("sgd")}) {
    for (const DType type : {DType::Float32, DType::BFloat16}) {
      const OptimizerOptions options = options_of(name, type);
      ParameterBuffers all(workload.layers, options, at::kCPU);
      fill_gradients(all, 0);
      const std::vector<double> norms = all.norms();
      all.update(options, 0, kClip);
      for (std::size_t layer = 0; layer < workload.layers.size(); ++layer) {
        ParameterBuffers one({workload.layers[layer]}, options, at::kCPU);
        fill_gradients(one, 0);
        EXPECT_EQ(one.norms(), std::vector<double>{norms[layer]});
        one.update(options, 0, kClip);
        const LayerRoom& room = all.rooms()[layer];
        const std::int64_t size = room.offsets.back();
        EXPECT_TRUE(at::equal(all.parameters().narrow(0, room.begin, size), one.parameters().narrow(0, 0, size)))
            << name << ", layer " << layer;
        // Vectorised code of LibTorch's may depend on where within a cache line it begins.
        EXPECT_EQ(room.begin * 4 % 64, 0);
        if (type == DType::BFloat16) {
          EXPECT_EQ(room.begin * 2 % 64, 0);
        }
      }
    }
  }
}

TEST(ParameterBuffers, NormsThatWereStartedAreThoseOfThatMoment) {
  const Workload workload = router();
  const OptimizerOptions options = options_of("adamw");
  ParameterBuffers buffers(workload.layers, options, at::kCPU);
  fill_gradients(buffers, 0);
  buffers.start_norms();
  fill_gradients(buffers, 1);
  const std::vector<double> started = buffers.norms();
  EXPECT_NE(started, buffers.norms());
  fill_gradients(buffers, 0);
  EXPECT_EQ(started, buffers.norms());
  // An update leaves nothing that was started behind.
  buffers.start_norms();
  buffers.update(options, 0, 1.0);
  EXPECT_EQ(buffers.norms(), std::vector<double>(workload.layers.size(), 0.0));
}

TEST(ParameterBuffers, ALaunchThatFailsNamesItsKernel) {
  kernels::DeviceKernels table = kernels::linked_kernels();
  table.adamw = [](const kernels::AdamwBuffers&, std::size_t, const kernels::DecayRun*, std::size_t,
                   const kernels::AdamwStep&, kernels::Stream) { return 700; };
  const OptimizerOptions options = options_of("adamw");
  ParameterBuffers buffers(router().layers, options, at::kCPU, {&table, nullptr});
  try {
    buffers.update(options, 0, 1.0);
    FAIL() << "no fault";
  } catch (const Fault& fault) {
    EXPECT_THAT(fault.what(),
                HasSubstr("kernel adamw: could not be launched: an error of the emulator (CUDA error 700)"));
  }
}

}  // namespace
}  // namespace motley
