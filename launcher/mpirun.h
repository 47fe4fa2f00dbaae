#pragma once

#include <string>
#include <vector>

namespace motley {

/// Runs `program arguments...` on `ranks` ranks under mpirun and waits. stdout and stderr pass through. Returns the
/// exit code. Throws Fault when mpirun cannot be started.
int run_under_mpi(int ranks, const std::string& program, const std::vector<std::string>& arguments);

}  // namespace motley
