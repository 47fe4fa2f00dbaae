#include "motley/launcher/gpus.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "motley/base/error.h"
#include "motley/base/host_name.h"
#include "motley/base/log.h"
#include "motley/comm/gather.h"
#include "motley/device/device_kernels.h"
#include "motley/plan/transports.h"

namespace motley {
namespace {

constexpr int kOldestCapability = 75;  // kernels/CMakeLists.txt

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string text_of(const RankFacts& facts) {
  return nlohmann::json{{"host", facts.host},
                        {"motley", facts.motley},
                        {"device", facts.device},
                        {"gpu", facts.gpu},
                        {"capability", facts.capability},
                        {"driver", facts.driver},
                        {"runtime", facts.runtime},
                        {"nccl", facts.nccl},
                        {"no_cuda", facts.no_cuda},
                        {"no_nccl", facts.no_nccl},
                        {"no_kernels", facts.no_kernels}}
      .dump();
}

RankFacts facts_from(int rank, const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text);
  return {rank,
          json.at("host"),
          json.at("motley"),
          json.at("device"),
          json.at("gpu"),
          json.at("capability"),
          json.at("driver"),
          json.at("runtime"),
          json.at("nccl"),
          json.at("no_cuda"),
          json.at("no_nccl"),
          json.at("no_kernels")};
}

std::string who(const RankFacts& facts) {
  return fmt::format("rank {} on {}", facts.rank, facts.host);
}

std::string cuda_version(int number) {
  return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
}

}  // namespace

GpuSupport find_gpus(const Config& config) {
  GpuSupport support;
  if (config.devices.device == "cpu") {
    return support;
  }
  try {
    CudaApi api = load_cuda(environment("MOTLEY_CUDA_LIBRARY"));
    support.devices = count_devices(api);
    if (!api.is_fake) {
      load_torch_cuda();
    }
    support.cuda = std::move(api);
  } catch (const Fault& fault) {
    if (config.devices.device == "cuda") {
      throw Fault::of("device cuda: {}", fault.what());
    }
    support.no_cuda = fault.what();
    return support;
  }
  try {
    support.nccl = load_nccl(environment("MOTLEY_NCCL_LIBRARY"));
  } catch (const Fault& fault) {
    support.no_nccl = fault.what();
  }
  try {
    const CudaApi& cuda = *support.cuda;
    support.kernels = load_device_kernels(cuda, cuda.is_fake ? cuda.library : environment("MOTLEY_KERNELS_LIBRARY"));
  } catch (const Fault& fault) {
    support.no_kernels = fault.what();
  }
  return support;
}

std::string in_words(const RankFacts& facts) {
  if (facts.gpu.empty()) {
    return fmt::format("{}: {}{}", who(facts), facts.device, facts.no_cuda.empty() ? "" : " (" + facts.no_cuda + ")");
  }
  return fmt::format("{}: {}, CUDA {}, driver for {}, {}{}", who(facts), facts.device, cuda_version(facts.runtime),
                     cuda_version(facts.driver),
                     facts.nccl != 0 ? "NCCL " + nccl_version_text(facts.nccl) : "without NCCL (" + facts.no_nccl + ")",
                     facts.no_kernels.empty() ? "" : ", LibTorch's operators alone (" + facts.no_kernels + ")");
}

void expect_compatible(const std::vector<RankFacts>& ranks) {
  for (const RankFacts& facts : ranks) {
    if (facts.motley != ranks.front().motley) {
      throw InputError::of("{}: runs Motley {}, expected {} as {}", who(facts), facts.motley, ranks.front().motley,
                           who(ranks.front()));
    }
    if (!facts.gpu.empty() && facts.capability < kOldestCapability) {
      throw InputError::of("{}: {}: expected a GPU of compute capability {}.{} or later", who(facts), facts.device,
                           kOldestCapability / 10, kOldestCapability % 10);
    }
    // Within a major version a runtime runs on older drivers.
    if (!facts.gpu.empty() && facts.driver / 1000 < facts.runtime / 1000) {
      throw InputError::of("{}: {}: its driver knows CUDA {}, expected {}.0 or later, as the CUDA runtime is {}",
                           who(facts), facts.device, cuda_version(facts.driver), facts.runtime / 1000,
                           cuda_version(facts.runtime));
    }
  }
}

