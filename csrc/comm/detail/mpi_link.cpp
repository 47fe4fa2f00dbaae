#include "motley/comm/detail/mpi_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <climits>
#include <utility>

#include "motley/comm/comm_error.h"
#include "motley/comm/detail/clock.h"
#include "motley/comm/detail/endpoint.h"
#include "motley/comm/detail/mismatch.h"

namespace motley {
namespace {

constexpr Seconds kBetweenTests{200e-6};

/// MPI counts in int: a larger payload is described by one type of whole chunks and a remainder.
class PayloadType {
 public:
  explicit PayloadType(std::size_t size) {
    if (size <= INT_MAX) {
      count_ = static_cast<int>(size);
      return;
    }
    constexpr std::size_t kChunk = std::size_t{1} << 20;
    MPI_Datatype chunk = MPI_DATATYPE_NULL;
    MPI_Type_contiguous(static_cast<int>(kChunk), MPI_BYTE, &chunk);
    const std::array<int, 2> lengths{static_cast<int>(size / kChunk), static_cast<int>(size % kChunk)};
    const std::array<MPI_Aint, 2> offsets{0, static_cast<MPI_Aint>(size - size % kChunk)};
    const std::array<MPI_Datatype, 2> types{chunk, MPI_BYTE};
    MPI_Type_create_struct(2, lengths.data(), offsets.data(), types.data(), &type_);
    MPI_Type_commit(&type_);
    MPI_Type_free(&chunk);
    count_ = 1;
    owned_ = true;
  }
  ~PayloadType() {
    if (owned_) MPI_Type_free(&type_);
  }
  PayloadType(const PayloadType&) = delete;
  PayloadType& operator=(const PayloadType&) = delete;

  [[nodiscard]] int count() const { return count_; }
  [[nodiscard]] MPI_Datatype type() const { return type_; }

