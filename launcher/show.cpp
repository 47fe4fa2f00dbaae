#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/launcher/options.h"
#include "motley/plan/files.h"
#include "motley/plan/json_field.h"
#include "motley/record/json_lines.h"
#include "motley/record/safetensors.h"
#include "motley/schedule/lowering.h"
#include "motley/schedule/simulate.h"

namespace motley {
namespace {

void show(const Profile& profile) {
  const ModelProfile& model = profile.model;
  std::cout << fmt::format("profile of {}: {} layers, {} devices{}\n", model.name, model.layers.size(),
                           profile.cluster.size(), profile.cluster.emulated ? " (emulated)" : "");
  if (!profile.cluster.note.empty()) {
    std::cout << "note: " << profile.cluster.note << '\n';
  }
  const std::size_t largest = model.micro_batch_sizes.size() - 1;
  for (const auto& [type, table] : model.devices) {
    std::cout << fmt::format("\n{} at micro-batch size {}, all ranks busy (ms)\n", type,
                             model.micro_batch_sizes[largest]);
    std::cout << fmt::format("  {:<12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>11} {:>10}\n", "layer", "forward",
                             "backward", "input", "weight", "update", "spread", "param. MB", "saved MB");
    for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
      const LayerTimes& t = table.busy.by_size[largest][layer];
      std::cout << fmt::format("  {:<12} {:>9.3f} {:>9.3f} {:>9.3f} {:>9.3f} {:>9.3f} {:>6.0f}% {:>11.3f} {:>10.3f}\n",
                               model.layers[layer].name, t.forward.value * 1e3, t.backward.value * 1e3,
                               t.backward_input.value * 1e3, t.backward_weight.value * 1e3,
                               table.busy.update[layer].value * 1e3, t.spread * 100,
                               static_cast<double>(model.layers[layer].parameters.value) / 1e6,
                               static_cast<double>(model.layers[layer].memory[largest].saved.value) / 1e6);
    }
  }
  constexpr Bytes kMegabyte{1'000'000};
  std::cout << "\nlinks, row to column: ms for 1 KB / MB per second at 1 MB\n";
  for (int from = 0; from < profile.cluster.size(); ++from) {
    std::cout << fmt::format("  {:<8}", profile.cluster.devices[static_cast<std::size_t>(from)].name);
    for (int to = 0; to < profile.cluster.size(); ++to) {
      const TransferCurve& link = profile.cluster.links[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)];
      std::cout << (from == to ? fmt::format("{:>18}", "-")
                               : fmt::format("{:>9.3f} /{:>7.1f}", link.time(Bytes{1'024}).value * 1e3,
                                             1.0 / link.time(kMegabyte).value));
    }
    std::cout << '\n';
  }
}

void show(const Plan& plan) {
  std::cout << fmt::format("plan by {}: {} with {} micro-batches of {}{}\n", plan.planner, plan.schedule,
                           plan.micro_batches, plan.micro_batch_size, plan.emulated ? " (emulated devices)" : "");
  for (int s = 0; s < plan.stage_count(); ++s) {
    const auto i = static_cast<std::size_t>(s);
    const StagePlan& stage = plan.stages[i];
    std::string bar;
    double share = 0.0;
    if (plan.prediction && i < plan.prediction->stage_busy.size() && plan.prediction->iteration.value > 0) {
      share = plan.prediction->stage_busy[i] / plan.prediction->iteration;
      bar.assign(static_cast<std::size_t>(share * 40), '#');
    }
    std::cout << fmt::format("  stage {} on device {}: layers [{}, {}), warm-up {:<2} |{:<40}| {:.0f} % busy\n", s,
                             stage.replicas.front().device, stage.first_layer, stage.end_layer, stage.warm_up, bar,
                             share * 100);
  }
  if (plan.prediction) {
    std::cout << fmt::format("predicted iteration {:.4f} s, bubble {:.1f} %\n", plan.prediction->iteration.value,
                             plan.prediction->bubble_share * 100);
  }
  if (plan.certificate) {
    std::cout << fmt::format("no plan is faster than {:.4f} s (gap {:.2f} %) among: {}\n",
                             plan.certificate->lower_bound.value, plan.certificate->gap * 100, plan.certificate->space);
  }
}

/// F = I = W = 1, B = 2, transfers free: what a schedule's own shape costs.
PipelineCosts one_tick_a_pass(int stages) {
  StageCosts cost;
  cost.forward = cost.backward_input = cost.backward_weight = Seconds{1.0};
  cost.backward = Seconds{2.0};
  PipelineCosts costs;
  costs.stages.assign(static_cast<std::size_t>(stages), cost);
  costs.transfer = [](int, int, Bytes) { return Seconds{0.0}; };
  return costs;
}

void show(const Schedule& schedule) {
  std::cout << fmt::format("schedule: {} ranks, {} stages, {} micro-batches\n", schedule.rank_count(),
                           schedule.stage_count(), schedule.micro_batch_count());
  const std::vector<Problem> problems = validate(schedule);
  for (const Problem& problem : problems) {
    std::cout << "problem: " << problem.message << '\n';
  }
  if (std::any_of(problems.begin(), problems.end(),
                  [](const Problem& problem) { return problem.kind != Problem::Kind::WeightOrder; })) {
    return;
  }
  const Simulation simulation = simulate(schedule, one_tick_a_pass(schedule.stage_count()), {.events = true});
  const auto ticks = static_cast<std::size_t>(std::lround(simulation.iteration.value));
  std::cout << fmt::format("F = I = W = 1, B = 2, free transfers: {} ticks, bubble {:.1f} %\n", ticks,
                           simulation.bubble_share * 100);
  // A tick a letter; a micro-batch's last digit is enough to follow it.
  constexpr std::size_t kWidest = 110;
  for (int rank = 0; rank < schedule.rank_count(); ++rank) {
    std::string line(std::min(ticks, kWidest), '.');
    for (const Event& event : simulation.events) {
      const bool forward = event.action.op == Op::Forward;
      for (auto tick = static_cast<std::size_t>(event.start.value);
           event.rank == rank && event.to < 0 && tick < static_cast<std::size_t>(event.end.value) && tick < line.size();
           ++tick) {
        const char weight = event.action.op == Op::BackwardWeight ? 'w' : 'b';
        const char digit = static_cast<char>('0' + event.action.micro_batch % 10);
        line[tick] = forward ? digit : event.action.op == Op::OverlapForwardBackward ? '#' : weight;
      }
    }
    std::cout << fmt::format("  rank {:<3} {}{}  at most {} in flight\n", rank, line, ticks > kWidest ? "..." : "",
                             simulation.peak_in_flight[static_cast<std::size_t>(rank)]);
  }
  std::cout << "  (digit: forward of that micro-batch, b: backward, w: weight gradient, #: both at once, .: idle)\n";
}

void show_record(const std::filesystem::path& file) {
  for (const nlohmann::json& line : read_json_lines(file)) {
    const std::string kind = line.value("kind", "");
    if (kind == "step") {
      std::cout << fmt::format("step {:>5}  loss {:.6f}  {:.3f} s  {:.1f} samples/s\n", line.value("step", 0),
                               line.value("loss", 0.0), line.value("wall_s", 0.0), line.value("samples_per_s", 0.0));
    } else if (kind == "summary") {
      std::cout << fmt::format("median iteration {:.4f} s, predicted {:.4f} s\n", line.value("iteration_s", 0.0),
                               line.value("predicted_iteration_s", 0.0));
    }
  }
}

}  // namespace

namespace {

nlohmann::json to_json(const Schedule& schedule) {
  nlohmann::json result = {{"stages", schedule.stage_count()}, {"micro_batches", schedule.micro_batch_count()}};
  result["ranks"] = nlohmann::json::array();
  for (const std::vector<Action>& row : schedule.ranks) {
    nlohmann::json actions = nlohmann::json::array();
    for (const Action& action : row) {
      actions.push_back(to_string(action));
    }
    result["ranks"].push_back(std::move(actions));
  }
  result["problems"] = nlohmann::json::array();
  for (const Problem& problem : validate(schedule)) {
    result["problems"].push_back(problem.message);
  }
  return result;
}

nlohmann::json to_json(const SafetensorsFile& file) {
  nlohmann::json result = {{"metadata", file.metadata()}, {"tensors", nlohmann::json::object()}};
  for (const auto& [name, tensor] : file.tensors()) {
    result["tensors"][name] = {{"dtype", name_of(tensor.dtype)}, {"shape", tensor.shape}};
  }
  return result;
}

void show(const SafetensorsFile& file) {
  for (const auto& [name, tensor] : file.tensors()) {
    std::cout << fmt::format("{:<24} {}[{}]\n", name, name_of(tensor.dtype), fmt::join(tensor.shape, ", "));
  }
}

/// A profile or a plan, checked.
void show_json_file(const std::filesystem::path& file, bool as_json) {
  const std::string text = read_text(file, "one of Motley's files");
  const nlohmann::json json = parse_json(text, file.string());
  const std::string kind = kind_of(json);
  if (kind == "profile") {
    const Profile profile = profile_from_json(json, file.string());
    as_json ? void(std::cout << to_json(profile) << '\n') : show(profile);
  } else if (kind == "plan") {
    const Plan plan = plan_from_json(json, file.string());
    as_json ? void(std::cout << to_json(plan) << '\n') : show(plan);
  } else {
    throw InputError::of("{}: field \"motley\" says \"{}\", expected \"profile\" or \"plan\"", file.string(), kind);
  }
}

}  // namespace

int command_show(const Invocation& invocation) {
  po::options_description options("options");
  std::string name;
  options.add_options()("file", po::value(&name)->required(),
                        "profile.json, plan.json, record.jsonl, .safetensors or a schedule's .csv")(
      "json", "print one JSON object");
  const auto values = parse_options(invocation, "show", "show FILE", "motley show run/plan.json", options, "file");
  if (!values) {
    return 0;
  }
  const bool as_json = values->contains("json");
  const std::filesystem::path file = name;
  if (file.extension() == ".csv") {
    const Schedule schedule = read_csv(file);
    as_json ? void(std::cout << to_json(schedule) << '\n') : show(schedule);
  } else if (file.extension() == ".jsonl") {
    as_json ? void(std::cout << nlohmann::json{{"lines", read_json_lines(file)}} << '\n') : show_record(file);
  } else if (file.extension() == ".safetensors") {
    const SafetensorsFile tensors(file);
    as_json ? void(std::cout << to_json(tensors) << '\n') : show(tensors);
  } else {
    show_json_file(file, as_json);
  }
  return 0;
}

}  // namespace motley
