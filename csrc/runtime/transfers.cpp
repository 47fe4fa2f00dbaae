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

/// Of a message in several parts.
template <typename Byte>
Bytes total_of(const std::vector<std::span<Byte>>& parts) {
  Bytes total;
  for (const std::span<Byte> part : parts) {
    total += Bytes{static_cast<std::int64_t>(part.size())};
  }
  return total;
}

bool done(const std::vector<Work>& works) {
  return std::all_of(works.begin(), works.end(), [](const Work& work) { return work.done(); });
}

at::Tensor rows_of(const at::Tensor& tensor, const Rows& rows) {
  return rows.count == tensor.size(0) ? tensor : tensor.narrow(0, rows.begin, rows.count);
}

}  // namespace

Transfers::Transfers(Compute& compute, Timeline& timeline, int stages, int micro_batches)
    : compute_(compute),
      timeline_(timeline),
      micro_batches_(micro_batches),
      slots_(2 * static_cast<std::size_t>(stages) * static_cast<std::size_t>(micro_batches)) {}

Transfers::Slot& Transfers::slot(const Handover& what) {
  const int place = what.stage * micro_batches_ + what.micro_batch;
  return slots_.at(2 * static_cast<std::size_t>(place) + (what.pass == Handover::Pass::Forward ? 0 : 1));
}

void Transfers::empty(Slot& slot) {
  slot.state = Slot::State::Empty;
  slot.works.clear();
  slot.incoming.clear();
  slot.encoded.clear();
  --filled_;
}

void Transfers::put(const Handover& what, std::int64_t rows, TensorList tensors) {
  Slot& here = slot(what);
  MOTLEY_CHECK(here.state == Slot::State::Empty, "stage {} is handed micro-batch {} twice", what.stage,
               what.micro_batch);
  here.state = Slot::State::Made;
  here.rows_left = rows;
  here.tensors = std::move(tensors);
  ++filled_;
}

void Transfers::send(const Handover& what, const Crossing& crossing, const std::string& label) {
  reap();
  Slot& made = slot(what);
  MOTLEY_CHECK(made.state == Slot::State::Made && crossing.rows.count <= made.rows_left, "{}: nothing was made to send",
               label);
  // In place before the first work is posted: what throws from here on must not free a buffer that is being read.
  Message& message = add_message(label, timeline_.rank(), crossing.peer);
  message.tensors.reserve(made.tensors.size());
  for (std::size_t i = 0; i < made.tensors.size(); ++i) {
    const at::Tensor rows = rows_of(made.tensors[i], crossing.rows);
    MOTLEY_CHECK(rows.is_contiguous(), "{}: a stage's tensors are contiguous", label);
    if (!is_encoded(crossing.wire, rows)) {
      message.tensors.push_back(rows);
      continue;
    }
    const bool gradient = what.pass == Handover::Pass::Backward;
    message.tensors.push_back(compute_.run(label, false, [&] {
      return encode(crossing.wire, rows, gradient, crossing.key + i, compute_.device().kernels());
    }));
  }
  made.rows_left -= crossing.rows.count;
  if (made.rows_left == 0) {
    made.tensors = {};
    empty(made);
  }
  message.works.reserve(message.tensors.size());
  out_.clear();
  for (const at::Tensor& tensor : message.tensors) {
    out_.emplace_back(bytes_of(tensor));
  }
  message.bytes = total_of(out_);
  compute_.fabric().to(crossing.peer).send(out_, label, message.works);
}