 private:
  MPI_Datatype type_ = MPI_BYTE;
  int count_ = 0;
  bool owned_ = false;
};

}  // namespace

MpiTransport::MpiTransport(Endpoint& endpoint) : endpoint_(endpoint), timer_(endpoint.io()) {
  if (MPI_Comm_dup(MPI_COMM_WORLD, &comm_) != MPI_SUCCESS) throw CommError("MPI_Comm_dup failed");
  MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
}

std::unique_ptr<Link> MpiTransport::open(int peer, std::uint32_t stream, std::uint64_t) {
  return std::make_unique<MpiLink>(endpoint_, *this, peer, stream);
}

void MpiTransport::close() {
  if (comm_ != MPI_COMM_NULL) MPI_Comm_free(&comm_);
}

void MpiTransport::attend(MpiLink& link) {
  if (std::find(busy_.begin(), busy_.end(), &link) == busy_.end()) busy_.push_back(&link);
  // Else poll() comes to it.
  if (advancing_) return;
  advancing_ = true;
  link.advance();
  advancing_ = false;
  poll_later();
}

void MpiTransport::poll() {
  advancing_ = true;
  // By index: a collective that goes on while a link advances may add links.
  for (std::size_t i = 0; i < busy_.size();) {
    if (busy_[i]->advance()) {
      ++i;
    } else {
      busy_.erase(busy_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  advancing_ = false;
  if (!busy_.empty()) poll_later();
}

void MpiTransport::poll_later() {
  if (waiting_) return;
  waiting_ = true;
  timer_.expires_after(to_duration(kBetweenTests));
  timer_.async_wait([this](const boost::system::error_code& error) {
    waiting_ = false;
    if (!error) poll();
  });
}

MpiLink::MpiLink(Endpoint& endpoint, MpiTransport& transport, int peer, std::uint32_t stream)
    : endpoint_(endpoint), transport_(transport), peer_(peer), tag_(static_cast<int>(stream) * 2) {}

bool MpiLink::complete(MPI_Request& request) {
  int done = 0;
  if (const int error = MPI_Test(&request, &done, MPI_STATUS_IGNORE); error != MPI_SUCCESS) {
    std::string text(MPI_MAX_ERROR_STRING, '\0');
    int length = 0;
    MPI_Error_string(error, text.data(), &length);
    text.resize(static_cast<std::size_t>(length));
    endpoint_.fail(fmt::format("rank {} could not exchange data with rank {}: {}", endpoint_.rank(), peer_, text));
    return false;
  }
  return done != 0;
}

void MpiLink::send(std::shared_ptr<WorkState> work) {
  if (failed_) return work->fail(failure_);
  Outgoing& outgoing = sends_.emplace_back();
  outgoing.work = std::move(work);
  outgoing.header.kind = outgoing.work->kind;
  outgoing.header.size = outgoing.work->data.size();
  outgoing.header.label = outgoing.work->label;
  outgoing.slot.begin = steady_now();
  if (Pacer* pacer = endpoint_.pacer_to(peer_)) {
    outgoing.slot = pacer->reserve(outgoing.work->posted, {static_cast<std::int64_t>(outgoing.work->data.size())});
    outgoing.paced = true;
    outgoing.work->on_link = true;
    endpoint_.note_activity(peer_, outgoing.slot.end);
  }
  transport_.attend(*this);
}

void MpiLink::receive(std::shared_ptr<WorkState> work) {
  if (failed_) return work->fail(failure_);
  Incoming& incoming = receives_.emplace_back();
  incoming.work = std::move(work);
  const std::span<std::byte> into = incoming.work->into;
  MPI_Irecv(&incoming.header, sizeof(MessageHeader), MPI_BYTE, peer_, tag_, transport_.comm(),
            &incoming.header_request);
  const PayloadType type(into.size());
  MPI_Irecv(into.data(), type.count(), type.type(), peer_, tag_, transport_.comm(), &incoming.request);
  transport_.attend(*this);
}

bool MpiLink::send_moved_on() {
  Outgoing& outgoing = sends_.front();
  const Seconds now = steady_now();
  if (!outgoing.posted) {
    if (outgoing.slot.begin > now) return false;
    outgoing.posted = true;
    outgoing.work->started = outgoing.paced ? outgoing.slot.begin : now;
    if (outgoing.paced) outgoing.header.hold = std::max((outgoing.slot.end - now).value, 1e-9);
    MPI_Isend(&outgoing.header, sizeof(MessageHeader), MPI_BYTE, peer_, tag_, transport_.comm(),
              &outgoing.header_request);
    const std::span<const std::byte> data = outgoing.work->data;
    const PayloadType type(data.size());
    MPI_Isend(data.data(), type.count(), type.type(), peer_, tag_, transport_.comm(), &outgoing.request);
  }
  if (!outgoing.sent) {
    if (!complete(outgoing.header_request) || !complete(outgoing.request)) return false;
    outgoing.sent = true;
  }
  if (outgoing.paced) {
    if (!outgoing.releasing) {
      if (outgoing.slot.end > now) return false;
      outgoing.releasing = true;
      MPI_Isend(nullptr, 0, MPI_BYTE, peer_, tag_ + 1, transport_.comm(), &outgoing.release_request);
    }
    if (!complete(outgoing.release_request)) return false;
  }
  const std::shared_ptr<WorkState> work = std::move(outgoing.work);
  sends_.pop_front();
  endpoint_.note_activity(peer_, now);
  endpoint_.count_sent(peer_, work->data.size());
  work->complete(steady_now());
  return true;
}

bool MpiLink::receive_moved_on() {
  Incoming& incoming = receives_.front();
  if (!incoming.header_here) {
    if (!complete(incoming.header_request)) return false;
    incoming.header_here = true;
    incoming.work->started = steady_now();
    incoming.work->on_link = incoming.header.hold <= 0.0;
    if (const std::string wrong = mismatch(incoming.header, *incoming.work, peer_, endpoint_.rank()); !wrong.empty()) {
      endpoint_.fail(wrong);
      return false;
    }
    endpoint_.note_activity(peer_, steady_now() + Seconds{incoming.header.hold});
    if (incoming.header.hold > 0.0) {
      incoming.waits_for_release = true;
      MPI_Irecv(nullptr, 0, MPI_BYTE, peer_, tag_ + 1, transport_.comm(), &incoming.release_request);
    }
  }
  if (!complete(incoming.request)) return false;
  if (incoming.waits_for_release && !complete(incoming.release_request)) return false;
  const std::shared_ptr<WorkState> work = std::move(incoming.work);
  receives_.pop_front();
  endpoint_.note_activity(peer_, steady_now());
  endpoint_.count_received(peer_, work->into.size());
  work->complete(steady_now());
  return true;
}

bool MpiLink::advance() {
  while (!failed_ && !sends_.empty() && send_moved_on()) {
  }
  while (!failed_ && !receives_.empty() && receive_moved_on()) {
  }
  return !failed_ && (!sends_.empty() || !receives_.empty());
}

void MpiLink::fail(const std::string& reason) {
  if (failed_) return;
  failed_ = true;
  failure_ = reason;
  // The requests stay as they are: MPI moves nothing unless it is called, and it is not called again.
  const auto sends = std::exchange(sends_, {});
  const auto receives = std::exchange(receives_, {});
  for (const Outgoing& outgoing : sends) outgoing.work->fail(reason);
  for (const Incoming& incoming : receives) incoming.work->fail(reason);
}

}  // namespace motley
