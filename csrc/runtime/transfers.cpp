#include "motley/runtime/transfers.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "motley/base/error.h"
#include "motley/workloads/tensor_types.h"

namespace motley {
namespace {

std::span<std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()};
}

}  // namespace

bool Transfers::Transfer::done() const {
  return std::all_of(works.begin(), works.end(), [](const Work& work) { return work.done(); });
}

void Transfers::put(const Handover& what, TensorList tensors) {
  const bool fresh = made_.emplace(what, std::move(tensors)).second;
  MOTLEY_CHECK(fresh, "stage {} is handed micro-batch {} twice", what.stage, what.micro_batch);
}

void Transfers::send(const Handover& what, int peer, const std::string& label) {
  reap();
  const auto found = made_.find(what);
  MOTLEY_CHECK(found != made_.end(), "{}: nothing was made to send", label);
  // In place before the first work is posted: what throws from here on must not free a buffer that is being read.
  Transfer& transfer = leaving_.emplace_back(Transfer{&label, peer, std::move(found->second), {}});
  made_.erase(found);
  transfer.works.reserve(transfer.tensors.size());
  for (const at::Tensor& tensor : transfer.tensors) {
    MOTLEY_CHECK(tensor.is_contiguous(), "{}: a stage's tensors are contiguous", label);
    transfer.works.push_back(communicator_.to(peer).send(bytes_of(tensor), label));
  }
}

void Transfers::receive(const Handover& what, int peer, const Boundary& boundary, std::int64_t samples,
                        const std::string& label) {
  const auto [place, fresh] = arriving_.emplace(what, Transfer{&label, peer, {}, {}});
  MOTLEY_CHECK(fresh, "{}: posted twice", label);
  Transfer& transfer = place->second;
  for (const TensorSpec& spec : boundary) {
    if (what.pass == Handover::Pass::Backward && !spec.has_gradient) {
      continue;
    }
    std::vector<std::int64_t> shape{samples};
    shape.insert(shape.end(), spec.shape.begin(), spec.shape.end());
    transfer.tensors.push_back(at::empty(shape, at::TensorOptions().dtype(scalar_type(spec.dtype))));
  }
  transfer.works.reserve(transfer.tensors.size());
  for (const at::Tensor& tensor : transfer.tensors) {
    transfer.works.push_back(communicator_.from(peer).receive(bytes_of(tensor), label));
  }
}

TensorList Transfers::take(const Handover& what, const std::string& consumer) {
  if (const auto made = made_.find(what); made != made_.end()) {
    TensorList tensors = std::move(made->second);
    made_.erase(made);
    return tensors;
  }
  const auto found = arriving_.find(what);
  MOTLEY_CHECK(found != arriving_.end(), "{} has no input: nobody made it here and no receive is posted", consumer);
  wait(found->second);
  TensorList tensors = std::move(found->second.tensors);
  arriving_.erase(found);
  return tensors;
}

void Transfers::wait(Transfer& transfer) {
  const bool was_done = transfer.done();
  const Seconds start = communicator_.now();
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
  std::erase_if(leaving_, [this](Transfer& transfer) {
    if (!transfer.done()) {
      return false;
    }
    wait(transfer);  // throws what failed it
    book(transfer);
    return true;
  });
}

void Transfers::finish() {
  for (Transfer& transfer : leaving_) {
    wait(transfer);
    book(transfer);
  }
  leaving_.clear();
  MOTLEY_CHECK(made_.empty() && arriving_.empty(), "{} tensors made and {} received were not taken", made_.size(),
               arriving_.size());
}

}  // namespace motley
