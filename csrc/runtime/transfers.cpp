#include "motley/runtime/transfers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "motley/base/error.h"
#include "motley/workloads/tensor_types.h"

namespace motley {
namespace {

std::span<std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()};
}

}  // namespace

Transfers::Transfers(Communicator& communicator, Timeline& timeline, int stages, int micro_batches)
    : communicator_(communicator),
      timeline_(timeline),
      micro_batches_(micro_batches),
      slots_(2 * static_cast<std::size_t>(stages) * static_cast<std::size_t>(micro_batches)) {}

bool Transfers::Transfer::done() const {
  return std::all_of(works.begin(), works.end(), [](const Work& work) { return work.done(); });
}

Transfers::Transfer& Transfers::slot(const Handover& what) {
  const int place = what.stage * micro_batches_ + what.micro_batch;
  return slots_.at(2 * static_cast<std::size_t>(place) + (what.pass == Handover::Pass::Forward ? 0 : 1));
}

void Transfers::put(const Handover& what, TensorList tensors) {
  Transfer& here = slot(what);
  MOTLEY_CHECK(here.state == State::Empty, "stage {} is handed micro-batch {} twice", what.stage, what.micro_batch);
  here.state = State::Made;
  here.tensors = std::move(tensors);
  ++filled_;
}

void Transfers::send(const Handover& what, int peer, const std::string& label) {
  reap();
  Transfer& made = slot(what);
  MOTLEY_CHECK(made.state == State::Made, "{}: nothing was made to send", label);
  // In place before the first work is posted: what throws from here on must not free a buffer that is being read.
  if (leaving_count_ == leaving_.size()) {
    leaving_.emplace_back();
  }
  Transfer& transfer = leaving_[leaving_count_++];
  transfer.label = &label;
  transfer.peer = peer;
  transfer.tensors = std::move(made.tensors);
  made.state = State::Empty;
  --filled_;
  transfer.works.reserve(transfer.tensors.size());
  for (const at::Tensor& tensor : transfer.tensors) {
    MOTLEY_CHECK(tensor.is_contiguous(), "{}: a stage's tensors are contiguous", label);
    transfer.works.push_back(communicator_.to(peer).send(bytes_of(tensor), label));
  }
}

void Transfers::receive(const Handover& what, int peer, const Boundary& boundary, std::int64_t samples,
                        const std::string& label) {
  Transfer& transfer = slot(what);
  MOTLEY_CHECK(transfer.state == State::Empty, "{}: posted twice", label);
  transfer.state = State::Arriving;
  ++filled_;
  transfer.label = &label;
  transfer.peer = peer;
  transfer.tensors.reserve(boundary.size());
  for (const TensorSpec& spec : boundary) {
    if (what.pass == Handover::Pass::Backward && !spec.has_gradient) {
      continue;
    }
    c10::SmallVector<std::int64_t, 6> shape{samples};
    shape.append(spec.shape.begin(), spec.shape.end());
    transfer.tensors.push_back(at::empty(shape, at::TensorOptions().dtype(scalar_type(spec.dtype))));
  }
  transfer.works.reserve(transfer.tensors.size());
  for (const at::Tensor& tensor : transfer.tensors) {
    transfer.works.push_back(communicator_.from(peer).receive(bytes_of(tensor), label));
  }
}

TensorList Transfers::take(const Handover& what, const std::string& consumer) {
  Transfer& here = slot(what);
  MOTLEY_CHECK(here.state != State::Empty, "{} has no input: nobody made it here and no receive is posted", consumer);
  if (here.state == State::Arriving) {
    wait(here);
    here.works.clear();
  }
  here.state = State::Empty;
  --filled_;
  return std::exchange(here.tensors, {});
}

void Transfers::wait(Transfer& transfer) {
  const bool was_done = transfer.done();
  const Seconds start = was_done ? Seconds{} : communicator_.now();
  for (Work& work : transfer.works) {
    work.wait();
  }
  if (!was_done) {
    timeline_.waited(*transfer.label, start, communicator_.now());
  }
}

void Transfers::book(const Transfer& transfer) {
  if (!transfer.works.empty()) {
    Bytes bytes;
    for (const at::Tensor& tensor : transfer.tensors) {
      bytes += Bytes{static_cast<std::int64_t>(tensor.nbytes())};
    }
    timeline_.sent(*transfer.label, transfer.peer, bytes, transfer.works.front().started(),
                   transfer.works.back().finished());
  }
}

void Transfers::reap() {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < leaving_count_; ++i) {
    Transfer& transfer = leaving_[i];
    if (transfer.done()) {
      wait(transfer);  // throws what failed it
      book(transfer);
      transfer.tensors.clear();
      transfer.works.clear();
    } else {
      std::swap(leaving_[kept++], transfer);
    }
  }
  leaving_count_ = kept;
}

void Transfers::finish() {
  for (std::size_t i = 0; i < leaving_count_; ++i) {
    wait(leaving_[i]);
  }
  reap();
  MOTLEY_CHECK(filled_ == 0, "{} lists of tensors were made or received and not taken", filled_);
}

}  // namespace motley
