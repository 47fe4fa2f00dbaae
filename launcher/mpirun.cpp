#include "motley/launcher/mpirun.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "motley/base/error.h"
#include "motley/base/log.h"

namespace motley {

namespace {

/// Signals that end a program, and SIGCHLD, wait for next() while this exists.
class SignalsHeld {
 public:
  SignalsHeld() {
    sigemptyset(&set_);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) {
      sigaddset(&set_, signal);
    }
    pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~SignalsHeld() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;

  [[nodiscard]] int next() const {
    int signal = SIGCHLD;
    sigwait(&set_, &signal);
    return signal;
  }
  [[nodiscard]] const sigset_t& before() const { return before_; }

 private:
  sigset_t set_;
  sigset_t before_;
};

}  // namespace

MpiOutcome run_under_mpi(int ranks, const std::string& program, const std::vector<std::string>& arguments) {
  // Ranks are more than cores on purpose on a test machine; binding them would put two on one core and leave another
  // idle.
  std::vector<std::string> command{"mpirun", "--quiet", "--oversubscribe",    "--bind-to",
                                   "none",   "-n",      std::to_string(ranks)};
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
  // mpirun gets a process group of its own: Ctrl-C comes here first and asks for an orderly end.
  const SignalsHeld held;
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setsigmask(&attributes, &held.before());
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  // A background group must not read the terminal.
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, "mpirun", &files, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) {
    throw Fault::of("mpirun cannot be started: {} (scripts/setup installs Open MPI)", std::strerror(failed));
  }
  MpiOutcome outcome;
  while (true) {
    int status = 0;
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended < 0 && errno != EINTR) {
      throw Fault::of("waiting for mpirun: {}", std::strerror(errno));
    }
    if (ended == child) {
      outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
      return outcome;
    }
    const int signal = held.next();
    if (signal == SIGINT && !outcome.interrupted) {
      spdlog::warn("asking the ranks to stop after this step; Ctrl-C again ends them at once");
      outcome.interrupted = true;
      kill(child, SIGUSR1);
    } else if (signal != SIGCHLD) {
      outcome.interrupted = true;
      kill(child, SIGTERM);
    }
  }
}

std::optional<int> rank_under_mpirun() {
  const char* rank = std::getenv("PMIX_RANK");
  return rank == nullptr ? std::nullopt : std::optional(static_cast<int>(std::strtol(rank, nullptr, 10)));
}

std::size_t watching_columns() {
  const std::size_t own = terminal_columns(STDERR_FILENO);
  if (own > 0 || !rank_under_mpirun()) {
    return own;
  }
  const std::string theirs = fmt::format("/proc/{}/fd/{}", getppid(), STDERR_FILENO);
  const int descriptor = open(theirs.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (descriptor < 0) {
    return 0;
  }
  const std::size_t columns = terminal_columns(descriptor);
  close(descriptor);
  return columns;
}

}  // namespace motley