std::vector<std::string> differences(const std::vector<RankFacts>& ranks) {
  std::vector<std::string> lines;
  const RankFacts* first = nullptr;
  for (const RankFacts& facts : ranks) {
    if (facts.gpu.empty()) continue;
    if (first == nullptr) first = &facts;
    if (facts.runtime != first->runtime) {
      lines.push_back(fmt::format("{} has CUDA {}, {} has {}: losses may depend on the plan", who(facts),
                                  cuda_version(facts.runtime), who(*first), cuda_version(first->runtime)));
    }
    if (facts.nccl != first->nccl && facts.nccl != 0 && first->nccl != 0) {
      lines.push_back(fmt::format("{} has NCCL {}, {} has {}: what is between them goes by way of the host", who(facts),
                                  nccl_version_text(facts.nccl), who(*first), nccl_version_text(first->nccl)));
    }
    if (facts.no_kernels.empty() != first->no_kernels.empty()) {
      const RankFacts& without = facts.no_kernels.empty() ? *first : facts;
      lines.push_back(fmt::format("{} has {}, unlike {}: losses may depend on the plan", who(without),
                                  without.no_kernels, who(facts.no_kernels.empty() ? facts : *first)));
    }
  }
  return lines;
}

std::string no_nccl_between(const RankFacts& a, const RankFacts& b) {
  for (const RankFacts* const facts : {&a, &b}) {
    if (facts->gpu.empty()) {
      return fmt::format("{} has no GPU", who(*facts));
    }
    if (facts->nccl == 0) {
      return fmt::format("{}: {}", who(*facts), facts->no_nccl);
    }
  }
  if (a.gpu == b.gpu) {
    return fmt::format("rank {} and rank {} have the same GPU, {} of {}", a.rank, b.rank, a.gpu, a.host);
  }
  if (a.nccl != b.nccl) {
    return fmt::format("{} has NCCL {}, {} has {}", who(b), nccl_version_text(b.nccl), who(a),
                       nccl_version_text(a.nccl));
  }
  return "";
}

std::string transport_of(const std::vector<RankFacts>& facts, const std::vector<int>& ranks,
                         const std::string& wanted) {
  if (wanted == "host") {
    return "host";
  }
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    for (std::size_t j = i + 1; j < ranks.size(); ++j) {
      const std::string reason =
          no_nccl_between(facts.at(static_cast<std::size_t>(ranks[i])), facts.at(static_cast<std::size_t>(ranks[j])));
      if (reason.empty()) {
        continue;
      }
      if (wanted == "nccl") {
        throw InputError::of("transport nccl between rank {} and rank {}: {}", ranks[i], ranks[j], reason);
      }
      return "host";
    }
  }
  return "nccl";
}

RankDevice::RankDevice(GpuSupport support, const Config& config, HostMemory memory, Communicator& communicator)
    : rank_(communicator.rank()), nccl_(std::move(support.nccl)), kernels_(std::move(support.kernels)) {
  RankFacts mine{.rank = rank_, .host = host_name(), .motley = MOTLEY_VERSION, .device = "cpu"};
  if (support.cuda) {
    cuda_ = std::make_unique<CudaDevice>(*support.cuda, communicator.local_rank() % support.devices);
    const CudaProperties& properties = cuda_->properties();
    mine.device = properties.text();
    mine.gpu = properties.uuid;
    mine.capability = properties.capability;
    mine.driver = properties.driver_version;
    mine.runtime = properties.runtime_version;
    mine.nccl = nccl_ ? nccl_->version : 0;
    mine.no_nccl = support.no_nccl;
    mine.no_kernels = support.no_kernels;
    device_ = cuda_device(*cuda_, {.cap = Bytes{config.devices.memory_mb * 1'000'000},
                                   .memory = memory,
                                   .kernels = kernels_ ? &*kernels_ : nullptr,
                                   .deterministic = config.train.deterministic});
  } else {
    mine.no_cuda = support.no_cuda;
    device_ = host_device(memory);
  }
  const std::vector<std::string> texts = gather(communicator, text_of(mine), "devices");
  for (int rank = 0; rank < communicator.size(); ++rank) {
    facts_.push_back(facts_from(rank, texts[static_cast<std::size_t>(rank)]));
  }
  expect_compatible(facts_);
  if (rank_ == 0 && config.devices.device != "cpu") {
    for (const RankFacts& facts : facts_) {
      spdlog::info("{}", in_words(facts));
    }
    for (const std::string& line : differences(facts_)) {
      spdlog::warn("{}", line);
    }
  }
}

