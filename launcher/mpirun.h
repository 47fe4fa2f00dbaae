#pragma once

#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <vector>

namespace motley {

struct MpiOutcome {
  int exit_code = 0;
  bool interrupted = false;  ///< by a signal to this process
};

/// Runs `program arguments...` on `ranks` ranks under mpirun and waits. stdout and stderr pass through; mpirun's own
/// banners about ranks that failed are left out, since a rank tells. The first
/// Ctrl-C (SIGINT) asks the ranks to end in order (SIGUSR1), a second one and SIGTERM end them. Throws Fault when
/// mpirun cannot be started.
MpiOutcome run_under_mpi(int ranks, const std::string& program, const std::vector<std::string>& arguments);

/// Ranks ended with this exit code, and one of them said why on stderr.
class RanksFailed : public std::exception {
 public:
  explicit RanksFailed(int exit_code) : exit_code_(exit_code) {}
  [[nodiscard]] int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

/// This process's rank, where mpirun (or another starter that speaks PMIx) started it.
[[nodiscard]] std::optional<int> rank_under_mpirun();

/// Columns of the terminal that shows this process's stderr, 0 where none does. mpirun gives its ranks pipes, so a rank
/// on mpirun's own host looks at mpirun's stderr.
[[nodiscard]] std::size_t watching_columns();

}  // namespace motley
