#include "motley/runtime/executor.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "motley/base/error.h"
#include "motley/workloads/tensor_types.h"

namespace motley {
namespace {

std::span<std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()};
}

// Behind the layers' squared norms in the exchange: loss, then the times of the step before.
constexpr std::size_t kExtras = 4;

}  // namespace

Executor::Executor(Communicator& communicator, const Workload& workload, std::map<int, Stage*> stages, Schedule lowered,
                   ExecutorOptions options, Pacer pacer)
    : communicator_(communicator),
      workload_(workload),
      stages_(std::move(stages)),
      rank_of_stage_(lowered.rank_of_stage()),
      options_(options),
      pacer_(pacer) {
  MOTLEY_CHECK(lowered.rank_count() == communicator.size(), "{} rows for {} ranks", lowered.rank_count(),
               communicator.size());
  row_ = std::move(lowered.ranks[static_cast<std::size_t>(communicator.rank())]);
  for (const Action& action : row_) {
    labels_.push_back(to_string(action));
    int peer = action.peer;
    if (peer < 0 && (is_send(action.op) || is_receive(action.op))) {
      const bool to_next = action.op == Op::SendForward || action.op == Op::ReceiveBackward;
      peer = rank_of_stage_.at(static_cast<std::size_t>(action.stage + (to_next ? 1 : -1)));
    }
    peers_.push_back(peer);
    MOTLEY_CHECK(stages_.contains(action.stage) || action.op == Op::Idle, "row names stage {}, which is not here",
                 action.stage);
  }
  exchanged_.resize(workload.layers.size() + kExtras);
  gathered_.resize(exchanged_.size() * static_cast<std::size_t>(communicator.size()));
}

Stage& Executor::stage(int index) const {
  return *stages_.at(index);
}

template <typename Body>
auto Executor::compute(const Action& action, std::size_t index, Body&& body) {
  communicator_.set_progress(labels_[index]);
  const Seconds start = communicator_.now();
  auto result = pacer_.run(std::forward<Body>(body));
  const Seconds end = communicator_.now();
  times_.busy += end - start;
  if (options_.trace) {
    events_.push_back({labels_[index], action.op == Op::Update ? "update" : "compute", "measured",
                       fmt::format("rank {}", communicator_.rank()), start, end});
  }
  return result;
}

Fields Executor::fields_of(const Stage& stage, Split split, std::span<const std::int64_t> samples,
                           int micro_batch) const {
  const std::vector<std::string>& names = stage.reads();
  if (names.empty()) {
    return {};
  }
  const auto size = static_cast<std::size_t>(options_.micro_batch_size);
  return workload_.data->fetch(names, split, samples.subspan(static_cast<std::size_t>(micro_batch) * size, size));
}

void Executor::send(const Action& action, std::size_t index, TensorList tensors) {
  reap(false);
  Transfer transfer;
  transfer.action = index;
  transfer.tensors = std::move(tensors);
  for (at::Tensor& tensor : transfer.tensors) {
    tensor = tensor.contiguous();
    transfer.works.push_back(communicator_.to(peers_[index]).send(bytes_of(tensor), labels_[index]));
  }
  sends_.push_back(std::move(transfer));
  (void)action;
}

void Executor::receive(const Action& action, std::size_t index, const Boundary& boundary, bool gradients) {
  Transfer transfer;
  transfer.action = index;
  for (const TensorSpec& spec : boundary) {
    if (gradients && !spec.has_gradient) {
      continue;
    }
    std::vector<std::int64_t> shape{options_.micro_batch_size};
    shape.insert(shape.end(), spec.shape.begin(), spec.shape.end());
    at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(scalar_type(spec.dtype)));
    transfer.works.push_back(communicator_.from(peers_[index]).receive(bytes_of(tensor), labels_[index]));
    transfer.tensors.push_back(std::move(tensor));
  }
  auto& target = gradients ? backward_in_ : forward_in_;
  target.emplace(Key{action.stage, action.micro_batch}, std::move(transfer));
}

