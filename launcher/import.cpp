#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/base/nearest.h"
#include "motley/launcher/options.h"
#include "motley/partitioner/importers/importers.h"
#include "motley/partitioner/importers/sailor.h"

namespace motley {
namespace {

using nlohmann::json;

void import_graph(const ModelGraph& graph, const std::string& out, bool as_json) {
  if (!out.empty()) {
    write_model_graph(out, graph);
  }
  if (as_json) {
    std::cout << to_json(graph) << '\n';
  } else {
    std::cout << fmt::format("{}: {} nodes in {} groups, {} edges{}\n", graph.name, graph.nodes.size(),
                             graph.group_count(), graph.edges.size(), out.empty() ? "" : ", written to " + out);
  }
}

/// Prices `plan_file` with the tables in `folder`, and with constants fitted to the other measured plans there.
void import_sailor(const std::string& folder, const std::string& plan_file, const std::string& model_name,
                   bool as_json) {
  const SailorPlan plan = read_sailor_plan(plan_file);
  const SailorModel model(folder, plan.stages.back().end_layer, model_name);
  const SailorConstants constants;
  const SailorPrediction predicted = model.predict(plan, constants);
  const std::vector<SailorPlan> others = measured_sailor_plans(folder, plan);

  json result = {{"model", model.name()},
                 {"predicted_s", predicted.iteration.value},
                 {"predicted_memory_bytes", predicted.memory.value}};
  std::string text = fmt::format("{}: predicted {:.3f} s an iteration", model.name(), predicted.iteration.value);
  if (plan.measured) {
    const double error = predicted.iteration / *plan.measured - 1.0;
    result["measured_s"] = plan.measured->value;
    result["error"] = error;
    text += fmt::format(", measured {:.3f} s ({:+.1f} %)", plan.measured->value, error * 100);
  }
  text += fmt::format("\n  memory of the fullest GPU: predicted {:.2f} GB",
                      static_cast<double>(predicted.memory.value) * 1e-9);
  if (plan.measured_memory) {
    result["measured_memory_bytes"] = plan.measured_memory->value;
    text += fmt::format(", measured {:.2f} GB", static_cast<double>(plan.measured_memory->value) * 1e-9);
  }
  if (plan.measured && !others.empty()) {
    const Seconds apart = model.predict(plan, model.fit(others)).iteration;
    const double error = apart / *plan.measured - 1.0;
    result["leave_one_out"] = {{"predicted_s", apart.value}, {"error", error}, {"plans", others.size()}};
    text += fmt::format("\n  constants fitted to the {} other measured plans: {:.3f} s ({:+.1f} %)", others.size(),
                        apart.value, error * 100);
  }
  json& listed = result["constants"] = json::array();
  for (const SailorConstants::Reason& reason : constants.reasons()) {
    listed.push_back({{"name", reason.name}, {"value", reason.value}, {"reason", reason.reason}});
    text += fmt::format("\n  constant {} = {:g}: {}", reason.name, reason.value, reason.reason);
  }
  std::cout << (as_json ? result.dump() : text) << '\n';
}

}  // namespace

int command_import(const Invocation& invocation) {
  po::options_description options("options");
  std::vector<std::string> what;
  std::string out;
  std::string plan;
  std::string model;
  options.add_options()("what", po::value(&what)->multitoken(),
                        "KIND FILE; kinds: pipedream, dnn-partitioning, sailor (FILE is the folder of its tables)")(
      "out", po::value(&out), "model to write (pipedream, dnn-partitioning)")(
      "plan", po::value(&plan), "plan to price (sailor)")("model", po::value(&model),
                                                          "name in the tables (sailor; default: by layers)")(
      "json", "print the model, or the price, as one JSON object");
  const auto values =
      parse_options(invocation, "import", "import KIND FILE [--out MODEL | --plan PLAN]",
                    "motley import pipedream examples/convolutions.graph.txt --out model.json", options, "what");
  if (!values) {
    return 0;
  }
  if (what.size() != 2) {
    throw InputError::of("motley import: found {} words, expected KIND FILE (motley import --help tells more)",
                         what.size());
  }
  const std::vector<std::string> kinds{"pipedream", "dnn-partitioning", "sailor"};
  const std::string& kind = what[0];
  const bool as_json = values->contains("json");
  const bool sailor = kind == "sailor";
  if (sailor == plan.empty()) {
    throw InputError::of("motley import {}: found {}, expected {}", kind, plan.empty() ? "no --plan" : "--plan",
                         plan.empty() ? "the plan to price" : "none: it is for sailor");
  }
  if (sailor && !out.empty()) {
    throw InputError("motley import sailor: found --out, expected none: its tables are no graph");
  }
  if (kind == kinds[0]) {
    import_graph(import_pipedream(what[1]), out, as_json);
  } else if (kind == kinds[1]) {
    import_graph(import_dnn_partitioning(what[1]), out, as_json);
  } else if (sailor) {
    import_sailor(what[1], plan, model, as_json);
  } else {
    throw InputError::of("motley import: found kind \"{}\", expected {}", kind, one_of(kind, kinds));
  }
  return 0;
}

}  // namespace motley
