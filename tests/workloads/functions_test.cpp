#include "motley/workloads/functions.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "kernels/linked_kernels.h"

namespace motley {
namespace {

// A leaf that requires a gradient and the sum that its queued gradient belongs in.
struct Parameter {
  explicit Parameter(const at::Tensor& initial)
      : value(initial.detach().requires_grad_()), sum(at::zeros_like(initial)) {}
  at::Tensor value;
  at::Tensor sum;
};

class Functions : public testing::Test {
 protected:
  void SetUp() override {
    at::set_num_threads(1);
    at::manual_seed(1);
  }

  LayerContext context(std::initializer_list<const Parameter*> parameters) {
    for (const Parameter* parameter : parameters) {
      slots_[parameter->value.unsafeGetTensorImpl()] = parameter->sum;
    }
    queue_.defer(true);
    LayerContext made;
    made.queue = &queue_;
    made.training = true;
    return made;
  }

  void expect_queued_equals_autograd(const std::function<at::Tensor(const at::Tensor&, const LayerContext&)>& function,
                                     const at::Tensor& x, const std::vector<Parameter*>& parameters,
                                     const LayerContext& context) {
    const at::Tensor x1 = x.detach().requires_grad_(x.is_floating_point());
    const at::Tensor x2 = x.detach().requires_grad_(x.is_floating_point());
    const at::Tensor apart = function(x1, context);
    const at::Tensor dy = at::randn_like(apart);
    apart.backward(dy);
    EXPECT_EQ(queue_.waiting(), 1U);
    for (const Parameter* parameter : parameters) {
      EXPECT_FALSE(parameter->value.grad().defined());
      EXPECT_EQ(parameter->sum.abs().max().item<double>(), 0.0);
    }
    queue_.run();
    const at::Tensor plain = function(x2, LayerContext{});
    plain.backward(dy);
    EXPECT_TRUE(at::equal(apart, plain));
    if (x.is_floating_point()) {
      EXPECT_TRUE(at::allclose(x1.grad(), x2.grad(), 1e-5, 1e-6));
    }
    for (const Parameter* parameter : parameters) {
      EXPECT_TRUE(at::allclose(parameter->sum, parameter->value.grad(), 1e-5, 1e-5));
    }
  }

