#include "motley/comm/communicator.h"

#include <algorithm>
#include <exception>

#include "motley/base/error.h"
#include "motley/comm/detail/clock.h"
#include "motley/comm/detail/endpoint.h"
#include "motley/comm/detail/group_state.h"

namespace motley {
namespace {

// FNV-1a (Fowler, Noll, Vo), so that two ranks can tell whether they mean the same group.
std::uint64_t fingerprint(const std::vector<int>& ranks) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const int rank : ranks) {
    hash ^= static_cast<std::uint64_t>(rank) + 1;
    hash *= 0x100000001b3;
  }
  return hash;
}

std::vector<int> all_ranks(int size) {
  std::vector<int> ranks(static_cast<std::size_t>(size));
  for (int rank = 0; rank < size; ++rank) ranks[static_cast<std::size_t>(rank)] = rank;
  return ranks;
}

}  // namespace

Communicator::Communicator(std::shared_ptr<Endpoint> endpoint)
    : endpoint_(std::move(endpoint)), exceptions_at_start_(std::uncaught_exceptions()) {
  std::vector<Link*> links;
  for (int peer = 0; peer < size(); ++peer) {
    links.push_back(peer == rank() ? nullptr : &endpoint_->open_link(peer, 0));
  }
  for (int peer = 0; peer < size(); ++peer) {
    // The own entry only keeps the index; to() and from() refuse it.
    Link* link = links[static_cast<std::size_t>(peer)];
    to_.emplace_back(endpoint_.get(), link, peer, true);
    from_.emplace_back(endpoint_.get(), link, peer, false);
  }
  world_ = group(all_ranks(size()));
}

Communicator::~Communicator() {
  endpoint_->close(endpoint_->options().transport == "mpi", std::uncaught_exceptions() > exceptions_at_start_);
}

int Communicator::rank() const {
  return endpoint_->rank();
}

int Communicator::size() const {
  return endpoint_->size();
}

int Communicator::local_rank() const {
  return endpoint_->local_rank();
}

Channel& Communicator::to(int peer) {
  MOTLEY_CHECK(peer >= 0 && peer < size() && peer != rank(), "channel from rank {} to rank {}", rank(), peer);
  return to_[static_cast<std::size_t>(peer)];
}

Channel& Communicator::from(int peer) {
  MOTLEY_CHECK(peer >= 0 && peer < size() && peer != rank(), "channel from rank {} to rank {}", peer, rank());
  return from_[static_cast<std::size_t>(peer)];
}

Group& Communicator::world() {
  return *world_;
}

std::unique_ptr<Group> Communicator::group(std::vector<int> ranks) {
  std::sort(ranks.begin(), ranks.end());
  const bool distinct = std::adjacent_find(ranks.begin(), ranks.end()) == ranks.end();
  const auto own = std::find(ranks.begin(), ranks.end(), rank());
  MOTLEY_CHECK(distinct && own != ranks.end() && ranks.front() >= 0 && ranks.back() < size(),
               "a group of rank {} needs distinct ranks below {}, its own among them", rank(), size());
  const auto index = static_cast<std::size_t>(own - ranks.begin());
  const std::uint64_t members = fingerprint(ranks);
  std::vector<Link*> links;
  for (const int peer : ranks) {
    links.push_back(peer == rank() ? nullptr : &endpoint_->open_link(peer, members));
  }
  return std::make_unique<Group>(std::make_shared<GroupState>(*endpoint_, std::move(ranks), index, std::move(links)));
}

void Communicator::set_progress(std::string_view action, bool waiting, int waiting_for) {
  endpoint_->progress().set(action, waiting, waiting_for);
}

void Communicator::abort(const std::string& reason) {
  endpoint_->abort(reason);
}

void Communicator::abort(const std::exception& error) {
  endpoint_->abort(message_of(error), dynamic_cast<const InputError*>(&error) != nullptr);
}

void Communicator::end_late(std::string_view what, int peer, Seconds waited) {
  endpoint_->end_late(what, peer, waited);
}

const CommOptions& Communicator::options() const {
  return endpoint_->options();
}

std::function<void(Seconds, const std::string&)> Communicator::aborter() const {
  return [weak = std::weak_ptr(endpoint_)](Seconds patience, const std::string& reason) {
    if (const auto endpoint = weak.lock()) endpoint->abort_within(patience, reason);
  };
}

bool Communicator::failed() const {
  return endpoint_->failed();
}

std::string Communicator::failure() const {
  return endpoint_->failure_state()->cause();
}

std::shared_ptr<const FailureState> Communicator::failure_state() const {
  return endpoint_->failure_state();
}

CommStatistics Communicator::statistics() const {
  return endpoint_->statistics();
}

Seconds Communicator::now() const {
  return steady_now();
}

}  // namespace motley
