#include "program.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace motley {

Outcome shell(const std::string& command) {
  const TemporaryFolder folder;
  const std::filesystem::path out = folder / "out";
  const std::filesystem::path err = folder / "err";
  const int status = std::system(fmt::format("cd '{}' && timeout -k 5 120 {} >'{}' 2>'{}' </dev/null",
                                             MOTLEY_SOURCE_DIR, command, out.string(), err.string())
                                     .c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text_of(out), text_of(err)};
}

Outcome motley_program(const std::string& arguments, const std::string& environment) {
  return shell(fmt::format("env {} '{}' {}", environment, MOTLEY_PROGRAM, arguments));
}

Outcome motley_on_ranks(int ranks, const std::string& arguments, const std::string& environment) {
  return shell(fmt::format("env {} {} {} --oversubscribe --bind-to none -n {} '{}' {}", environment, MOTLEY_MPIEXEC,
                           geteuid() == 0 ? "--allow-run-as-root" : "", ranks, MOTLEY_PROGRAM, arguments));
}

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void write_text(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "motley-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) {
    throw std::runtime_error("no temporary folder");
  }
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace motley
