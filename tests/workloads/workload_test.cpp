#include "motley/workloads/workload.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "motley/base/error.h"

namespace motley {
namespace {

Workload make(const std::string& name, const std::string& keys) {
  return builtin_workloads().make({.name = name, .options = workload_options(keys), .folder = MOTLEY_SOURCE_DIR});
}

template <typename Call>
std::string input_error(Call&& call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no InputError";
}

TEST(Workload, RefusesAnUnknownKeyAndNamesTheNearest) {
  EXPECT_THAT(input_error([] { (void)make("transformer", "hedas = 2"); }),
              testing::AllOf(testing::HasSubstr("hedas"), testing::HasSubstr("heads")));
}

TEST(Workload, RefusesAnUnknownNameAndListsThoseThereAre) {
  EXPECT_THAT(input_error([] { (void)make("ruoter", ""); }),
              testing::AllOf(testing::HasSubstr("ruoter"), testing::HasSubstr("router, transformer")));
}

TEST(Workload, NamesTheLayerWhoseInputDoesNotFit) {
  const Workload wide = make("router", "data = \"synthetic\"\nwidth = 16\nblocks = 1");
  Workload mixed = make("router", "data = \"synthetic\"\nwidth = 8\nblocks = 1");
  mixed.layers[1] = wide.layers[1];
  EXPECT_THAT(input_error([&] { (void)boundaries_of(mixed); }),
              testing::AllOf(testing::HasSubstr("layer block0"), testing::HasSubstr("hidden float32[8]"),
                             testing::HasSubstr("hidden float32[16]")));
}

TEST(Workload, NamesTheLayerThatEndsTheChainTooEarly) {
  Workload router = make("router", "data = \"synthetic\"\nwidth = 8\nblocks = 1");
  router.layers.pop_back();
  EXPECT_THAT(input_error([&] { (void)boundaries_of(router); }), testing::HasSubstr("block0 (2 of 2)"));
}

TEST(RouterData, ReadsMmluPro) {
  const Workload router = make("router", "width = 8\nblocks = 1");
  EXPECT_EQ(router.data->size(Split::Train), 8405);
  EXPECT_EQ(router.data->size(Split::Validation), 1202);
  EXPECT_EQ(router.data->size(Split::Test), 1203);
  std::vector<std::int64_t> all(8405);
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<std::int64_t>(i);
  }
  const std::vector<std::string> names{"embedding", "correct", "length"};
  const Fields fields = router.data->fetch(names, Split::Train, all);
  EXPECT_EQ(fields.at("embedding").sizes(), (std::vector<std::int64_t>{8405, 384}));
  EXPECT_EQ(fields.at("correct").sizes(), (std::vector<std::int64_t>{8405, 28}));
  EXPECT_NEAR(fields.at("embedding")[17].to(at::kFloat).norm().item<double>(), 1.0, 1e-3);
  EXPECT_LT(fields.at("length").mean(0).abs().max().item<double>(), 1e-4);
  EXPECT_LE(fields.at("length").std(0).max().item<double>(), 1.001);
}

TEST(TransformerData, TargetsAreTheNextTokens) {
  const Workload model = make("transformer", "sequence = 12\nvocabulary = 50");
  const std::vector<std::string> names{"tokens", "targets"};
  const std::vector<std::int64_t> samples{3, 0};
  const Fields fields = model.data->fetch(names, Split::Train, samples);
  EXPECT_TRUE(at::equal(fields.at("tokens").slice(1, 1), fields.at("targets").slice(1, 0, 11)));
  EXPECT_FALSE(at::equal(fields.at("tokens")[0], fields.at("tokens")[1]));
}

}  // namespace
}  // namespace motley
