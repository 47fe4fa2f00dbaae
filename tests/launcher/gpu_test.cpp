// The program on GPUs, as far as fakes of CUDA and NCCL go: under mpirun, with the libraries that it would load.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "motley/record/json_lines.h"
#include "program.h"

namespace motley {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kConfig = R"(
run_directory = "{}"
workload = "router"
[workload_options]
data = "synthetic"
width = 32
blocks = 4
hidden = 32
[train]
steps = 4
global_batch = 64
[profile]
micro_batch_sizes = [16]
repeats = 3
[comm]
deadline_s = 5.0
[devices]
ranks = 2
)";

class Gpus : public testing::Test {
 protected:
  Gpus() {
    write_text(config_, fmt::format(fmt::runtime(kConfig), (folder_ / "run").string()));
    plan("auto");
  }

  /// Layers 0 to 2 on rank 0, the others on rank 1.
  void plan(const std::string& transport, const std::string& wire = "float32") {
    nlohmann::json stages = nlohmann::json::array();
    for (const auto& [first, end, rank] : {std::tuple(0, 3, 0), {3, 6, 1}}) {
      stages.push_back({{"layers", {first, end}},
                        {"replicas", {{{"device", rank}, {"samples", {0, 16}}}}},
                        {"warm_up", 2 - rank},
                        {"recompute", false},
                        {"wire", wire},
                        {"transport", transport}});
    }
    const nlohmann::json plan = {{"motley", "plan"},       {"version", 1},       {"planner", "by hand"},
                                 {"micro_batch_size", 16}, {"micro_batches", 4}, {"schedule", "1f1b"},
                                 {"stages", stages},       {"emulated", false}};
    write_text(folder_ / "plan.json", plan.dump());
  }

  /// `motley ARGUMENTS` on two ranks whose GPUs do what `script` says.
  static Outcome on_gpus(const std::string& script, const std::string& arguments, const std::string& environment = "") {
    return motley_on_ranks(
        2, arguments,
        fmt::format("MOTLEY_CUDA_LIBRARY='{0}' MOTLEY_NCCL_LIBRARY='{0}' MOTLEY_FAKE_SCRIPT='{1}' {2}", MOTLEY_FAKE_GPU,
                    script, environment));
  }

  /// So that the plan runs without GPUs too.
  static void leave_transport_open(const std::string& plan) {
    nlohmann::json open = nlohmann::json::parse(text_of(plan));
    for (nlohmann::json& stage : open["stages"]) stage["transport"] = "auto";
    write_text(plan, open.dump());
  }

  [[nodiscard]] std::string train(const std::string& more = "--device cuda") const {
    return fmt::format("train {} --plan {} --no-evaluation {}", config_.string(), (folder_ / "plan.json").string(),
                       more);
  }

  [[nodiscard]] std::vector<double> losses() const {
    std::vector<double> losses;
    for (const nlohmann::json& line : read_json_lines(folder_ / "run/record.jsonl")) {
      if (line.contains("loss")) losses.push_back(line.at("loss"));
    }
    return losses;
  }

  TemporaryFolder folder_;
  std::filesystem::path config_ = folder_ / "job.toml";
};

/// Lines that say something of the program's own.
long lines_of(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

TEST_F(Gpus, ProfileWithoutAGpuSaysSoInOneLine) {
  for (const std::string& environment :
       {fmt::format("MOTLEY_CUDA_LIBRARY='{}' MOTLEY_FAKE_SCRIPT='devices=0'", MOTLEY_FAKE_GPU),
        std::string("MOTLEY_CUDA_LIBRARY=/no/libcudart.so")}) {
    const Outcome outcome = motley_program(fmt::format("profile {} --device cuda", config_.string()), environment);
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_EQ(lines_of(outcome.err), 1) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("device cuda: no "), Not(HasSubstr("profile: wrote"))));
  }
}

