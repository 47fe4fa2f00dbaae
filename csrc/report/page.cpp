#include "motley/report/page.h"

#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/report/assets.h"

namespace motley {
namespace {

template <typename Value>
nlohmann::json optional_json(const std::optional<Value>& value) {
  return value ? nlohmann::json(value->value) : nlohmann::json();
}

template <typename Value>
nlohmann::json to_json(const Pair<Value>& pair) {
  return {{"predicted", optional_json(pair.predicted)}, {"measured", optional_json(pair.measured)}};
}

/// [lane, category, name, start, duration] each: a trace has thousands.
nlohmann::json to_json(const std::vector<TraceEvent>& events) {
  nlohmann::json list = nlohmann::json::array();
  for (const TraceEvent& event : events) {
    list.push_back({event.lane, event.category, event.name, event.start.value, (event.end - event.start).value});
  }
  return list;
}

nlohmann::json steps_json(const RunData& run) {
  nlohmann::json columns = {{"step", nlohmann::json::array()},
                            {"loss", nlohmann::json::array()},
                            {"gradient_norm", nlohmann::json::array()},
                            {"wall_s", nlohmann::json::array()},
                            {"busy_s", nlohmann::json::array()}};
  for (const RecordedStep& step : run.steps) {
    columns["step"].push_back(step.step);
    columns["loss"].push_back(step.loss);
    columns["gradient_norm"].push_back(step.gradient_norm);
    columns["wall_s"].push_back(step.wall.value);
    nlohmann::json busy = nlohmann::json::array();
    for (const RankShare& rank : step.ranks) {
      busy.push_back(rank.busy.value);
    }
    columns["busy_s"].push_back(std::move(busy));
  }
  return columns;
}

nlohmann::json stages_json(const RunData& run) {
  nlohmann::json list = nlohmann::json::array();
  for (const StagePlan& stage : run.plan.stages) {
    nlohmann::json ranks = nlohmann::json::array();
    for (const Replica& replica : stage.replicas) {
      ranks.push_back(replica.device);
    }
    list.push_back({{"first_layer", stage.first_layer},
                    {"end_layer", stage.end_layer},
                    {"ranks", std::move(ranks)},
                    {"warm_up", stage.warm_up}});
    if (run.profile) {
      const auto& layers = run.profile->model.layers;
      list.back()["first_name"] = layers.at(static_cast<std::size_t>(stage.first_layer)).name;
      list.back()["last_name"] = layers.at(static_cast<std::size_t>(stage.end_layer - 1)).name;
    }
  }
  return list;
}

nlohmann::json ranks_json(const Analysis& analysis) {
  nlohmann::json list = nlohmann::json::array();
  for (const RankAnalysis& rank : analysis.ranks) {
    nlohmann::json share;
    if (rank.measured) {
      share = {{"busy", rank.measured->busy.value},
               {"waiting", rank.measured->waiting.value},
               {"transfer", rank.measured->transfer.value}};
    }
    list.push_back({{"rank", rank.rank},
                    {"device", rank.device},
                    {"stages", rank.stages},
                    {"busy", to_json(rank.busy)},
                    {"share", std::move(share)},
                    {"memory", to_json(rank.memory)},
                    {"limit", optional_json(rank.limit)}});
  }
  return list;
}

nlohmann::json run_json(const AnalysedRun& run) {
  const RunData& data = run.data;
  const Analysis& analysis = run.analysis;
  nlohmann::json passes = nlohmann::json::array();
  for (const PassAnalysis& pass : analysis.passes) {
    passes.push_back({{"stage", pass.stage}, {"pass", pass.pass}, {"count", pass.count}, {"time", to_json(pass.time)}});
  }
  nlohmann::json edges = nlohmann::json::array();
  for (const EdgeAnalysis& edge : analysis.edges) {
    edges.push_back({{"stage", edge.stage}, {"from", edge.from}, {"to", edge.to}, {"time", to_json(edge.time)}});
  }
  nlohmann::json links = nlohmann::json::array();
  for (const LinkAnalysis& link : analysis.links) {
    links.push_back({{"from", link.from},
                     {"to", link.to},
                     {"messages", link.messages},
                     {"bytes", link.bytes.value},
                     {"time", to_json(link.time)}});
  }
  nlohmann::json checkpoints = nlohmann::json::array();
  for (const auto& [step, stall] : data.checkpoints) {
    checkpoints.push_back({step, stall.value});
  }
  nlohmann::json json = {{"name", data.name},
                         {"planner", data.plan.planner},
                         {"emulated", data.emulated},
                         {"schedule", data.plan.schedule},
                         {"micro_batch_size", data.plan.micro_batch_size},
                         {"micro_batches", data.plan.micro_batches},
                         {"settled_steps", analysis.settled_steps},
                         {"iteration", to_json(analysis.iteration)},
                         {"quick_iteration", analysis.quick_iteration.value},
                         {"slow_iteration", analysis.slow_iteration.value},
                         {"traced_iteration", optional_json(analysis.traced_iteration)},
                         {"idle_share", analysis.idle_share ? nlohmann::json(*analysis.idle_share) : nlohmann::json()},
                         {"samples", analysis.samples},
                         {"stages", stages_json(data)},
                         {"ranks", ranks_json(analysis)},
                         {"passes", std::move(passes)},
                         {"edges", std::move(edges)},
                         {"links", std::move(links)},
                         {"checkpoints", std::move(checkpoints)},
                         {"steps", steps_json(data)},
                         {"measured", to_json(analysis.measured)},
                         {"simulated", to_json(analysis.simulated)},
                         {"evaluation", data.evaluation},
                         {"settings", data.settings},
                         {"note", analysis.note},
                         {"findings", findings(run)}};
  if (data.plan.certificate) {
    json["certificate"] = {{"lower_bound", data.plan.certificate->lower_bound.value},
                           {"gap", data.plan.certificate->gap},
                           {"space", data.plan.certificate->space}};
  }
  return json;
}

/// JSON that may stand in a script element: no "</script>" or "<!--" can be in it.
std::string inline_json(const nlohmann::json& json) {
  std::string text = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  for (std::size_t at = 0; (at = text.find('<', at)) != std::string::npos;) {
    text.replace(at, 1, "\\u003c");
  }
  return text;
}

}  // namespace

nlohmann::json page_data(std::span<const AnalysedRun> runs) {
  MOTLEY_CHECK(!runs.empty(), "a report of no run");
  nlohmann::json list = nlohmann::json::array();
  for (const AnalysedRun& run : runs) {
    list.push_back(run_json(run));
  }
  return {{"paragraph", paragraph(runs)}, {"runs", std::move(list)}};
}

std::string page_of(std::span<const AnalysedRun> runs) {
  const std::string data = inline_json(page_data(runs));
  const std::pair<std::string_view, std::string_view> parts[] = {{"{{CSS}}", assets::page_css()},
                                                                 {"{{ECHARTS}}", assets::echarts_js()},
                                                                 {"{{DATA}}", data},
                                                                 {"{{JS}}", assets::page_js()}};
  // In the order of the template, which is looked at once: what was put in is not looked at again.
  std::string page;
  std::string_view rest = assets::page_html();
  for (const auto& [mark, text] : parts) {
    const std::size_t at = rest.find(mark);
    MOTLEY_CHECK(at != std::string_view::npos, "{} is missing in page.html or out of order", mark);
    page.append(rest.substr(0, at)).append(text);
    rest.remove_prefix(at + mark.size());
  }
  return page.append(rest);
}

}  // namespace motley
