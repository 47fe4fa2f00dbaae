#pragma once

#include <memory>
#include <utility>

#include "motley/comm/failure_state.h"

namespace motley {

/// A communicator's hold on this process's MPI, which is one for the whole process by its own design.
///
/// The first hold starts MPI when nobody did; MPI then ends as the process exits, provided that no run failed and no
/// hold is left, for MPI_Finalize waits for every rank. Else the process leaves without it, which makes mpirun end the
/// others.
class MpiProcess {
 public:
  /// Throws CommError when MPI does not allow calls from a thread of ours, or has ended.
  MpiProcess();
  ~MpiProcess();
  MpiProcess(const MpiProcess&) = delete;
  MpiProcess& operator=(const MpiProcess&) = delete;

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }

  /// When this run has failed by the end of the hold, or an exception ends the hold, MPI is not ended any more.
  void watch(std::shared_ptr<const FailureState> run) { run_ = std::move(run); }

 private:
  std::shared_ptr<const FailureState> run_;
  int rank_ = 0;
  int size_ = 1;
};

/// Ends MPI where it runs, nobody holds it and no run failed. Waits for every rank. Done when the process exits, else.
void end_mpi();

}  // namespace motley
