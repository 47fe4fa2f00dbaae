#include "motley/plan/files.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"

namespace motley {
namespace {

using nlohmann::json;
using testing::HasSubstr;

Profile small_profile() {
  Profile profile;
  profile.model.name = "tiny";
  profile.model.micro_batch_sizes = {1, 2};
  for (int layer = 0; layer < 2; ++layer) {
    LayerProfile l;
    l.name = "layer" + std::to_string(layer);
    l.parameters = Bytes{100};
    l.optimizer_state = Bytes{200};
    if (layer == 0) {
      l.output = {{"hidden", {8}, DType::Float32, true}, {"mask", {8}, DType::Bool, false}};
    }
    l.memory = {{Bytes{10}, Bytes{2}, Bytes{13}, Bytes{14}, Bytes{15}, Bytes{16}},
                {Bytes{20}, Bytes{4}, Bytes{26}, Bytes{28}, Bytes{30}, Bytes{32}}};
    profile.model.layers.push_back(l);
  }
  DeviceTimes times;
  const LayerTimes t{Seconds{0.1}, Seconds{0.12}, Seconds{0.08}, Seconds{0.2}, 0.05};
  times.by_size = {{t, t}, {t, t}};
  times.update = {Seconds{0.01}, Seconds{0.01}};
  profile.model.devices["cpu"] = {times, times};
  profile.cluster.devices = {{"rank0", "a", "cpu", Bytes{1000}, 0.5}, {"rank1", "b", "cpu", Bytes{2000}, 0.0}};
  const TransferCurve link(Seconds{0.001}, BytesPerSecond{1e6});
  profile.cluster.links = {{TransferCurve(), link}, {link, TransferCurve()}};
  profile.cluster.all_reduce = {{{0, 1}, TransferCurve(Seconds{0.002}, BytesPerSecond{1e6})}};
  profile.cluster.emulated = true;
  return profile;
}

std::string complaint(const std::function<void(json&)>& change) {
  json file = to_json(small_profile());
  change(file);
  try {
    (void)profile_from_json(file, "profile.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(ProfileFile, ReadsBackTransportsAndWhatLibrariesHold) {
  Profile profile = small_profile();
  profile.cluster.transports = {{0, 1, "nccl", TransferCurve(Seconds{0.5}, BytesPerSecond{1e6})}};
  profile.cluster.devices[1].libraries = Bytes{77};
  const Profile back = profile_from_json(to_json(profile), "profile.json");
  ASSERT_EQ(back.cluster.transports.size(), 1U);
  EXPECT_EQ(back.cluster.transports[0].transport, "nccl");
  EXPECT_EQ(back.cluster.transports[0].to, 1);
  EXPECT_EQ(back.cluster.transports[0].time.time(Bytes{1000}), profile.cluster.transports[0].time.time(Bytes{1000}));
  EXPECT_EQ(back.cluster.devices[1].libraries, Bytes{77});
  EXPECT_NE(fingerprint(profile), fingerprint(small_profile()));
  const auto with = [&](const json& changes) {
    return complaint([&](json& file) {
      file["cluster"]["transports"] = to_json(profile)["cluster"]["transports"];
      file["cluster"]["transports"][0].update(changes);
    });
  };
  EXPECT_THAT(with({{"transport", "auto"}}),
              HasSubstr("cluster.transports[0].transport: found \"auto\", expected one of nccl, tcp, mpi"));
  EXPECT_THAT(with({{"to", 2}}), HasSubstr("cluster.transports[0]: found devices 0 and 2, expected two of 0 to 1"));
  EXPECT_THAT(with({{"time", json::array()}}), HasSubstr("cluster.transports[0].time: no measurement"));
}

TEST(ProfileFile, ReadsBackWhatItWrote) {
  Profile profile = small_profile();
  const json first = to_json(profile);
  EXPECT_EQ(to_json(profile_from_json(first, "x")), first);
  profile.cluster.hosts = {{"b", "west", BytesPerSecond{1e9}, BytesPerSecond{2e9}}, {"a", "", {}, {}}};
  const TransferCurve codec(Seconds{0.0}, BytesPerSecond{3e9});
  profile.model.devices["cpu"].codecs["int8"] = {codec, codec};
  profile.model.devices["cpu"].lacks = {"bfloat16"};
  profile.model.devices["cpu"].burst = {Seconds{0.015}, 4.5};
  const json second = to_json(profile);
  EXPECT_EQ(to_json(profile_from_json(second, "x")), second);
  EXPECT_EQ(second["model"]["devices"]["cpu"]["burst"], json({{"credit_s", 0.015}, {"speed_up", 4.5}}));
  EXPECT_NE(second, first);
}

TEST(ProfileFile, WithoutHostsAndCodecsIsWrittenAsBeforeTheyExisted) {
  // Plans carry a fingerprint of the profile's JSON.
  const json file = to_json(small_profile());
  EXPECT_FALSE(file["cluster"].contains("hosts"));
  EXPECT_FALSE(file["model"]["devices"]["cpu"].contains("codecs"));
  EXPECT_FALSE(file["model"]["devices"]["cpu"].contains("lacks"));
  EXPECT_FALSE(file["model"]["devices"]["cpu"].contains("burst"));
  EXPECT_EQ(fingerprint(small_profile()), fingerprint(profile_from_json(file, "x")));
}

TEST(ProfileFile, NamesFileFieldFoundAndExpected) {
  EXPECT_THAT(complaint([](json& f) { f["version"] = 9; }), HasSubstr("profile.json: version: found 9, expected 1"));
  EXPECT_THAT(complaint([](json& f) { f["motley"] = "plan"; }), HasSubstr("found \"plan\", expected \"profile\""));
  EXPECT_THAT(complaint([](json& f) { f["model"].erase("name"); }), HasSubstr("field \"name\" is missing"));
  EXPECT_THAT(complaint([](json& f) { f["model"]["nmae"] = 1; }), HasSubstr("unknown field \"nmae\""));
  EXPECT_THAT(complaint([](json& f) { f["model"]["layers"][1]["parameter_bytes"] = -1; }),
              HasSubstr("model.layers[1].parameter_bytes: found -1"));
  EXPECT_THAT(complaint([](json& f) { f["model"]["devices"]["cpu"]["busy"]["by_size"][0][0]["forward_s"] = -0.1; }),
              HasSubstr("forward_s: found -0.1, expected seconds"));
  EXPECT_THAT(complaint([](json& f) { f["model"]["devices"]["cpu"]["busy"]["by_size"][1][1]["forward_s"] = 0.0; }),
              HasSubstr("model.devices.cpu.busy: layer layer1: forward: found 0 s, expected more"));
  EXPECT_THAT(complaint([](json& f) { f["model"]["devices"]["cpu"]["busy"]["by_size"][0][0]["backward_s"] = 1e300; }),
              HasSubstr("backward_s: found 1e+300, expected at most 1e+09 s"));
  EXPECT_THAT(complaint([](json& f) { f["model"]["base_bytes"] = std::int64_t{1} << 62; }),
              HasSubstr("model.base_bytes: found more than 70368744177664 bytes"));
  EXPECT_THAT(complaint([](json& f) { f["model"]["devices"]["cpu"]["busy"]["update_s"][0] = nullptr; }),
              HasSubstr("update_s[0]: found null"));
  EXPECT_THAT(complaint([](json& f) { f["model"]["layers"] = json::array(); }), HasSubstr("model.layers: found none"));
  EXPECT_THAT(complaint([](json& f) { f["cluster"]["devices"][1]["name"] = "rank0"; }),
              HasSubstr("stands there twice"));
  EXPECT_THAT(complaint([](json& f) { f["cluster"]["devices"][1]["type"] = "gpu"; }), HasSubstr("type \"gpu\""));
  EXPECT_THAT(complaint([](json& f) { f["cluster"]["links"].erase(1); }),
              HasSubstr("cluster.links: found 1 rows, expected 2"));
  EXPECT_THAT(complaint([](json& f) { f["cluster"]["links"][0][1] = json::array(); }), HasSubstr("no measurement"));
  EXPECT_THAT(complaint([](json& f) {
                f["cluster"]["all_reduce"][0]["devices"] = {0, 2};
              }),
              HasSubstr("cluster.all_reduce[0].devices[1]: found 2, expected ascending devices from 0 to 1"));
  EXPECT_THAT(complaint([](json& f) { f["cluster"]["all_reduce"][0]["devices"] = {1}; }),
              HasSubstr("cluster.all_reduce[0]: found 1 devices"));
  EXPECT_THAT(complaint([](json& f) { f["cluster"]["all_reduce"][0]["time"][0] = {1}; }),
              HasSubstr("cluster.all_reduce[0].time[0]"));
  const auto host = [](const json& value) {
    return complaint([&](json& f) { f["cluster"]["hosts"] = json::array({value}); });
  };
  EXPECT_EQ(host({{"name", "a"}, {"zone", "west"}, {"send_bytes_per_s", 1e9}}), "");
  EXPECT_THAT(host({{"name", "c"}}), HasSubstr("cluster.hosts[0]: no device is on \"c\""));
  EXPECT_THAT(host({{"name", "a"}, {"receive_bytes_per_s", -1.0}}), HasSubstr("cluster.hosts[0]: found -1 bytes/s"));
  EXPECT_THAT(host({{"name", "a"}, {"nic", 1e9}}), HasSubstr("unknown field \"nic\""));
  EXPECT_THAT(complaint([](json& f) { f["cluster"]["devices"][0]["usd_per_hour"] = -2.0; }),
              HasSubstr("rank0: usd_per_hour is -2"));
  EXPECT_THAT(
      complaint([](json& f) {
        f["model"]["devices"]["cpu"]["codecs"] = {{"int4", {{"encode", json::array()}, {"decode", json::array()}}}};
      }),
      HasSubstr("cpu.codecs: found \"int4\""));
  EXPECT_THAT(
      complaint([](json& f) {
        f["model"]["devices"]["cpu"]["codecs"] = {{"int8", {{"encode", json::array()}, {"decode", json::array()}}}};
      }),
      HasSubstr("cpu.codecs.int8: no measurement"));
  EXPECT_THAT(complaint([](json& f) { f["model"]["devices"]["cpu"]["lacks"] = {"int"}; }),
              HasSubstr("cpu.lacks: found \"int\", expected one of float32, bfloat16, int8; did you mean \"int8\"?"));
  EXPECT_THAT(complaint([](json& f) { f["model"]["devices"]["cpu"]["lacks"] = {"float32"}; }),
              HasSubstr("cpu.lacks: found \"float32\", expected formats without codec other than float32"));
  const auto burst = [](const json& value) {
    return complaint([&](json& f) { f["model"]["devices"]["cpu"]["burst"] = value; });
  };
  EXPECT_EQ(burst({{"credit_s", 0.0}, {"speed_up", 1.0}}), "");
  EXPECT_THAT(burst({{"credit_s", -0.1}, {"speed_up", 2.0}}), HasSubstr("cpu.burst.credit_s: found -0.1, expected"));
  EXPECT_THAT(burst({{"credit_s", 0.1}, {"speed_up", 0.9}}),
              HasSubstr("cpu.burst.speed_up: found 0.9, expected at least 1"));
  EXPECT_THAT(burst({{"credit_s", 0.1}}), HasSubstr("burst: field \"speed_up\" is missing"));
}

TEST(ProfileFile, TruncatedOrMissingFileIsAnInputError) {
  const std::string text = to_json(small_profile()).dump();
  const std::filesystem::path file = std::filesystem::path(testing::TempDir()) / "motley-cut.json";
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, text.size() / 2, text.size() - 1}) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << text.substr(0, length);
    EXPECT_THROW((void)read_profile(file), InputError) << length;
  }
  std::filesystem::remove(file);
  EXPECT_THROW((void)read_profile(file), InputError);
}

TEST(PlanFile, ReadsBackWhatItWroteAndAHandWrittenOneNeedsLittle) {
  const json by_hand = json::parse(R"({"motley": "plan", "version": 1, "micro_batch_size": 2, "micro_batches": 4,
    "stages": [{"layers": [0, 3], "replicas": [{"device": 1}]}, {"layers": [3, 4], "replicas": [{"device": 0}]}]})");
  const Plan plan = plan_from_json(by_hand, "plan.json");
  EXPECT_EQ(plan.stages[0].replicas[0].sample_end, 2);
  EXPECT_FALSE(plan.prediction.has_value());
  EXPECT_EQ(to_json(plan_from_json(to_json(plan), "again")), to_json(plan));
  EXPECT_FALSE(to_json(plan).contains("actions"));
}

