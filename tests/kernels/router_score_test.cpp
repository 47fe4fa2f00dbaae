#include "motley/kernels/router_score/router_score.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/device_array.h"
#include "motley/kernels/arithmetic.h"
#include "motley/kernels/router_score/formula.h"

namespace motley::kernels {
namespace {

using namespace MOTLEY_KERNEL_SPACE;

constexpr float kScale = 0.25F;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Shape {
  std::size_t queries, models, width;
  Element element;
  bool weighted;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  return out << shape.queries << " queries, " << shape.models << " models, width " << shape.width
             << (shape.element == Element::Float32 ? "" : ", bfloat16") << (shape.weighted ? ", weighted" : "");
}

/// Matrices, labels a third of which is missing, and where results go.
struct Case {
  explicit Case(const Shape& s)
      : shape(s), query(normal(s.queries * s.width)), model(normal(s.models * s.width)), bias(normal(s.models)) {
    for (float& value : model) value *= 2.0F / std::sqrt(static_cast<float>(s.width));
    for (const float value : query) half_query.push_back(arithmetic::to_bfloat16(value));
    for (const float value : model) half_model.push_back(arithmetic::to_bfloat16(value));
    for (std::size_t i = 0; i < s.queries * s.models; ++i) {
      label.push_back(random() % 3 == 0 ? kNan : random() % 4 == 0 ? 0.3F : static_cast<float>(random() % 2));
    }
    for (std::size_t m = 0; m < s.models; ++m) {
      weight.push_back(static_cast<float>(random() % 5) * 0.5F);
      positive.push_back(0.5F + static_cast<float>(random() % 4));
    }
  }

  RouterScoreInput input() const {
    return input_of(query.data(), model.data(), half_query.data(), half_model.data(), bias.data(), label.data(),
                    weight.data(), positive.data());
  }
  RouterScoreInput input_of(const float* q, const float* m, const std::uint16_t* hq, const std::uint16_t* hm,
                            const float* b, const float* l, const float* w, const float* p) const {
    const bool wide = shape.element == Element::Float32;
    return {shape.queries,
            shape.models,
            shape.width,
            shape.element,
            wide ? static_cast<const void*>(q) : hq,
            wide ? static_cast<const void*>(m) : hm,
            b,
            l,
            shape.weighted ? w : nullptr,
            shape.weighted ? p : nullptr};
  }

  std::vector<float> normal(std::size_t count) {
    std::normal_distribution<float> distribution;
    std::vector<float> values(count);
    for (float& value : values) value = distribution(random);
    return values;
  }

  Shape shape;
  std::mt19937 random{5};
  std::vector<float> query, model, bias, label, weight, positive;
  std::vector<std::uint16_t> half_query, half_model;
};

template <typename Value>
struct Results {
  explicit Results(const Shape& s)
      : score(s.queries * s.models),
        score_gradient(s.queries * s.models),
        query_gradient(s.queries * s.width),
        model_gradient(s.models * s.width),
        bias_gradient(s.models) {}
  double loss = 0.0;
  std::vector<Value> score, score_gradient, query_gradient, model_gradient, bias_gradient;
};

Results<float> on_cpu(const Case& c) {
  Results<float> results(c.shape);
  results.loss = router_score_on_cpu(c.input(), results.score.data(), results.score_gradient.data());
  router_query_gradient_on_cpu(c.input(), results.score_gradient.data(), kScale, results.query_gradient.data());
  router_model_gradient_on_cpu(c.input(), results.score_gradient.data(), kScale, results.model_gradient.data(),
                               results.bias_gradient.data());
  return results;
}

Results<float> on_device(RouterVersion version, const Case& c) {
  DeviceArray<float> query(c.query), model(c.model), bias(c.bias), label(c.label), weight(c.weight),
      positive(c.positive);
  DeviceArray<std::uint16_t> half_query(c.half_query), half_model(c.half_model);
  const RouterScoreInput input = c.input_of(query.data(), model.data(), half_query.data(), half_model.data(),
                                            bias.data(), label.data(), weight.data(), positive.data());
  DeviceArray<float> scale(std::vector<float>{kScale});
  DeviceArray<double> loss_scratch(router_loss_scratch(c.shape.queries)), loss(1);
  DeviceArray<float> gradient_scratch(router_gradient_scratch(input));
  const Results<float> none(c.shape);
  DeviceArray<float> score(none.score), score_gradient(none.score_gradient), query_gradient(none.query_gradient),
      model_gradient(none.model_gradient), bias_gradient(none.bias_gradient);
  EXPECT_EQ(router_score(version, input, kScale, loss_scratch.data(), loss.data(), score.data(), score_gradient.data(),
                         query_gradient.data(), nullptr),
            0);
  EXPECT_EQ(router_model_gradient(version, input, score_gradient.data(), scale.data(), gradient_scratch.data(),
                                  model_gradient.data(), bias_gradient.data(), nullptr),
            0);
  EXPECT_TRUE(loss_scratch.intact_behind() && gradient_scratch.intact_behind() && score.intact_behind() &&
              score_gradient.intact_behind() && query_gradient.intact_behind() && model_gradient.intact_behind() &&
              bias_gradient.intact_behind());
  Results<float> results(c.shape);
  results.loss = loss.host()[0];
  results.score = score.host();
  results.score_gradient = score_gradient.host();
  results.query_gradient = query_gradient.host();
  results.model_gradient = model_gradient.host();
  results.bias_gradient = bias_gradient.host();
  return results;
}

void expect_near(const std::vector<float>& found, const std::vector<double>& expected, double tolerance,
                 const char* what) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(found[i], expected[i], tolerance * std::max(1.0, std::abs(expected[i]))) << what << " " << i;
  }
}

