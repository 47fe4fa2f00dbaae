#include <fmt/format.h>

#include <iostream>

#include "motley/base/error.h"
#include "motley/base/nearest.h"
#include "motley/launcher/commands.h"
#include "motley/launcher/options.h"

namespace motley {
namespace {

struct Completed {
  std::string name;
  std::string summary;
  std::vector<OptionDescription> options;
};

/// In single quotes for a shell.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) {
    result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return result + "'";
}

std::string names(const std::vector<Completed>& commands) {
  std::string text;
  for (const Completed& command : commands) {
    text += (text.empty() ? "" : " ") + command.name;
  }
  return text;
}

std::string for_bash(const std::vector<Completed>& commands) {
  std::string cases;
  for (const Completed& command : commands) {
    std::string flags;
    for (const OptionDescription& option : command.options) {
      flags += (flags.empty() ? "--" : " --") + option.name;
    }
    cases += fmt::format("    {}) words={} ;;\n", command.name, quoted(flags));
  }
  return fmt::format(R"(# bash completion for motley; use: source <(motley completion bash)
_motley() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" command= words= i
  for ((i = 1; i < COMP_CWORD; ++i)); do
    # Under mpirun the command follows the program's name.
    case "${{COMP_WORDS[i]}}" in {}) command="${{COMP_WORDS[i]}}"; break ;; esac
  done
  if [[ -z $command ]]; then
    COMPREPLY=($(compgen -W {} -- "$current"))
    return
  fi
  case "$command" in
{}  esac
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  else
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}}
complete -o filenames -F _motley motley
)",
                     [&] {
                       std::string either;
                       for (const Completed& command : commands) {
                         either += (either.empty() ? "" : "|") + command.name;
                       }
                       return either;
                     }(),
                     quoted(names(commands) + " --help --version"), cases);
}

std::string for_zsh(const std::vector<Completed>& commands) {
  const auto escaped = [](std::string text) {
    for (const char* special : {"\\", "[", "]", ":"}) {
      for (std::size_t at = 0; (at = text.find(special, at)) != std::string::npos; at += 2) {
        text.insert(at, "\\");
      }
    }
    return text;
  };
  std::string list;
  std::string cases;
  for (const Completed& command : commands) {
    list += fmt::format("    {}\n", quoted(command.name + ":" + escaped(command.summary)));
    cases += fmt::format("    {}) _arguments", command.name);
    for (const OptionDescription& option : command.options) {
      cases += fmt::format(" \\\n      {}", quoted(fmt::format("--{}[{}]{}", option.name, escaped(option.meaning),
                                                               option.takes_value ? ":value:_files" : "")));
    }
    cases += " \\\n      '*:file:_files' ;;\n";
  }
  return fmt::format(R"(#compdef motley
# zsh completion for motley; use: source <(motley completion zsh)
_motley() {{
  local -a commands=(
{}  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
{}  esac
}}
compdef _motley motley
)",
                     list, cases);
}

}  // namespace

int command_completion(const Invocation& invocation) {
  po::options_description options("options");
  std::string shell;
  options.add_options()("shell", po::value(&shell)->required(), "bash or zsh");
  const auto values = parse_options(invocation, "completion", "completion bash|zsh", "source <(motley completion bash)",
                                    options, "shell");
  if (!values) {
    return 0;
  }
  if (shell != "bash" && shell != "zsh") {
    throw InputError::of("motley completion: found shell \"{}\", expected {}", shell, one_of(shell, {"bash", "zsh"}));
  }
  std::vector<Completed> commands;
  for (const Command& command : all_commands()) {
    Completed completed{command.name, command.summary, {}};
    (void)command.run({invocation.program, {}, invocation.registry, &completed.options});
    commands.push_back(std::move(completed));
  }
  std::cout << (shell == "bash" ? for_bash(commands) : for_zsh(commands));
  return 0;
}

}  // namespace motley
