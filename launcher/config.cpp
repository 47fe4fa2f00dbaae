#include "motley/config/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/launcher/config_arguments.h"
#include "motley/launcher/context.h"

namespace motley {
namespace {

/// Valid TOML; beside each key where its value came from and what it means.
std::string as_toml(const std::vector<ConfigKey>& keys) {
  const auto split = [](const ConfigKey& key) {
    const std::size_t dot = key.path.rfind('.');
    return dot == std::string::npos ? std::pair(std::string(), key.path)
                                    : std::pair(key.path.substr(0, dot), key.path.substr(dot + 1));
  };
  std::size_t width = 0;
  for (const ConfigKey& key : keys) {
    width = std::max(width, split(key).second.size() + 3 + key.value.size());
  }
  std::string text;
  std::string table;
  for (const ConfigKey& key : keys) {
    const auto [in, name] = split(key);
    if (in != table) {
      text += fmt::format("\n[{}]\n", in);
      table = in;
    }
    text += fmt::format("{:<{}}  # {}; {}\n", name + " = " + key.value, std::min<std::size_t>(width, 40), key.meaning,
                        key.origin.empty() ? "default" : key.origin);
  }
  return text;
}

}  // namespace

int command_config(const Invocation& invocation) {
  po::options_description options("options");
  ConfigArguments arguments;
  arguments.add_to(options, false);
  options.add_options()("json", "print a JSON array, an object a key");
  const auto values = parse_options(invocation, "config", "config [CONFIG] [--set KEY=VALUE]",
                                    "motley config configs/quickstart.toml --set train.steps=100", options, "config");
  if (!values) {
    return 0;
  }
  Config config = arguments.read();
  std::string unread;
  try {
    (void)workload_of(config, invocation.registry, &config.keys);
  } catch (const InputError& error) {
    // The keys are known all the same when it is only the data that is missing.
    unread = error.what();
  }
  if (values->contains("json")) {
    nlohmann::json array = nlohmann::json::array();
    for (const ConfigKey& key : config.keys) {
      array.push_back({{"key", key.path},
                       {"value", key.value},
                       {"origin", key.origin.empty() ? "default" : key.origin},
                       {"meaning", key.meaning}});
    }
    std::cout << array << '\n';
  } else {
    std::cout << as_toml(config.keys);
  }
  if (!unread.empty()) {
    throw InputError(unread);
  }
  return 0;
}

}  // namespace motley
