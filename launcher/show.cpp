#include "motley/launcher/show.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iostream>
#include <map>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/launcher/options.h"
#include "motley/plan/files.h"
#include "motley/plan/json_field.h"
#include "motley/plan/model_graph.h"
#include "motley/record/json_lines.h"
#include "motley/record/safetensors.h"
#include "motley/record/trace.h"
#include "motley/schedule/lowering.h"

namespace motley {
namespace {

Shown show_schedule(const std::filesystem::path& file) {
  const Schedule schedule = read_csv(file);
  nlohmann::json json = {{"stages", schedule.stage_count()}, {"micro_batches", schedule.micro_batch_count()}};
  json["ranks"] = nlohmann::json::array();
  for (const std::vector<Action>& row : schedule.ranks) {
    nlohmann::json actions = nlohmann::json::array();
    for (const Action& action : row) {
      actions.push_back(to_string(action));
    }
    json["ranks"].push_back(std::move(actions));
  }
  json["problems"] = nlohmann::json::array();
  for (const Problem& problem : validate(schedule)) {
    json["problems"].push_back(problem.message);
  }
  return {in_words(schedule), std::move(json)};
}

Shown show_tensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  Shown shown{"", {{"metadata", file.metadata()}, {"tensors", nlohmann::json::object()}}};
  for (const auto& [name, tensor] : file.tensors()) {
    shown.words += fmt::format("{:<24} {}[{}]\n", name, name_of(tensor.dtype), fmt::join(tensor.shape, ", "));
    shown.json["tensors"][name] = {{"dtype", name_of(tensor.dtype)}, {"shape", tensor.shape}};
  }
  return shown;
}

Shown show_trace(const std::filesystem::path& file, nlohmann::json json) {
  std::string words;
  std::map<std::string, std::pair<std::size_t, Seconds>> processes;
  std::map<std::string, Seconds> starts;
  for (const TraceEvent& event : read_trace(file)) {
    auto& [count, end] = processes[event.process];
    ++count;
    end = std::max(end, event.end);
    const auto start = starts.emplace(event.process, event.start).first;
    start->second = std::min(start->second, event.start);
  }
  for (const auto& [process, of] : processes) {
    words +=
        fmt::format("{}: {} events over {:.3f} ms\n", process, of.first, (of.second - starts[process]).value * 1e3);
  }
  return {words + "opens in https://ui.perfetto.dev and chrome://tracing; motley report draws it\n", std::move(json)};
}

Shown show_graph(const ModelGraph& graph, nlohmann::json json) {
  Seconds compute;
  Bytes parameters;
  for (const ModelGraph::Node& node : graph.nodes) {
    compute += node.compute;
    parameters += node.parameters;
  }
  return {
      fmt::format("model graph {}: {} nodes in {} groups, {} edges, {:.3f} ms of compute, {:.1f} MB of parameters\n",
                  graph.name, graph.nodes.size(), graph.group_count(), graph.edges.size(), compute.value * 1e3,
                  static_cast<double>(parameters.value) / 1e6),
      std::move(json)};
}

/// One of the kinds that say in the file what they are.
Shown show_json(const std::filesystem::path& file) {
  const std::string source = file.string();
  nlohmann::json json = parse_json(read_text(file, "one of Motley's files"), source);
  const std::string kind = kind_of(json);
  if (kind == "profile") {
    const Profile profile = profile_from_json(json, source);
    return {in_words(profile), to_json(profile)};
  }
  if (kind == "plan") {
    const Plan plan = plan_from_json(json, source);
    return {in_words(plan), to_json(plan)};
  }
  if (kind == "model") {
    const ModelGraph graph = model_graph_from_json(json, source);
    return show_graph(graph, std::move(json));
  }
  if (kind == "evaluation") {
    return {evaluation_in_words(json, source), std::move(json)};
  }
  if (json.is_object() && json.contains("traceEvents")) {
    return show_trace(file, std::move(json));
  }
  if (file.filename() == "manifest.json") {
    return show_checkpoint(file.parent_path());
  }
  throw InputError::of("{}: field \"motley\" says \"{}\", expected \"profile\", \"plan\", \"model\" or \"evaluation\"",
                       source, kind);
}

Shown show(const std::filesystem::path& file) {
  if (std::filesystem::is_directory(file)) {
    return std::filesystem::exists(file / "record.jsonl")
               ? Shown{run_in_words(file), {{"lines", read_json_lines(file / "record.jsonl")}}}
               : show_checkpoint(file);
  }
  if (file.extension() == ".csv") {
    return show_schedule(file);
  }
  if (file.extension() == ".jsonl") {
    return {record_in_words(file), {{"lines", read_json_lines(file)}}};
  }
  if (file.extension() == ".toml") {
    throw InputError::of("{0}: is a configuration, expected a file that Motley writes (motley config {0} prints it)",
                         file.string());
  }
  return file.extension() == ".safetensors" ? show_tensors(file) : show_json(file);
}

}  // namespace

int command_show(const Invocation& invocation) {
  po::options_description options("options");
  std::string name;
  options.add_options()(
      "file", po::value(&name)->required(),
      "profile.json, plan.json, model.json, evaluation.json, trace.json, record.jsonl, .safetensors, a "
      "schedule's .csv, or the folder of a run or of checkpoints")("json", "print one JSON object");
  const auto values = parse_options(invocation, "show", "show FILE", "motley show plan.json", options, "file");
  if (!values) {
    return 0;
  }
  const Shown shown = show(name);
  if (values->contains("json")) {
    std::cout << shown.json << '\n';
  } else {
    std::cout << shown.words;
  }
  return 0;
}

}  // namespace motley
