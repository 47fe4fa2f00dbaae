#include "motley/comm/detail/mpi_process.h"
#include "motley/comm/communicator.h"

#include <mpi.h>

#include <atomic>
#include <cstdlib>
#include <exception>

#include "motley/comm/comm_error.h"

namespace motley {
namespace {

// MPI is process-wide and so is what decides on its end.
std::atomic<int> holds{0};
std::atomic<bool> run_failed{false};

}  // namespace

void end_mpi() {
  int running = 0;
  int ended = 0;
  MPI_Initialized(&running);
  MPI_Finalized(&ended);
  if (running != 0 && ended == 0 && holds == 0 && !run_failed) MPI_Finalize();
}

MpiProcess::MpiProcess() {
  int ended = 0;
  MPI_Finalized(&ended);
  if (ended != 0) throw CommError("MPI has already been ended in this process");
  int running = 0;
  MPI_Initialized(&running);
  int threads = MPI_THREAD_SINGLE;
  if (running == 0) {
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &threads);
    std::atexit(end_mpi);
  } else {
    MPI_Query_thread(&threads);
  }
  if (threads < MPI_THREAD_SERIALIZED) {
    throw CommError("MPI must allow calls from more than one thread (MPI_THREAD_SERIALIZED)");
  }
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  ++holds;
}

MpiProcess::~MpiProcess() {
  if (std::uncaught_exceptions() > 0 || (run_ && run_->failed())) run_failed = true;
  --holds;
}

std::string mpi_version() {
  std::string text(MPI_MAX_LIBRARY_VERSION_STRING, '\0');
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  text.resize(static_cast<std::size_t>(length));
  return text.substr(0, text.find_first_of(",\n"));
}

}  // namespace motley

#ifdef __SANITIZE_ADDRESS__
// LeakSanitizer asks before it looks. Open MPI keeps what it allocated and has unloaded its parts by then, so that no
// suppression could name them.
extern "C" int __lsan_is_turned_off() {  // NOLINT(bugprone-reserved-identifier): the sanitizer's name
  int started = 0;
  MPI_Initialized(&started);
  return started;
}
#endif