TEST_F(Gpus, ProfilePlanAndTrainGiveTheLossesOfTheHost) {
  const std::string plan = (folder_ / "made.json").string();
  const std::string profile = (folder_ / "run/profile.json").string();
  Outcome outcome = on_gpus("devices=2", fmt::format("profile {} --device cuda", config_.string()));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(text_of(profile), HasSubstr("fake GPU (sm_90)"));
  outcome = motley_program(fmt::format("plan --profile {} --batch 64 --planner uniform --out {}", profile, plan));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  leave_transport_open(plan);
  const std::string words =
      fmt::format("train {} --plan {} --profile {} --no-evaluation --trace", config_.string(), plan, profile);
  outcome = on_gpus("devices=2", words + " --device cuda");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::vector<double> on_gpu = losses();
  outcome = on_gpus("devices=2", words + " --device cuda --set comm.gpu_transport=host");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::vector<double> by_host = losses();
  outcome = motley_on_ranks(2, fmt::format("train {} --plan {} --no-evaluation", config_.string(), plan));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  ASSERT_EQ(on_gpu.size(), 4U);
  EXPECT_EQ(on_gpu, losses());
  EXPECT_EQ(by_host, losses());

  outcome = on_gpus("devices=2;device1:capability=80", words + " --device cuda");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("was made for rank 1 on fake GPU (sm_90), which is on fake GPU (sm_80): profile "
                                     "and plan again"));
}

TEST_F(Gpus, TheFasterTransportIsMeasuredPlannedAndTaken) {
  const std::string plan = (folder_ / "made.json").string();
  const std::string profile = (folder_ / "run/profile.json").string();
  // An emulated link is the host's alone.
  const std::string slow_host = " --set devices.link_mbit=10000 --set devices.link_latency_ms=50";
  for (const auto& [script, settings, faster] :
       {std::tuple<std::string, std::string, std::string>{";nccl.delay=0.05", "", "tcp"}, {"", slow_host, "nccl"}}) {
    Outcome outcome = on_gpus("devices=2;nccl.buffers=5e6" + script,
                              fmt::format("profile {} --device cuda{}", config_.string(), settings));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const nlohmann::json cluster = nlohmann::json::parse(text_of(profile)).at("cluster");
    ASSERT_EQ(cluster.at("transports").size(), 4U);
    // An edge each way to the one neighbour there is, and the group of both.
    EXPECT_EQ(cluster.at("devices")[1].at("library_bytes"), 15'000'000);
    outcome = motley_program("show " + profile);
    EXPECT_THAT(outcome.out, AllOf(HasSubstr(" MB beside 15 MB of CUDA's libraries\n"),
                                   HasSubstr("rank0    to rank1    " + faster), HasSubstr(", the link\n")));
    outcome = motley_program(fmt::format("plan --profile {} --batch 64 --planner uniform --out {}", profile, plan));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(nlohmann::json::parse(text_of(plan)).at("stages")[0].at("transport"), faster);
    // Where the plan leaves it open, the profile decides: a failure of NCCL's says whether it took part.
    leave_transport_open(plan);
    outcome = on_gpus("devices=2;rank1:nccl.async@3=6",
                      fmt::format("train {} --plan {} --profile {} --no-evaluation --device cuda{}", config_.string(),
                                  plan, profile, settings));
    EXPECT_EQ(outcome.exit_code, faster == "nccl" ? 1 : 0) << outcome.err;
  }
}

TEST_F(Gpus, RanksThatShareAGpuTrainByWayOfTheHostAndNotOverNccl) {
  Outcome outcome = on_gpus("devices=1", train());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  outcome = on_gpus("devices=1", train("--device cuda --set comm.gpu_transport=nccl"));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("transport nccl between rank 0 and rank 1: rank 0 and rank 1 have the same GPU, "
                                     "fa000000000000000000000000000000"));
  plan("nccl");
  outcome = on_gpus("devices=1", train());
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err,
              HasSubstr("plan.json: stages[0]: transport nccl between rank 0 and rank 1: rank 0 and rank"));
}

