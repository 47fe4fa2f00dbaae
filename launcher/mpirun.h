#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace motley {

struct MpiOutcome {
  int exit_code = 0;
  bool interrupted = false;  ///< by a signal to this process
};

/// Runs `program arguments...` on `ranks` ranks under mpirun and waits. stdout and stderr pass through. The first
/// Ctrl-C (SIGINT) asks the ranks to end in order (SIGUSR1), a second one and SIGTERM end them. Throws Fault when
/// mpirun cannot be started.
MpiOutcome run_under_mpi(int ranks, const std::string& program, const std::vector<std::string>& arguments);

/// Columns of the terminal that shows this process's stderr, 0 where none does. mpirun gives its ranks pipes, so a rank
/// on mpirun's own host looks at mpirun's stderr.
[[nodiscard]] std::size_t watching_columns();

}  // namespace motley
