#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "motley/base/file.h"
#include "motley/base/progress.h"
#include "motley/launcher/options.h"
#include "motley/routing/report.h"

namespace motley {

int command_evaluate(const Invocation& invocation) {
  po::options_description options("options");
  std::string run;
  std::string data;
  options.add_options()("run", po::value(&run)->required(), "folder of a training run")(
      "data", po::value(&data)->default_value("data/mmlu_pro"), "folder of the outcomes")("json",
                                                                                          "print one JSON object");
  const auto values = parse_options(invocation, "evaluate", "evaluate RUN [--data DIR]",
                                    "motley evaluate run/quickstart", options, "run");
  if (!values) {
    return 0;
  }
  std::optional<Waiting> waiting(std::in_place, "evaluate");
  const RouterEvaluation evaluation = evaluate_run(data, run);
  waiting.reset();
  write_durably(std::filesystem::path(run) / "evaluation.json", to_json(evaluation).dump(1) + '\n');
  if (values->contains("json")) {
    std::cout << to_json(evaluation) << '\n';
  } else {
    std::cout << in_words(evaluation);
  }
  return 0;
}

}  // namespace motley
