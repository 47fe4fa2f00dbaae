#include "motley/launcher/command_line.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <iostream>
#include <limits>

#include "motley/base/error.h"
#include "motley/base/log.h"
#include "motley/base/nearest.h"
#include "motley/launcher/commands.h"
#include "motley/launcher/mpirun.h"
#include "motley/launcher/options.h"
#include "motley/launcher/versions.h"

namespace motley {
namespace {

constexpr std::array<Command, 16> kCommands{{
    {"run", "profile, plan, train and evaluate: all of it", command_run},
    {"profile", "measure layers and links (under mpirun)", command_profile},
    {"plan", "cut the model into stages for a profile", command_plan},
    {"check", "check a plan and its certificate against a profile, without the planner", command_check},
    {"import", "read a model that another tool profiled", command_import},
    {"schedule", "print, convert and validate schedules", command_schedule},
    {"simulate", "replay a plan action by action", command_simulate},
    {"train", "train by a plan (under mpirun)", command_train},
    {"evaluate", "score a trained router against baselines", command_evaluate},
    {"report", "write one HTML page about training runs", command_report},
    {"export", "write weights, initial or trained, and samples for other programs", command_export},
    {"bench", "compare planners: predicted, and as measured", command_bench},
    {"show", "print one of Motley's files for a person", command_show},
    {"config", "print the effective configuration, where each value came from", command_config},
    {"doctor", "what this machine offers, what is missing and how to get it", command_doctor},
    {"completion", "print a completion script for bash or zsh", command_completion},
}};

void print_help() {
  std::cout << "motley: trains one model in pipeline stages across mixed devices and links\n\n"
               "usage: motley COMMAND ... (motley COMMAND --help tells more)\n\n";
  for (const Command& command : kCommands) {
    std::cout << fmt::format("  {:<11} {}\n", command.name, command.summary);
  }
  std::cout << "\nexample: motley run configs/quickstart.toml\n";
}

/// What option `name` ("--batch") of `options` takes, in words.
std::string kind_of(const std::string& name, const po::options_description& options) {
  const po::option_description& option = options.find(name.substr(name.find_first_not_of('-')), false);
  const auto* typed = dynamic_cast<const po::typed_value_base*>(option.semantic().get());
  if (typed != nullptr && typed->value_type() == typeid(double)) {
    return "a number";
  }
  const bool narrow = typed != nullptr && typed->value_type() == typeid(int);
  return fmt::format("an integer up to {}",
                     narrow ? std::numeric_limits<int>::max() : std::numeric_limits<std::int64_t>::max());
}

}  // namespace

void complain(std::string_view text) {
  std::cerr << (text.starts_with("motley") ? "" : "motley: ") << text << '\n';
}

std::span<const Command> all_commands() {
  return kCommands;
}

std::optional<po::variables_map> parse_options(const Invocation& invocation, const std::string& command,
                                               const std::string& usage, const std::string& example,
                                               po::options_description options, const std::string& positional) {
  options.add_options()("help,h", "print this")("quiet,q", "say nothing on stderr but errors");
  if (invocation.describe != nullptr) {
    for (const auto& option : options.options()) {
      if (option->long_name() != positional) {
        invocation.describe->push_back(
            {option->long_name(), option->description(), option->semantic()->max_tokens() > 0});
      }
    }
    return std::nullopt;
  }
  po::positional_options_description places;
  if (!positional.empty()) {
    places.add(positional.c_str(), -1);
  }
  po::variables_map values;
  try {
    // Abbreviated options would change their meaning when a new option comes.
    const int style = po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
    po::store(po::command_line_parser(invocation.arguments).options(options).positional(places).style(style).run(),
              values);
    if (values.contains("help")) {
      std::cout << "usage: motley " << usage << "\n\n" << options << "\nexample: " << example << '\n';
      return std::nullopt;
    }
    if (values.contains("quiet")) {
      start_logging(Verbosity::Quiet, "");
    }
    po::notify(values);
  } catch (const po::unknown_option& error) {
    std::vector<std::string> known;
    for (const auto& option : options.options()) {
      known.push_back("--" + option->long_name());
    }
    const std::string near = nearest(error.get_option_name(), known);
    throw InputError::of("motley {}: unknown option {}{}", command, error.get_option_name(),
                         near.empty() ? "" : fmt::format(", did you mean {}?", near));
  } catch (const po::invalid_option_value& error) {
    throw InputError::of("motley {}: {}, expected {}", command, error.what(),
                         kind_of(error.get_option_name(), options));
  } catch (const po::error& error) {
    throw InputError::of("motley {}: {} (motley {} --help tells more)", command, error.what(), command);
  }
  return values;
}

int run_command_line(int argc, char** argv, const WorkloadRegistry& registry) {
  start_logging(Verbosity::Normal, "", watching_columns());
  std::vector<std::string> all(argv + 1, argv + argc);
  if (all.size() > 1 && all.front() == "help") {
    all = {all[1], "--help"};
  }
  try {
    if (all.empty() || all.front() == "--help" || all.front() == "-h" || all.front() == "help") {
      print_help();
      return all.empty() ? 2 : 0;
    }
    if (all.front() == "--version") {
      std::cout << versions();
      return 0;
    }
    for (const Command& command : kCommands) {
      if (all.front() == command.name) {
        return command.run({argv[0], {all.begin() + 1, all.end()}, registry, nullptr});
      }
    }
    std::vector<std::string> known{"--help", "--version"};
    for (const Command& command : kCommands) {
      known.emplace_back(command.name);
    }
    const std::string near = nearest(all.front(), known);
    throw InputError::of("motley: unknown command \"{}\"{}", all.front(),
                         near.empty() ? "; motley --help lists them" : fmt::format(", did you mean \"{}\"?", near));
  } catch (const RanksFailed& failed) {
    return failed.exit_code();
  } catch (const InputError& error) {
    complain(error.what());
    return 2;
  } catch (const std::exception& error) {
    complain(message_of(error));
    return 1;
  }
}

}  // namespace motley
