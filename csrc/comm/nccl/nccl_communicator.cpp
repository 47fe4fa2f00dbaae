#include "motley/comm/nccl/nccl_communicator.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>

#include "motley/base/error.h"
#include "motley/comm/failure_state.h"

namespace motley {
namespace {

// NCCL often notices that a rank is gone before its control connection tells who and why.
constexpr Seconds kHostKnowsBetter{0.3};

std::string words(const NcclApi& api, int error, NcclComm comm) {
  const char* const detail = api.ncclGetLastError(comm);
  const bool more = detail != nullptr && detail[0] != '\0';
  return fmt::format("{} (NCCL error {}){}{}", api.ncclGetErrorString(error), error, more ? ": " : "",
                     more ? detail : "");
}

[[noreturn]] void end_run(Communicator& host, const std::string& reason) {
  if (!host.failure_state()->wait_for(kHostKnowsBetter)) host.abort(reason);
  throw CommError(host.failure());
}

}  // namespace

NcclUniqueId NcclCommunicator::new_id(const NcclSite& site) {
  site.device.use();
  NcclUniqueId id;
  if (const int error = site.api.ncclGetUniqueId(&id); error != kNcclSuccess) {
    end_run(site.host, fmt::format("NCCL gives no id: {}", words(site.api, error, nullptr)));
  }
  return id;
}

NcclCommunicator::NcclCommunicator(const NcclSite& site, std::string name, const NcclUniqueId& id, int size, int rank)
    : site_(site), name_(std::move(name)) {
  NcclConfig config;
  config.blocking = 0;
  config.min_ctas = 1;
  config.max_ctas = kMostCtas;
  site_.device.use();
  const int error = site_.api.ncclCommInitRankConfig(&comm_, size, id, rank, &config);
  try {
    if (error != kNcclSuccess && error != kNcclInProgress) fail("connecting", error);
    poll("connecting");
  } catch (...) {
    abort();
    throw;
  }
}

NcclCommunicator::~NcclCommunicator() {
  if (comm_ == nullptr) return;
  try {
    if (!site_.host.failed()) end_in_order();
  } catch (const std::exception&) {
    abort();  // the run has failed by now, which is told where it is waited for
  }
  abort();
}

void NcclCommunicator::end_in_order() {
  site_.device.use();
  const int error = site_.api.ncclCommFinalize(comm_);
  if (error != kNcclSuccess && error != kNcclInProgress) fail("ending", error);
  poll("ending");
  const std::lock_guard lock(mutex_);
  (void)site_.api.ncclCommDestroy(comm_);
  comm_ = nullptr;
}

int NcclCommunicator::state() {
  const std::lock_guard lock(mutex_);
  if (comm_ == nullptr) return kNcclInProgress;  // aborted: the host knows why
  int state = kNcclSuccess;
  const int error = site_.api.ncclCommGetAsyncError(comm_, &state);
  return error == kNcclSuccess ? state : error;
}

void NcclCommunicator::poll(std::string_view what) {
  const Seconds begun = site_.host.now();
  for (auto pause = std::chrono::microseconds(5);; pause = std::min(2 * pause, std::chrono::microseconds(1000))) {
    if (site_.host.failed()) throw CommError(site_.host.failure());
    const int now = state();
    if (now == kNcclSuccess) return;
    if (now != kNcclInProgress) fail(what, now);
    const Seconds waited = site_.host.now() - begun;
    if (waited > site_.host.options().deadline) {
      end_run(site_.host, fmt::format("NCCL, {}: {} took more than {:.1f} s", name_, what, waited.value));
    }
    std::this_thread::sleep_for(pause);
  }
}

void NcclCommunicator::fail(std::string_view what, int error) {
  std::string reason;
  {
    const std::lock_guard lock(mutex_);
    reason = fmt::format("NCCL, {}: {}: {}", name_, what, words(site_.api, error, comm_));
  }
  end_run(site_.host, reason);
}

void NcclCommunicator::group(std::string_view label, std::span<const Call> calls) {
  if (site_.host.failed()) throw CommError(site_.host.failure());
  site_.device.use();
  int error = kNcclSuccess;
  {
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) throw CommError(site_.host.failure());
    error = site_.api.ncclGroupStart();
    for (const Call& call : calls) {
      const int refused = call(site_.api, comm_);
      if (refused != kNcclSuccess && refused != kNcclInProgress && error == kNcclSuccess) error = refused;
    }
    const int ended = site_.api.ncclGroupEnd();  // in any case: the start must not stay open
    if (error == kNcclSuccess && ended != kNcclInProgress) error = ended;
  }
  if (error != kNcclSuccess) fail(label, error);
  poll(label);
}

void NcclCommunicator::check() {
  const int now = state();
  if (now == kNcclSuccess || now == kNcclInProgress || site_.host.failed()) return;
  try {
    fail("watched", now);
  } catch (const CommError&) {
    abort();  // whoever waits throws it
  }
}

void NcclCommunicator::abort() {
  const std::lock_guard lock(mutex_);
  if (comm_ == nullptr) return;
  (void)site_.api.ncclCommAbort(comm_);
  comm_ = nullptr;
}

}  // namespace motley
