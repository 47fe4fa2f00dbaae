#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/base/log.h"
#include "motley/base/progress.h"
#include "motley/launcher/config_arguments.h"
#include "motley/launcher/context.h"
#include "motley/launcher/job.h"
#include "motley/launcher/options.h"
#include "motley/launcher/report.h"
#include "motley/partitioner/explain.h"
#include "motley/plan/files.h"
#include "motley/routing/report.h"

namespace motley {
namespace {

Plan plan_by(const std::string& planner, const Profile& profile, const SearchOptions& options, bool tell) {
  std::optional<Waiting> waiting(std::in_place, fmt::format("plan ({})", planner));
  const SearchResult result = find_plan(planner, profile, options);
  waiting.reset();
  if (const auto* infeasible = std::get_if<Infeasible>(&result)) {
    throw InputError::of("planner {}: no plan fits: {}", planner, infeasible->reason);
  }
  if (tell) {
    std::cerr << explain(std::get<Found>(result), profile);
  }
  return std::get<Found>(result).plan;
}

struct Row {
  std::string planner;
  nlohmann::json summary;
};

std::string in_words(const std::vector<Row>& rows, bool emulated) {
  std::string text =
      fmt::format("\nspeed, measured in this run{}:\n  {:<12} {:>12} {:>12} {:>12} {:>8}\n",
                  emulated ? " on emulated devices" : "", "plan", "samples/s", "iteration", "predicted", "error");
  for (const Row& row : rows) {
    const double measured = row.summary.value("iteration_s", 0.0);
    const double predicted = row.summary.value("predicted_iteration_s", 0.0);
    text += fmt::format("  {:<12} {:>12.1f} {:>10.3f} s {:>10.3f} s {:>+7.1f}%\n", row.planner,
                        row.summary.value("samples_per_s", 0.0), measured, predicted, (predicted / measured - 1) * 100);
  }
  return text;
}

/// Losses of the steps all plans ran, compared bit for bit with the first plan's.
std::string compare_losses(const std::vector<Row>& rows) {
  std::size_t common = rows.front().summary.at("losses").size();
  for (const Row& row : rows) {
    common = std::min(common, row.summary.at("losses").size());
  }
  for (std::size_t step = 0; step < common; ++step) {
    for (const Row& row : rows) {
      const auto mine = row.summary.at("losses")[step].get<double>();
      const auto first = rows.front().summary.at("losses")[step].get<double>();
      if (mine != first) {
        return fmt::format("losses DIFFER at step {}: {} has {:.17g}, {} has {:.17g}\n", step, rows.front().planner,
                           first, row.planner, mine);
      }
    }
  }
  return fmt::format("the losses of all {} plans agree bit for bit over {} steps\n", rows.size(), common);
}

/// Predicted beside measured, stage by stage.
std::string stages_in_words(const nlohmann::json& summary) {
  std::string text = fmt::format("\nMotley's plan by stage:\n  {:<8} {:>10} {:>10} {:>8} {:>11} {:>11} {:>8}\n",
                                 "device", "busy ms", "predicted", "error", "peak MB", "predicted", "error");
  for (const nlohmann::json& stage : summary.value("predicted_stages", nlohmann::json::array())) {
    const nlohmann::json& measured = summary.at("ranks").at(stage.at("rank").get<std::size_t>());
    const auto pair = [&](const char* key, double scale) {
      const double found = measured.at(key).get<double>();
      const double predicted = stage.at(key).get<double>();
      return fmt::format("{:>10.1f} {:>10.1f} {:>+7.1f}%", found * scale, predicted * scale,
                         (predicted / found - 1) * 100);
    };
    text += fmt::format("  rank{:<4} {}  {}\n", stage.at("rank").get<int>(), pair("busy_s", 1e3),
                        pair("peak_memory_bytes", 1e-6));
  }
  return text;
}

}  // namespace

int command_run(const Invocation& invocation) {
  po::options_description options("options");
  ConfigArguments arguments;
  arguments.add_to(options);
  std::string tensorboard;
  options.add_options()("json", "print one JSON object")(
      "tensorboard", po::value(&tensorboard), "folder for event files of TensorBoard, a folder a plan in it");
  const auto values = parse_options(invocation, "run", "run CONFIG [--set KEY=VALUE]",
                                    "motley run configs/quickstart.toml", options, "config");
  if (!values) {
    return 0;
  }
  const Config config = arguments.read();
  const bool quiet = values->contains("quiet");
  const auto job = [&](const std::string& command, const std::vector<std::string>& more) {
    run_job(invocation, config, command, arguments.words(), more, quiet);
  };
  const std::filesystem::path& run = config.run_directory;
  std::filesystem::create_directories(run);
  const std::string profile_file = (run / "profile.json").string();
  job("profile", {"--out", profile_file});
  const Profile profile = read_profile(profile_file);

  SearchOptions search = search_options(config);
  const Plan chosen = plan_by(config.plan.planner, profile, search, !quiet);
  const std::string plan_file = (run / "plan.json").string();
  write_plan(plan_file, chosen);

  // The same micro-batches, so that losses must agree bit for bit.
  search.micro_batch_sizes = {chosen.micro_batch_size};
  const auto train = [&](const std::string& name, std::vector<std::string> words) {
    if (!tensorboard.empty()) {
      words.insert(words.end(), {"--tensorboard", (std::filesystem::path(tensorboard) / name).string()});
    }
    job("train", words);
  };
  std::vector<Row> rows;
  for (const std::string& planner : config.compare.planners) {
    const std::filesystem::path directory = run / ("compare-" + planner);
    const std::string file = (directory / "plan.json").string();
    write_plan(file, plan_by(planner, profile, search, false));
    train(planner, {"--plan", file, "--profile", profile_file, "--run", directory.string(), "--steps",
                    std::to_string(config.compare.steps), "--no-evaluation", "--trace"});
    rows.push_back({planner, summary_of(directory / "record.jsonl")});
  }
  train("motley", {"--plan", plan_file, "--profile", profile_file, "--run", run.string(), "--trace"});
  rows.push_back({"motley", summary_of(run / "record.jsonl")});

  nlohmann::json result = {{"emulated", config.devices.emulated()}};
  for (const Row& row : rows) {
    result["plans"][row.planner] = row.summary;
  }
  std::string text = in_words(rows, config.devices.emulated()) + compare_losses(rows);
  text += stages_in_words(rows.back().summary);
  const std::string data = (*config.workload_options)["data"].value_or(std::string("data/mmlu_pro"));
  if (config.workload == "router" && data == "synthetic") {
    text += "\nnot evaluated: the data is synthetic, there is no LLM to route to\n";
  } else if (config.workload == "router") {
    std::optional<Waiting> waiting(std::in_place, "evaluate");
    const RouterEvaluation evaluation = evaluate_run(data, run);
    waiting.reset();
    result["router"] = to_json(evaluation);
    write_durably(run / "evaluation.json", result["router"].dump(1) + '\n');
    text += '\n' + in_words(evaluation);
  }
  text += fmt::format("\nreport: {}\n", write_report({run}, {}).string());
  if (values->contains("json")) {
    std::cout << result << '\n';
  } else {
    std::cout << text;
  }
  return 0;
}

}  // namespace motley