Bytes RankDevice::memory(const Config& config) const {
  const Bytes wanted{config.devices.memory_mb * 1'000'000};
  return cuda_ ? std::min(wanted, cuda_->properties().memory) : wanted;
}

LinkOptions RankDevice::links(const Config& config) const {
  LinkOptions options;
  options.nccl = nccl_ ? &*nccl_ : nullptr;
  options.host_transport = config.comm.transport;
  options.edge_ways = [facts = facts_, wanted = config.comm.gpu_transport](int a, int b) {
    const std::string way = transport_of(facts, {a, b}, wanted);
    return wanted == "auto" && way == "nccl" ? std::vector<std::string>{"host", "nccl"} : std::vector{way};
  };
  options.group_way = [facts = facts_, wanted = config.comm.gpu_transport](const std::vector<int>& ranks) {
    return transport_of(facts, ranks, wanted);
  };
  return options;
}

void RankDevice::equip(ExecutorOptions& options, const Plan& plan, const Config& config, const Profile* profile,
                       const std::string& source) const {
  options.device = device_.get();
  options.nccl = nccl_ ? &*nccl_ : nullptr;
  for_each_edge_end(plan, [&](int stage, int end) {
    const RankFacts& facts = facts_.at(static_cast<std::size_t>(end));
    if (plan.stages[static_cast<std::size_t>(stage)].wire == "int8" && !facts.no_kernels.empty()) {
      throw InputError::of(
          "{}: stages[{}].wire: found \"int8\", expected \"float32\" or \"bfloat16\": {} has a GPU and {}", source,
          stage, who(facts), facts.no_kernels);
    }
  });
  // Between two ranks there is one edge each way, whatever stages it serves.
  std::map<std::pair<int, int>, std::string> planned;
  for (int s = 0; s + 1 < plan.stage_count(); ++s) {
    const StagePlan& below = plan.stages[static_cast<std::size_t>(s)];
    if (below.transport == "auto") {
      continue;
    }
    for (const Replica& from : below.replicas) {
      for (const Replica& to : plan.stages[static_cast<std::size_t>(s) + 1].replicas) {
        if (from.device == to.device) {
          continue;
        }
        const std::string wanted = below.transport == "nccl" ? "nccl" : "host";
        if (wanted == "host" && below.transport != config.comm.transport) {
          throw InputError::of("{}: stages[{}].transport: found \"{}\", expected \"nccl\" or \"{}\" as {} says", source,
                               s, below.transport, config.comm.transport, config.source);
        }
        try {
          (void)transport_of(facts_, {from.device, to.device}, wanted);
        } catch (const InputError& error) {
          throw InputError::of("{}: stages[{}]: {}", source, s, error.what());
        }
        const std::pair<int, int> key{std::min(from.device, to.device), std::max(from.device, to.device)};
        const auto [known, fresh] = planned.emplace(key, wanted);
        if (!fresh && known->second != wanted) {
          throw InputError::of(
              "{}: stages[{}].transport: found \"{}\", expected that of the other stages that rank {} "
              "and rank {} hand on to each other",
              source, s, below.transport, key.first, key.second);
        }
      }
    }
  }
  const std::string wanted = config.comm.gpu_transport;
  const std::vector<MeasuredTransport> measured =
      profile != nullptr && wanted == "auto" ? profile->cluster.transports : std::vector<MeasuredTransport>{};
  options.edge_transport = [facts = facts_, planned, measured, wanted](int from, int to) {
    if (const auto known = planned.find({std::min(from, to), std::max(from, to)}); known != planned.end()) {
      return known->second;
    }
    const std::string faster = faster_transport(measured, from, to);
    return transport_of(facts, {from, to}, faster == "auto" || faster == "nccl" ? wanted : "host");
  };
  options.group_transport = [facts = facts_, wanted](const std::vector<int>& ranks) {
    return transport_of(facts, ranks, wanted);
  };
}

}  // namespace motley