TEST(PlanFile, KeepsAPredictionAndRefusesOneForOtherStages) {
  Plan plan;
  plan.micro_batch_size = 4;
  plan.micro_batches = 1;
  plan.stages = {{0, 1, {{0, 0, 4}}, 2, false, "float32"}, {1, 2, {{1, 0, 4}}, 1, false, "float32"}};
  Prediction& prediction = plan.prediction.emplace();
  prediction.iteration = prediction.expected = Seconds{2.0};
  prediction.stage_busy = {Seconds{1.0}, Seconds{1.5}};
  prediction.edge_time = {Seconds{0.1}};
  prediction.stage_memory = {Bytes{100}, Bytes{200}};
  EXPECT_FALSE(to_json(plan).at("prediction").contains("expected_busy_s"));
  Plan again = plan_from_json(to_json(plan), "again");
  EXPECT_EQ(again.prediction->expected_busy_of(1), Seconds{1.5});

  prediction.expected = Seconds{1.8};
  prediction.expected_busy = {Seconds{0.9}, Seconds{1.2}};
  again = plan_from_json(to_json(plan), "again");
  EXPECT_EQ(to_json(again), to_json(plan));
  EXPECT_EQ(again.prediction->expected_busy_of(1), Seconds{1.2});

  for (const char* const field : {"stage_busy_s", "expected_busy_s", "edge_time_s", "stage_memory_bytes"}) {
    SCOPED_TRACE(field);
    json more = to_json(plan);
    json& numbers = more["prediction"][field];
    numbers.push_back(numbers.back());
    try {
      (void)plan_from_json(more, "plan.json");
      FAIL();
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(fmt::format("plan.json: prediction.{}: found {} numbers, expected {}", field,
                                                      numbers.size(), numbers.size() - 1)));
    }
  }
}