class RouterScore : public testing::TestWithParam<Shape> {};

TEST_P(RouterScore, EveryVersionEqualsThePlainLoopUpToRounding) {
  const Case c(GetParam());
  Results<double> expected(c.shape);
  router_score_reference(c.input(), kScale, expected.score.data(), &expected.loss, expected.score_gradient.data(),
                         expected.query_gradient.data(), expected.model_gradient.data(), expected.bias_gradient.data());
  for (const Results<float>& found :
       {on_cpu(c), on_device(RouterVersion::Plain, c), on_device(RouterVersion::Tiled, c)}) {
    // Sums of up to 300 products of magnitude 1 in float32.
    EXPECT_NEAR(found.loss, expected.loss, 2e-6 * (1.0 + expected.loss));
    expect_near(found.score, expected.score, 4e-6, "score");
    expect_near(found.score_gradient, expected.score_gradient, 4e-6, "score gradient");
    expect_near(found.query_gradient, expected.query_gradient, 4e-6, "query gradient");
    expect_near(found.model_gradient, expected.model_gradient, 2e-5, "model gradient");
    expect_near(found.bias_gradient, expected.bias_gradient, 2e-5, "bias gradient");
    for (std::size_t i = 0; i < c.label.size(); ++i) {
      EXPECT_TRUE(!std::isnan(c.label[i]) || found.score_gradient[i] == 0.0F);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, RouterScore,
    testing::Values(Shape{1, 1, 4, Element::Float32, false}, Shape{3, 5, 20, Element::Float32, true},
                    Shape{32, 32, 32, Element::Float32, false}, Shape{37, 28, 100, Element::Float32, false},
                    Shape{37, 35, 68, Element::BFloat16, true}, Shape{70, 3, 24, Element::BFloat16, false},
                    Shape{300, 6, 36, Element::Float32, true}));

TEST(RouterScoreOnCpu, TakesAnyWidth) {
  for (const std::size_t width : {1, 7, 19}) {
    const Case c({9, 6, width, Element::Float32, true});
    Results<double> expected(c.shape);
    router_score_reference(c.input(), kScale, expected.score.data(), &expected.loss, expected.score_gradient.data(),
                           expected.query_gradient.data(), expected.model_gradient.data(),
                           expected.bias_gradient.data());
    const Results<float> found = on_cpu(c);
    expect_near(found.score, expected.score, 4e-6, "score");
    expect_near(found.query_gradient, expected.query_gradient, 4e-6, "query gradient");
    expect_near(found.model_gradient, expected.model_gradient, 4e-6, "model gradient");
  }
}

TEST(RouterScoreOnCpu, WeightGradientsAreAdded) {
  const Case c({9, 6, 16, Element::Float32, false});
  Results<float> results = on_cpu(c);
  const Results<float> once = results;
  router_model_gradient_on_cpu(c.input(), results.score_gradient.data(), kScale, results.model_gradient.data(),
                               results.bias_gradient.data());
  for (std::size_t i = 0; i < once.model_gradient.size(); ++i) {
    EXPECT_EQ(results.model_gradient[i], 2.0F * once.model_gradient[i]);
  }
  EXPECT_EQ(results.bias_gradient[2], 2.0F * once.bias_gradient[2]);
}

TEST(RouterFormula, IsExactToAFewUnitsInTheLastPlace) {
  for (int i = 0; i <= 200000; ++i) {
    const float x = -90.0F * static_cast<float>(i) / 200000.0F;
    const double expected = std::exp(std::max(static_cast<double>(x), -87.0));
    ASSERT_NEAR(router::exp_of_negative(x), expected, 2.5 * 0x1p-24 * expected) << x;
    const float t = std::exp(0.3F * x);
    ASSERT_NEAR(router::log1p_of_fraction(t), std::log1p(static_cast<double>(t)),
                4 * 0x1p-24 * std::log1p(static_cast<double>(t)))
        << t;
  }
}

TEST(RouterFormula, ExtremeScoresKeepTheirLossAndNaNStaysVisible) {
  EXPECT_NEAR(router::cross_entropy(1000.0F, 1.0F, 1.0F, 1.0F).loss, 0.0F, 1e-37);
  EXPECT_EQ(router::cross_entropy(1000.0F, 0.0F, 1.0F, 1.0F).loss, 1000.0F);
  EXPECT_EQ(router::cross_entropy(-1000.0F, 1.0F, 1.0F, 1.0F).loss, 1000.0F);
  EXPECT_EQ(router::cross_entropy(-1000.0F, 1.0F, 1.0F, 1.0F).gradient, -1.0F);
  EXPECT_TRUE(std::isnan(router::cross_entropy(kNan, 1.0F, 1.0F, 1.0F).loss));
  EXPECT_TRUE(std::isnan(router::cross_entropy(kNan, 0.0F, 1.0F, 1.0F).gradient));
  EXPECT_EQ(router::cross_entropy(3.0F, kNan, 1.0F, 1.0F).loss, 0.0F);
}

}  // namespace
}  // namespace motley::kernels