TensorList Executor::take(std::map<Key, Transfer>& from, std::map<Key, TensorList>& local, Key key, std::size_t index) {
  if (const auto near = local.find(key); near != local.end()) {
    TensorList tensors = std::move(near->second);
    local.erase(near);
    return tensors;
  }
  const auto found = from.find(key);
  MOTLEY_CHECK(found != from.end(), "{} has no input: the schedule posts no receive for it", labels_[index]);
  Transfer transfer = std::move(found->second);
  from.erase(found);
  const bool ready =
      std::all_of(transfer.works.begin(), transfer.works.end(), [](const Work& work) { return work.done(); });
  if (!ready) {
    communicator_.set_progress(labels_[transfer.action], true, peers_[transfer.action]);
  }
  const Seconds start = communicator_.now();
  for (Work& work : transfer.works) {
    work.wait();
  }
  if (!ready) {
    const Seconds end = communicator_.now();
    times_.waiting += end - start;
    if (options_.trace) {
      events_.push_back({"wait " + labels_[transfer.action], "wait", "measured",
                         fmt::format("rank {}", communicator_.rank()), start, end});
    }
  }
  return std::move(transfer.tensors);
}

void Executor::reap(bool all) {
  for (std::size_t i = 0; i < sends_.size();) {
    Transfer& transfer = sends_[i];
    const bool done =
        std::all_of(transfer.works.begin(), transfer.works.end(), [](const Work& work) { return work.done(); });
    if (!done && !all) {
      ++i;
      continue;
    }
    if (!done) {
      communicator_.set_progress(labels_[transfer.action], true, peers_[transfer.action]);
    }
    const Seconds start = communicator_.now();
    for (Work& work : transfer.works) {
      work.wait();
    }
    if (!done) {
      times_.waiting += communicator_.now() - start;
    }
    if (!transfer.works.empty()) {
      const Seconds began = transfer.works.front().started();
      const Seconds ended = transfer.works.back().finished();
      times_.transfer += ended - began;
      if (options_.trace) {
        events_.push_back({labels_[transfer.action], "transfer", "measured",
                           fmt::format("rank {} to {}", communicator_.rank(), peers_[transfer.action]), began, ended});
      }
    }
    sends_.erase(sends_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void Executor::exchange_norms(std::int64_t step) {
  if (norms_known_) {
    return;  // several stages on this rank: the first NORM stands for all, they follow each other at the row's end
  }
  std::fill(exchanged_.begin(), exchanged_.end(), 0.0);
  const std::size_t layers = workload_.layers.size();
  double loss = 0.0;
  for (const auto& [index, stage] : stages_) {
    const std::vector<double> norms = stage->squared_norms();
    std::copy(norms.begin(), norms.end(), exchanged_.begin() + stage->first());
    if (stage->is_last()) {
      for (const double micro_batch_loss : stage->take_loss()) {
        loss += micro_batch_loss;
      }
    }
  }
  exchanged_[layers] = loss;
  exchanged_[layers + 1] = last_times_.busy.value;
  exchanged_[layers + 2] = last_times_.waiting.value;
  exchanged_[layers + 3] = last_times_.transfer.value;
  const Seconds start = communicator_.now();
  communicator_.set_progress("NORM", true);
  communicator_.world().all_gather(std::as_bytes(std::span(exchanged_)), std::as_writable_bytes(std::span(gathered_)),
                                   "NORM");
  times_.waiting += communicator_.now() - start;

  // Exactly one rank fills each layer; adding in layer order makes the norm independent of the cut.
  const std::size_t width = exchanged_.size();
  const auto ranks = static_cast<std::size_t>(communicator_.size());
  double squared_norm = 0.0;
  double total_loss = 0.0;
  for (std::size_t layer = 0; layer <= layers; ++layer) {
    double value = 0.0;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      value += gathered_[rank * width + layer];
    }
    (layer < layers ? squared_norm : total_loss) += value;
  }
  result_.gradient_norm = std::sqrt(squared_norm);
  result_.loss = total_loss;
  result_.ranks.clear();
  if (has_last_times_) {
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      const double* row = gathered_.data() + rank * width + layers + 1;
      result_.ranks.push_back({Seconds{row[0]}, Seconds{row[1]}, Seconds{row[2]}});
    }
  }
  norms_known_ = true;
  if (!std::isfinite(total_loss) || !std::isfinite(squared_norm)) {
    std::string where = "the loss";
    for (std::size_t layer = 0; layer < layers && std::isfinite(total_loss); ++layer) {
      for (std::size_t rank = 0; rank < ranks; ++rank) {
        if (!std::isfinite(gathered_[rank * width + layer])) {
          where = "the gradient of layer " + workload_.layers[layer]->name();
        }
      }
    }
    throw Fault::of(
        "step {}: {} is not finite (loss sum {}, squared gradient norm {}); parameters are those of step {}", step,
        where, total_loss, squared_norm, step - 1);
  }
}

void Executor::update(const Action& action, std::int64_t step) {
  stage(action.stage).update(step, options_.optimizer.clip_scale(result_.gradient_norm * result_.gradient_norm));
}

void Executor::perform(const Action& action, std::size_t index, std::int64_t step, Split split, bool training,
                       std::span<const std::int64_t> samples, Fields* outputs) {
  const Key key{action.stage, action.micro_batch};
  const double loss_scale = 1.0 / static_cast<double>(samples.size());
  const auto lives_here = [&](int s) {
    return s >= 0 && s < static_cast<int>(rank_of_stage_.size()) &&
           rank_of_stage_[static_cast<std::size_t>(s)] == communicator_.rank();
  };
  switch (action.op) {
    case Op::Idle:
      break;
    case Op::Forward: {
      Stage& here = stage(action.stage);
      TensorList input = action.stage == 0 ? TensorList{} : take(forward_in_, forward_local_, key, index);
      Fields predictions;
      TensorList output = compute(action, index, [&] {
        const Fields fields = fields_of(here, split, samples, action.micro_batch);
        return here.forward(action.micro_batch, step, std::move(input), fields, training,
                            outputs != nullptr ? &predictions : nullptr);
      });
      for (auto& [name, tensor] : predictions) {
        // Forwards of a stage run in micro-batch order, so rows come in sample order.
        at::Tensor& all = (*outputs)[name];
        all = all.defined() ? at::cat({all, tensor}) : tensor;
      }
      if (lives_here(action.stage + 1)) {
        forward_local_[{action.stage + 1, action.micro_batch}] = std::move(output);
      } else if (!here.is_last()) {
        forward_out_[key] = std::move(output);
      }
      break;
    }
    case Op::Backward:
    case Op::BackwardInput: {
      Stage& here = stage(action.stage);
      TensorList gradient = here.is_last() ? TensorList{} : take(backward_in_, backward_local_, key, index);
      TensorList output = compute(action, index, [&] {
        return action.op == Op::Backward ? here.backward(action.micro_batch, std::move(gradient), loss_scale)
                                         : here.backward_input(action.micro_batch, std::move(gradient), loss_scale);
      });
      if (lives_here(action.stage - 1)) {
        backward_local_[{action.stage - 1, action.micro_batch}] = std::move(output);
      } else if (action.stage > 0) {
        backward_out_[key] = std::move(output);
      }
      break;
    }
    case Op::BackwardWeight:
      compute(action, index, [&] {
        stage(action.stage).backward_weight(action.micro_batch);
        return true;
      });
      break;
    case Op::SendForward:
      send(action, index, std::move(forward_out_.at(key)));
      forward_out_.erase(key);
      break;
    case Op::SendBackward:
      send(action, index, std::move(backward_out_.at(key)));
      backward_out_.erase(key);
      break;
    case Op::ReceiveForward:
      receive(action, index, stage(action.stage).input(), false);
      break;
    case Op::ReceiveBackward:
      receive(action, index, stage(action.stage).output(), true);
      break;
    case Op::Norm:
      exchange_norms(step);
      break;
    case Op::Update:
      compute(action, index, [&] {
        update(action, step);
        return true;
      });
      break;
    case Op::OverlapForwardBackward:
      for (const Action& part : action.parts) {
        perform(part, index, step, split, training, samples, outputs);
      }
      break;
    default:
      throw InputError::of("schedule: action {} cannot be executed yet", labels_[index]);
  }
}

void Executor::run(std::int64_t step, Split split, bool training, std::span<const std::int64_t> samples,
                   Fields* outputs) {
  events_.clear();
  times_ = {};
  norms_known_ = false;
  for (std::size_t index = 0; index < row_.size(); ++index) {
    perform(row_[index], index, step, split, training, samples, outputs);
  }
  if (training && !norms_known_) {
    exchange_norms(step);  // a rank without a stage takes part, so that every rank knows loss and failure
  }
  reap(true);
  communicator_.set_progress("between steps");
}

StepResult Executor::train(std::int64_t step, std::span<const std::int64_t> samples) {
  const Seconds start = communicator_.now();
  run(step, Split::Train, true, samples, nullptr);
  last_times_ = times_;
  has_last_times_ = true;
  result_.wall = communicator_.now() - start;
  result_.loss /= static_cast<double>(samples.size());
  return result_;
}

Fields Executor::evaluate(Split split, std::span<const std::int64_t> samples) {
  Fields outputs;
  run(0, split, false, samples, &outputs);
  return outputs;
}

}  // namespace motley