void Transfers::receive(const Handover& what, const Crossing& crossing, const Boundary& boundary, std::int64_t samples,
                        const std::string& label, const std::string& send) {
  Slot& here = slot(what);
  if (here.state == Slot::State::Empty) {
    here.state = Slot::State::Arriving;
    here.rows_left = samples;
    ++filled_;
    here.tensors.reserve(boundary.size());
    for (const TensorSpec& spec : boundary) {
      if (what.pass == Handover::Pass::Backward && !spec.has_gradient) {
        continue;
      }
      c10::SmallVector<std::int64_t, 6> shape{samples};
      shape.append(spec.shape.begin(), spec.shape.end());
      here.tensors.push_back(
          at::empty(shape, at::TensorOptions().dtype(scalar_type(spec.dtype)).device(compute_.device().tensors())));
    }
  }
  MOTLEY_CHECK(here.state == Slot::State::Arriving && crossing.rows.count <= here.rows_left, "{}: posted twice", label);
  here.rows_left -= crossing.rows.count;
  here.label = &label;
  here.works.reserve(here.tensors.size());
  in_.clear();
  for (const at::Tensor& tensor : here.tensors) {
    at::Tensor into = rows_of(tensor, crossing.rows);
    if (is_encoded(crossing.wire, into)) {
      const at::Tensor bytes = room_for_encoded(crossing.wire, into);
      here.encoded.push_back({crossing.wire, bytes, std::move(into)});
      into = bytes;
    }
    in_.push_back(bytes_of(into));
  }
  const std::size_t before = here.works.size();
  compute_.fabric().from(crossing.peer).receive(in_, label, here.works);
  here.incoming.push_back({&send, crossing.peer, total_of(in_), here.works.size() - before});
}

TensorList Transfers::take(const Handover& what, const std::string& consumer) {
  Slot& here = slot(what);
  MOTLEY_CHECK(here.state != Slot::State::Empty, "{} has no input: nobody made it here and no receive is posted",
               consumer);
  if (here.state == Slot::State::Arriving) {
    MOTLEY_CHECK(here.rows_left == 0, "{}: {} rows of its input are not posted", consumer, here.rows_left);
    wait(here.works, *here.label);
    keep_arrived(here);
    for (const Encoded& part : here.encoded) {
      compute_.run(*here.label, false, [&] { decode(part.wire, part.bytes, part.rows, compute_.device().kernels()); });
    }
  }
  TensorList tensors = std::exchange(here.tensors, {});
  empty(here);
  return tensors;
}

void Transfers::wait(std::vector<Work>& works, const std::string& label) {
  const auto wait_for_all = [&] {
    for (Work& work : works) {
      work.wait();
    }
  };
  if (done(works)) {
    wait_for_all();  // throws what failed them, and on a device orders what comes next
  } else {
    compute_.wait(label, wait_for_all);
  }
}

Transfers::Message& Transfers::add_message(const std::string& send, int from, int to) {
  if (message_count_ == messages_.size()) {
    messages_.emplace_back();
  }
  Message& message = messages_[message_count_++];
  message.send = &send;
  message.from = from;
  message.to = to;
  return message;
}

void Transfers::keep_arrived(Slot& slot) {
  auto work = slot.works.begin();
  for (const Incoming& incoming : slot.incoming) {
    const auto end = work + static_cast<std::ptrdiff_t>(incoming.works);
    if (work != end && work->times_link()) {
      Message& message = add_message(*incoming.send, incoming.from, timeline_.rank());
      message.bytes = incoming.bytes;
      message.works.assign(work, end);
    }
    work = end;
  }
  reap();
}

void Transfers::reap() {
  compute_.fabric().progress();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < message_count_; ++i) {
    Message& message = messages_[i];
    if (!done(message.works)) {
      std::swap(messages_[kept++], message);
      continue;
    }
    for (Work& work : message.works) {
      work.wait();  // throws what failed it
    }
    if (!message.works.empty() && message.works.front().times_link()) {
      timeline_.crossed(*message.send, message.from, message.to, message.bytes, message.works.front().started(),
                        message.works.back().finished());
    }
    message.tensors.clear();
    message.works.clear();
  }
  message_count_ = kept;
}

void Transfers::finish() {
  for (std::size_t i = 0; i < message_count_; ++i) {
    wait(messages_[i].works, *messages_[i].send);
  }
  reap();
  MOTLEY_CHECK(filled_ == 0, "{} lists of tensors were made or received and not taken", filled_);
}

}  // namespace motley