TEST(PlanFile, KeepsWhatAListedPlanDoes) {
  Plan plan;
  plan.micro_batch_size = 4;
  plan.micro_batches = 1;
  plan.schedule = "listed";
  plan.stages = {{0, 1, {{0, 0, 4}}, 0, true, "int8"},
                 {1, 2, {{1, 0, 4}}, 0, false, "float32"},
                 {2, 3, {{0, 0, 4}}, 0, false, "float32"}};
  plan.actions = {"0F0,2F0,2B0,0B0", "1F0,1B0"};
  const Plan again = plan_from_json(to_json(plan), "again");
  EXPECT_EQ(again.stages, plan.stages);
  EXPECT_EQ(again.actions, plan.actions);
  EXPECT_EQ(again.schedule, "listed");
}

TEST(Fingerprints, ModelIgnoresTimesAndProfileDoesNot) {
  const Profile one = small_profile();
  Profile other = small_profile();
  other.model.devices["cpu"].busy.update[0] = Seconds{0.5};
  EXPECT_EQ(model_fingerprint(one.model), model_fingerprint(other.model));
  EXPECT_NE(fingerprint(one), fingerprint(other));
  other.model.layers[0].parameters = Bytes{101};
  EXPECT_NE(model_fingerprint(one.model), model_fingerprint(other.model));
}

}  // namespace
}  // namespace motley
