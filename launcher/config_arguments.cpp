#include "motley/launcher/config_arguments.h"

#include <algorithm>

#include "motley/base/error.h"
#include "motley/base/nearest.h"
#include "motley/partitioner/search.h"

namespace motley {
namespace {

void expect_planner(const std::string& planner, const std::string& source, const std::string& key) {
  const std::vector<std::string> known = planner_names();
  if (std::ranges::find(known, planner) == known.end()) {
    throw InputError::of("{}: {}: found \"{}\", expected {}", source, key, planner, one_of(planner, known));
  }
}

}  // namespace

void ConfigArguments::add_to(po::options_description& options, bool required) {
  auto* value = po::value(&file);
  options.add_options()("config", required ? value->required() : value, "TOML configuration")(
      "set", po::value(&assignments)->composing()->value_name("KEY=VALUE"),
      "overrules the configuration, e.g. train.steps=100; may be repeated")(
      "device", po::value(&device)->value_name("NAME"), "cpu, cuda or auto: the same as --set devices.device=NAME");
}

Config ConfigArguments::read() const {
  std::vector<std::string> overruling = assignments;
  if (!device.empty()) {
    overruling.push_back("devices.device=" + device);
  }
  Config config = file.empty() ? parse_config("", "defaults", overruling) : read_config(file, overruling);
  expect_planner(config.plan.planner, config.source, "plan.planner");
  for (const std::string& planner : config.compare.planners) {
    expect_planner(planner, config.source, "compare.planners");
  }
  return config;
}

std::vector<std::string> ConfigArguments::words() const {
  std::vector<std::string> words{file};
  for (const std::string& assignment : assignments) {
    words.insert(words.end(), {"--set", assignment});
  }
  if (!device.empty()) {
    words.insert(words.end(), {"--device", device});
  }
  return words;
}

}  // namespace motley
