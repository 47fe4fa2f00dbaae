#pragma once

#include <optional>
#include <string>

namespace motley {

/// How many processes mpirun started. Starts MPI.
[[nodiscard]] int started_ranks();

/// Why a process cannot take part in a run, and the exit code that says so.
struct Refusal {
  std::string text;
  int exit_code = 1;
};

/// The lowest rank's refusal, on every rank, headed by that rank where others could start; nullopt: all can. Collective
/// over MPI_COMM_WORLD, before connect(); starts MPI. A file that is wrong mostly is so for every rank: one line about
/// it is enough.
[[nodiscard]] std::optional<Refusal> agree_to_start(const std::optional<Refusal>& mine);

/// Waits for all ranks after a refusal: mpirun ends the others once one has left, and one of them still has to speak.
void leave_together();

/// Ends MPI, which waits for all ranks, now and not when the process exits: SignalWatch::limit_end() still guards it.
/// Nothing of MPI may be used any more; without effect where MPI never began or a run failed.
void end_mpi_together();

}  // namespace motley