TEST_F(Gpus, APlanMayNameTheTransportOfAnEdge) {
  plan("nccl");
  Outcome outcome = on_gpus("devices=2", train());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  outcome = motley_on_ranks(2, train(""));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("stages[0]: transport nccl between rank 0 and rank 1: rank 0 on "));
  plan("mpi");
  outcome = on_gpus("devices=2", train("--device cuda --set comm.transport=mpi"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  outcome = on_gpus("devices=2", train());
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("stages[0].transport: found \"mpi\", expected \"nccl\" or \"tcp\""));
  plan("pigeon");
  outcome = motley_on_ranks(2, train(""));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("stages[0].transport: found \"pigeon\", expected one of auto, nccl, tcp, mpi"));
}

TEST_F(Gpus, WireFormatsRunByKernelsAndInt8NeedsThem) {
  for (const std::string wire : {"bfloat16", "int8"}) {
    plan("auto", wire);
    Outcome outcome = on_gpus("devices=2", train());
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const std::vector<double> on_gpu = losses();
    outcome = motley_on_ranks(2, train(""));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(on_gpu, losses()) << wire;
  }
  // A library of kernels from another build is as none.
  Outcome outcome = on_gpus("devices=2;rank1:kernel_interface=0", train());
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("plan.json: stages[0].wire: found \"int8\", expected \"float32\" or "
                                           "\"bfloat16\": rank 1 on "),
                                 HasSubstr("has interface 0, expected")));
  plan("auto", "bfloat16");
  outcome = on_gpus("devices=2;kernel_interface=0", train());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr(", LibTorch's operators alone (no kernels for GPUs: "));
  // A profile made without them says so, and no plan made from it uses int8.
  outcome = on_gpus("devices=2;kernel_interface=0", fmt::format("profile {} --device cuda", config_.string()));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::string planning =
      fmt::format("plan --profile {} --batch 64 --planner uniform --allow ", (folder_ / "run/profile.json").string());
  EXPECT_EQ(motley_program(planning + "bfloat16").exit_code, 0);
  outcome = motley_program(planning + "int8");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("allow: found \"int8\", expected wire formats that every device has: rank0, of "
                                     "type fake GPU (sm_90), lacks it"));
}

TEST_F(Gpus, HostsWithAndWithoutGpusTrainTogether) {
  const Outcome outcome = on_gpus("rank0:devices=1;rank1:devices=0", train("--device auto"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr(": fake GPU (sm_90), CUDA 13.0, driver for 13.0, NCCL 2.28.9\n"),
                                 HasSubstr(": cpu (no GPU: ")));
}

TEST_F(Gpus, AnIncompatibleRankIsNamed) {
  Outcome outcome = on_gpus("devices=2;rank1:capability=61", train());
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("rank 1 on "), HasSubstr("fake GPU (sm_61): expected a GPU of compute "
                                                                    "capability 7.5 or later")));
  outcome = on_gpus("devices=2;rank1:nccl_version=22703", train("--device cuda --set comm.gpu_transport=nccl"));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("has NCCL 2.27.3"), HasSubstr("has 2.28.9")));
  outcome = on_gpus("devices=2;rank1:driver=12040", train());
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr("rank 1 on "), HasSubstr("its driver knows CUDA 12.4, expected 13.0 or later, "
                                                       "as the CUDA runtime is 13.0")));
}

TEST_F(Gpus, VersionsThatDifferAreToldAndTrainTogether) {
  Outcome outcome = on_gpus("devices=2;rank1:nccl_version=22703", train());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr(" has NCCL 2.27.3, rank 0 on "),
                                 HasSubstr(" has 2.28.9: what is between them goes by way of the host")));
  outcome = on_gpus("devices=2;rank0:runtime=12080;rank0:driver=12080", train());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr("rank 1 on "), HasSubstr(" has CUDA 13.0, rank 0 on "), HasSubstr(" has 12.8: ")));
  outcome = on_gpus("devices=2;rank1:driver=13010", train());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, Not(HasSubstr("losses may depend")));
}

