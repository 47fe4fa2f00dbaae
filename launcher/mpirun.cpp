#include "motley/launcher/mpirun.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "motley/base/error.h"

extern char** environ;

namespace motley {

int run_under_mpi(int ranks, const std::string& program, const std::vector<std::string>& arguments) {
  // Ranks are more than cores on purpose on a test machine; binding them would put two on one core and leave another
  // idle.
  std::vector<std::string> command{"mpirun", "--oversubscribe", "--bind-to", "none", "-n", std::to_string(ranks)};
  if (geteuid() == 0) {
    command.insert(command.begin() + 1, "--allow-run-as-root");
  }
  const bool found_by_path = program.find('/') != std::string::npos;
  command.push_back(found_by_path ? std::filesystem::absolute(program).string() : program);
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (std::string& word : command) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, "mpirun", nullptr, nullptr, argv.data(), environ);
  if (failed != 0) {
    throw Fault::of("mpirun cannot be started: {} (scripts/setup installs Open MPI)", std::strerror(failed));
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      throw Fault::of("waiting for mpirun: {}", std::strerror(errno));
    }
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace motley