  GradientSlots slots_;
  WeightGradients queue_{slots_};
};

TEST_F(Functions, LinearGivesAutogradsGradients) {
  Parameter w(at::randn({5, 7})), b(at::randn({5}));
  const LayerContext apart = context({&w, &b});
  for (const auto& x : {at::randn({4, 7}), at::randn({2, 3, 7})}) {
    w.sum.zero_(), b.sum.zero_();
    w.value.mutable_grad() = b.value.mutable_grad() = at::Tensor();
    expect_queued_equals_autograd([&](const auto& in, const auto& c) { return linear(in, w.value, b.value, c); }, x,
                                  {&w, &b}, apart);
  }
}

TEST_F(Functions, LinearWithoutBiasGivesAutogradsGradients) {
  Parameter w(at::randn({5, 7}));
  expect_queued_equals_autograd([&](const auto& in, const auto& c) { return linear(in, w.value, {}, c); },
                                at::randn({4, 7}), {&w}, context({&w}));
}

TEST_F(Functions, EmbeddingGivesAutogradsGradients) {
  Parameter w(at::randn({6, 3}));
  const at::Tensor tokens = at::arange(8, at::kLong).remainder(4).view({2, 4});  // rows used twice and not at all
  expect_queued_equals_autograd([&](const auto& in, const auto& c) { return embedding(in, w.value, c); }, tokens, {&w},
                                context({&w}));
}

TEST_F(Functions, LayerNormGivesAutogradsGradients) {
  Parameter g(at::randn({9})), b(at::randn({9}));
  expect_queued_equals_autograd(
      [&](const auto& in, const auto& c) { return layer_norm(in, g.value, b.value, 1e-5, c); }, at::randn({2, 3, 9}),
      {&g, &b}, context({&g, &b}));
}

TEST_F(Functions, ScoresAndCrossEntropyAreLibTorchs) {
  const kernels::DeviceKernels table = kernels::linked_kernels();
  // On the host, and by the kernels for devices: with rows that can be read 16 bytes at a time and without.
  for (const auto& [on_device, width] : {std::pair<bool, std::int64_t>{false, 9}, {true, 9}, {true, 12}}) {
    SCOPED_TRACE(on_device ? "kernels for devices, width " + std::to_string(width) : "host");
    Parameter w(at::randn({5, width})), b(at::randn({5}));
    LayerContext apart = context({&w, &b});
    if (on_device) apart.kernels = {&table, nullptr};
    at::Tensor labels = at::rand({6, 5});
    for (const bool ragged : {false, true}) {
      if (ragged) {
        labels = labels.masked_fill(at::rand({6, 5}) < 0.4, std::numeric_limits<double>::quiet_NaN());
      }
      const at::Tensor known = labels.isnan().logical_not();
      w.sum.zero_(), b.sum.zero_();
      w.value.mutable_grad() = b.value.mutable_grad() = at::Tensor();
      const at::Tensor x1 = at::randn({6, width}).requires_grad_(), x2 = x1.detach().requires_grad_();
      const ScoredLoss found = scores_and_cross_entropy(x1, w.value, b.value, labels, apart);
      EXPECT_FALSE(found.scores.requires_grad());
      (found.sum * 0.3).backward();
      EXPECT_EQ(queue_.waiting(), 1U);
      EXPECT_EQ(w.sum.abs().max().item<double>(), 0.0);
      queue_.run();

      const at::Tensor scores = at::linear(x2, w.value, b.value);
      const at::Tensor sum = at::binary_cross_entropy_with_logits(
          scores.masked_select(known), labels.masked_select(known), {}, {}, at::Reduction::Sum);
      (sum * 0.3).backward();
      EXPECT_TRUE(at::allclose(found.scores, scores.detach(), 1e-5, 1e-6));
      EXPECT_TRUE(at::allclose(found.sum, sum, 1e-6, 1e-6));
      EXPECT_TRUE(at::allclose(x1.grad(), x2.grad(), 1e-5, 1e-6));
      EXPECT_TRUE(at::allclose(w.sum, w.value.grad(), 1e-5, 1e-6));
      EXPECT_TRUE(at::allclose(b.sum, b.value.grad(), 1e-5, 1e-6));

      const ScoredLoss evaluated =
          scores_and_cross_entropy(x1.detach(), w.value.detach(), b.value.detach(), labels, {});
      EXPECT_TRUE(at::allclose(evaluated.sum, sum.detach(), 1e-6, 1e-6));
    }
  }
}

TEST_F(Functions, ScoresInMixedPrecisionAreThoseOfTheRoundedNumbers) {
  const kernels::DeviceKernels table = kernels::linked_kernels();
  for (const auto& [on_device, width] : {std::pair<bool, std::int64_t>{false, 9}, {true, 9}, {true, 12}}) {
    SCOPED_TRACE(on_device ? "kernels for devices, width " + std::to_string(width) : "host");
    const auto rounded = [](const at::Tensor& wide) { return wide.to(at::kBFloat16); };
    Parameter w(rounded(at::randn({5, width}))), b(rounded(at::randn({5})));
    w.sum = w.sum.to(at::kFloat), b.sum = b.sum.to(at::kFloat);
    LayerContext apart = context({&w, &b});
    if (on_device) apart.kernels = {&table, nullptr};
    const at::Tensor labels =
        at::rand({6, 5}).masked_fill(at::rand({6, 5}) < 0.4, std::numeric_limits<double>::quiet_NaN());
    const at::Tensor known = labels.isnan().logical_not();
    const at::Tensor x = rounded(at::randn({6, width})).requires_grad_();
    const ScoredLoss found = scores_and_cross_entropy(x, w.value, b.value, labels, apart);
    EXPECT_EQ(found.scores.scalar_type(), at::kFloat);
    EXPECT_EQ(found.sum.scalar_type(), at::kFloat);
    (found.sum * 0.3).backward();
    queue_.run();

    // The same numbers in float32: of all that is handed on, the gradient of x alone is rounded.
    const auto wide = [](const at::Tensor& narrow) { return narrow.detach().to(at::kFloat).requires_grad_(); };
    const at::Tensor wide_x = wide(x), wide_w = wide(w.value), wide_b = wide(b.value);
    const at::Tensor scores = at::linear(wide_x, wide_w, wide_b);
    const at::Tensor sum = at::binary_cross_entropy_with_logits(
        scores.masked_select(known), labels.masked_select(known), {}, {}, at::Reduction::Sum);
    (sum * 0.3).backward();
    EXPECT_TRUE(at::allclose(found.scores, scores.detach(), 1e-5, 1e-6));
    EXPECT_TRUE(at::allclose(found.sum, sum, 1e-6, 1e-6));
    EXPECT_TRUE(at::allclose(w.sum, wide_w.grad(), 1e-5, 1e-6));
    EXPECT_TRUE(at::allclose(b.sum, wide_b.grad(), 1e-5, 1e-6));
    EXPECT_EQ(x.grad().scalar_type(), at::kBFloat16);
    EXPECT_TRUE(at::allclose(x.grad().to(at::kFloat), wide_x.grad(), 1.0 / 256, 1e-6));
  }
}

TEST_F(Functions, WeightWithoutSlotTakesTheOrdinaryWay) {
  Parameter w(at::randn({7, 5}));
  const LayerContext apart = context({&w});
  linear(at::randn({4, 7}), w.value.t(), {}, apart).sum().backward();
  EXPECT_EQ(queue_.waiting(), 0U);
  EXPECT_TRUE(w.value.grad().defined());
}

TEST_F(Functions, DropoutDependsOnItsKeyAlone) {
  LayerContext c;
  c.training = true;
  c.random = {.seed = 1, .step = 2, .layer = 3, .micro_batch = 4};
  const at::Tensor ones = at::ones({64, 301});
  const at::Tensor mask = dropout(ones, 0.25, c);
  EXPECT_TRUE(at::equal(mask, dropout(ones, 0.25, c)));
  EXPECT_NEAR(mask.eq(0).to(at::kDouble).mean().item<double>(), 0.25, 0.015);
  EXPECT_NEAR(mask.max().item<double>(), 4.0 / 3.0, 1e-6);
  for (int changed = 0; changed < 5; ++changed) {
    LayerContext other = c;
    other.random.seed += changed == 0;
    other.random.step += changed == 1;
    other.random.layer += changed == 2;
    other.random.micro_batch += changed == 3;
    EXPECT_FALSE(at::equal(mask, dropout(ones, 0.25, other, changed == 4 ? 1 : 0))) << changed;
  }
}

TEST_F(Functions, RandomnessOfASampleDoesNotDependOnHowAMicroBatchIsShared) {
  LayerContext c;
  c.training = true;
  const at::Tensor x = at::ones({10, 33});
  const at::Tensor dropped = dropout(x, 0.5, c);
  c.random.first_sample = 6;
  EXPECT_TRUE(at::equal(dropped.slice(0, 6), dropout(x.slice(0, 6), 0.5, c)));
}

TEST_F(Functions, DropoutsGradientHasTheMaskOfItsForward) {
  const kernels::DeviceKernels table = kernels::linked_kernels();
  const at::Tensor ones = at::ones({8, 20});
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    at::Tensor on_host;
    for (const bool on_device : {false, true}) {
      LayerContext c;
      c.training = true;
      if (on_device) c.kernels = {&table, nullptr};
      const at::Tensor x = ones.to(type).detach().requires_grad_();
      const at::Tensor y = dropout(x, 0.4, c);
      y.sum().backward();
      EXPECT_TRUE(at::equal(x.grad(), y.detach()));
      if (!on_device) on_host = y.detach();
      EXPECT_TRUE(at::equal(on_host, y.detach()));
    }
  }
}

TEST_F(Functions, DropoutInMixedPrecisionIsRoundedOnce) {
  LayerContext c;
  c.training = true;
  const at::Tensor x = at::randn({16, 37}).to(at::kBFloat16);
  const at::Tensor exact = dropout(x.to(at::kFloat), 0.3, c);
  EXPECT_TRUE(at::equal(dropout(x, 0.3, c), exact.to(at::kBFloat16)));
}

}  // namespace
}  // namespace motley
