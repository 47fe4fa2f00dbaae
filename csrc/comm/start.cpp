#include "motley/comm/start.h"

#include <fmt/format.h>
#include <mpi.h>

#include <vector>

#include "motley/comm/detail/mpi_process.h"

namespace motley {

int started_ranks() {
  return MpiProcess().size();
}

std::optional<Refusal> agree_to_start(const std::optional<Refusal>& mine) {
  const MpiProcess mpi;
  const std::vector<int> here{mine ? 1 : 0, mine ? mine->exit_code : 0, mine ? static_cast<int>(mine->text.size()) : 0};
  std::vector<int> all(here.size() * static_cast<std::size_t>(mpi.size()));
  const int count = static_cast<int>(here.size());
  MPI_Allgather(here.data(), count, MPI_INT, all.data(), count, MPI_INT, MPI_COMM_WORLD);
  std::vector<int> refusing;
  for (int rank = 0; rank < mpi.size(); ++rank) {
    if (all[static_cast<std::size_t>(rank) * here.size()] != 0) refusing.push_back(rank);
  }
  if (refusing.empty()) return std::nullopt;
  const int lowest = refusing.front();
  const int* said = all.data() + static_cast<std::ptrdiff_t>(lowest) * count;
  std::string text = lowest == mpi.rank() ? mine->text : std::string(static_cast<std::size_t>(said[2]), ' ');
  MPI_Bcast(text.data(), said[2], MPI_CHAR, lowest, MPI_COMM_WORLD);
  const bool all_refuse = static_cast<int>(refusing.size()) == mpi.size();
  return Refusal{all_refuse ? text : fmt::format("rank {}: {}", lowest, text), said[1]};
}

void leave_together() {
  const MpiProcess mpi;
  MPI_Barrier(MPI_COMM_WORLD);
}

void end_mpi_together() {
  end_mpi();
}

}  // namespace motley