TEST_F(Gpus, RanksTakeTheDevicesThatCudaVisibleDevicesShows) {
  const std::string nccl = train("--device cuda --set comm.gpu_transport=nccl");
  Outcome outcome = on_gpus("devices=8", nccl, "CUDA_VISIBLE_DEVICES=5,3");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  outcome = on_gpus("devices=8", nccl, "CUDA_VISIBLE_DEVICES=3");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("have the same GPU, fa000000000000000000000000000003"));
  outcome = on_gpus("devices=8", train(), "CUDA_VISIBLE_DEVICES=");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("CUDA_VISIBLE_DEVICES may hide them"));
}

TEST_F(Gpus, EightGpusOfOneHostHaveARankEach) {
  nlohmann::json plan = {{"motley", "plan"},   {"version", 1},       {"planner", "by hand"}, {"micro_batch_size", 16},
                         {"micro_batches", 4}, {"schedule", "1f1b"}, {"emulated", false}};
  for (int rank = 0; rank < 8; ++rank) {
    plan["stages"].push_back({{"layers", {rank, rank + 1}},
                              {"replicas", {{{"device", rank}, {"samples", {0, 16}}}}},
                              {"warm_up", 8 - rank},
                              {"recompute", false},
                              {"wire", "float32"},
                              {"transport", "nccl"}});
  }
  write_text(folder_ / "plan.json", plan.dump());
  const std::string words =
      train("--set devices.ranks=8 --set workload_options.blocks=6 --set comm.deadline_s=30 --steps 2");
  Outcome outcome =
      motley_on_ranks(8, words + " --device cuda",
                      fmt::format("MOTLEY_CUDA_LIBRARY='{0}' MOTLEY_NCCL_LIBRARY='{0}' MOTLEY_FAKE_SCRIPT='devices=8'",
                                  MOTLEY_FAKE_GPU));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::vector<double> trained = losses();
  leave_transport_open((folder_ / "plan.json").string());
  outcome = motley_on_ranks(8, words);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(trained, losses());
}

TEST_F(Gpus, FailuresEndTheRunOnEveryRankInOneLine) {
  for (const auto& [script, said] :
       {std::pair<std::string, std::string>("rank1:nccl.async@4=6", "rank 1 ended the run: NCCL, edge from rank "),
        {"rank1:memory=2", "out of memory on cuda:1: asked for 4 bytes"},
        {"rank1:sticky@60=700", "an illegal memory access was encountered (CUDA error 700)"},
        {"rank1:nccl.init_hang", "connecting took more than 5.0 s"},
        {"rank0:nccl.lose@5", "waited 5.0 s for 1RECV_F"}}) {
    const Outcome outcome = on_gpus("devices=2;" + script, train());
    EXPECT_EQ(outcome.exit_code, 1) << script;
    EXPECT_THAT(outcome.err, HasSubstr(said)) << script;
  }
}

TEST_F(Gpus, MixedPrecisionTrainsUnderEveryPlanToTheSameLosses) {
  Outcome outcome = motley_on_ranks(2, train("--set train.precision=bfloat16"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::vector<double> on_host = losses();
  outcome = on_gpus("devices=2", train("--device cuda --set train.precision=bfloat16"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(on_host, losses());
  outcome = motley_on_ranks(2, train(""));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::vector<double> full = losses();
  ASSERT_EQ(full.size(), on_host.size());
  for (std::size_t i = 0; i < full.size(); ++i) {
    EXPECT_NE(full[i], on_host[i]);
    EXPECT_NEAR(full[i], on_host[i], 0.02 * full[i]);
  }
}

}  // namespace
}  // namespace motley
