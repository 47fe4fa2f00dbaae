#include "motley/runtime/executor.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "motley/base/error.h"
#include "motley/comm/abort_on_throw.h"
#include "motley/comm/nccl/cuda_fabric.h"
#include "motley/runtime/runnable.h"

namespace motley {
namespace {

/// Rank at the other end of a transfer, -1 of anything else.
int peer_of(const Action& action, const std::vector<std::vector<int>>& ranks_of_stage) {
  if (!is_send(action.op) && !is_receive(action.op)) {
    return -1;
  }
  if (action.peer >= 0) {
    return action.peer;
  }
  const bool above = action.op == Op::SendForward || action.op == Op::ReceiveBackward;
  const int peer = above ? action.stage + 1 : action.stage - 1;
  return ranks_of_stage.at(static_cast<std::size_t>(peer)).front();
}

Handover input_of(const Action& action) {
  return {Handover::Pass::Forward, action.stage, action.micro_batch};
}

Handover input_above(const Action& action) {
  return {Handover::Pass::Forward, action.stage + 1, action.micro_batch};
}

Handover gradient_of(const Action& action) {
  return {Handover::Pass::Backward, action.stage, action.micro_batch};
}

Handover gradient_below(const Action& action) {
  return {Handover::Pass::Backward, action.stage - 1, action.micro_batch};
}

}  // namespace

Executor::Executor(Communicator& communicator, const Workload& workload, std::map<int, Stage*> stages,
                   const Schedule& lowered, ExecutorOptions options, Pacer pacer)
    : communicator_(communicator),
      workload_(workload),
      stages_(std::move(stages)),
      micro_batches_(static_cast<std::size_t>(lowered.micro_batch_count())),
      options_(std::move(options)),
      host_(options_.device == nullptr ? host_device() : nullptr),
      device_(options_.device == nullptr ? *host_ : *options_.device),
      timeline_(communicator.rank(), options_.trace),
      fabric_(make_fabric(lowered, lowered.ranks_of_stage())),
      compute_(device_, *fabric_, pacer, timeline_),
      transfers_(compute_, timeline_, lowered.stage_count(), lowered.micro_batch_count()),
      exchange_(communicator, workload) {
  const std::vector<std::vector<int>> ranks_of_stage = lowered.ranks_of_stage();
  row_ = lowered.ranks[static_cast<std::size_t>(communicator.rank())];
  for (const Action& action : row_) {
    MOTLEY_CHECK(action.op == Op::Idle || action.op == Op::OverlapForwardBackward || stages_.contains(action.stage),
                 "{} is in the row of rank {}, which has no such stage", to_string(action), communicator.rank());
    labels_.push_back(to_string(action));
    sends_.push_back(is_receive(action.op) ? to_string(send_of(action, communicator.rank())) : std::string());
    if (action.op == Op::Recompute) {
      recomputed_.insert(action.stage);
    }
    peers_.push_back(peer_of(action, ranks_of_stage));
  }
  for (std::size_t s = 0; s < ranks_of_stage.size(); ++s) {
    const std::vector<int>& ranks = ranks_of_stage[s];
    if (ranks.size() > 1 && std::find(ranks.begin(), ranks.end(), communicator.rank()) != ranks.end()) {
      groups_.emplace(static_cast<int>(s), fabric_->reduction(ranks));
      exchange_.count(static_cast<int>(s), ranks.front() == communicator.rank());
    }
  }
  for (const std::vector<Action>& row : lowered.ranks) {
    trains_ =
        trains_ || std::any_of(row.begin(), row.end(), [](const Action& action) {
          return action.op == Op::Backward || action.op == Op::BackwardInput || action.op == Op::OverlapForwardBackward;
        });
  }
  expect_same_sizes(communicator, message_sizes());
}

Executor::~Executor() {
  try {
    compute_.settle("end");
  } catch (const std::exception& error) {
    communicator_.abort(error);  // says nothing where the run has failed before
  }
  // Before the buffers that it may touch.
  groups_.clear();
  fabric_.reset();
}

std::unique_ptr<Fabric> Executor::make_fabric(const Schedule& lowered,
                                              const std::vector<std::vector<int>>& ranks_of_stage) {
  MOTLEY_CHECK(lowered.rank_count() == communicator_.size(), "{} rows for {} ranks", lowered.rank_count(),
               communicator_.size());
  expect_runnable(lowered);
  device_.bind();
  if (device_.compute() == nullptr) {
    return host_fabric(communicator_);
  }
  std::set<EdgeUse> edges;
  for (int rank = 0; rank < lowered.rank_count(); ++rank) {
    for (const Action& action : lowered.ranks[static_cast<std::size_t>(rank)]) {
      if (is_send(action.op)) {
        const int peer = peer_of(action, ranks_of_stage);
        edges.insert({rank, peer, options_.edge_transport ? options_.edge_transport(rank, peer) : "host"});
      }
    }
  }
  std::vector<GroupUse> groups;
  for (const std::vector<int>& ranks : ranks_of_stage) {
    const auto known = std::find_if(groups.begin(), groups.end(), [&](const GroupUse& g) { return g.ranks == ranks; });
    if (ranks.size() > 1 && known == groups.end()) {
      groups.push_back({ranks, options_.group_transport ? options_.group_transport(ranks) : "host"});
    }
  }
  return cuda_fabric({communicator_, *device_.compute(), *device_.clock(), options_.nccl}, {edges.begin(), edges.end()},
                     groups);
}

MessageSizes Executor::message_sizes() const {
  MessageSizes sizes;
  for (std::size_t i = 0; i < row_.size(); ++i) {
    const Action& action = row_[i];
    if (peers_[i] < 0) continue;
    const bool above = action.op == Op::SendForward || action.op == Op::ReceiveBackward;
    const bool forward = action.op == Op::SendForward || action.op == Op::ReceiveForward;
    const Boundary& boundary = above ? stage(action.stage).output() : stage(action.stage).input();
    MessageSizes::Message message;
    for (const TensorSpec& spec : boundary) {
      if (forward || spec.has_gradient) {
        message.push_back(crossing_bytes(wire_of(action), spec, rows_of(action).count).value);
      }
    }
    (is_send(action.op) ? sizes.sent : sizes.received)[peers_[i]].push_back(std::move(message));
  }
  return sizes;
}

template <typename Body>
auto Executor::compute(Op op, std::size_t index, Body&& body) {
  transfers_.reap();  // what has left makes room for what is made now
  communicator_.set_progress(labels_[index]);
  return compute_.run(labels_[index], op == Op::Update, std::forward<Body>(body));
}

void Executor::settle() {
  compute_.settle("end of the step");
  transfers_.reap();
  timeline_.resolve(device_);
}

Share Executor::share_of(int stage) const {
  if (options_.shares.empty()) {
    return {communicator_.rank(), 0, options_.micro_batch_size};
  }
  const std::vector<Share>& replicas = options_.shares.at(static_cast<std::size_t>(stage));
  const auto mine = std::find_if(replicas.begin(), replicas.end(),
                                 [&](const Share& share) { return share.rank == communicator_.rank(); });
  MOTLEY_CHECK(mine != replicas.end(), "rank {} has no share of stage {}", communicator_.rank(), stage);
  return *mine;
}

std::int64_t Executor::rows_of(int stage) const {
  const Share share = share_of(stage);
  return share.sample_end - share.sample_begin;
}

Fields Executor::fields_of(const Action& action, const Pass& pass) const {
  const Stage& here = stage(action.stage);
  if (here.reads().empty()) {
    return {};
  }
  const std::int64_t first = action.micro_batch * options_.micro_batch_size + share_of(action.stage).sample_begin;
  const auto samples =
      pass.samples.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows_of(action.stage)));
  Fields fields = workload_.data->fetch(here.reads(), pass.split, samples);
  for (auto& [name, tensor] : fields) {
    tensor = tensor.to(device_.tensors(), tensor.scalar_type(), /*non_blocking=*/true);
  }
  return fields;
}

Wire Executor::wire_of(const Action& action) const {
  if (options_.wires.empty()) {
    return Wire::Float32;
  }
  const bool above = action.op == Op::SendForward || action.op == Op::ReceiveBackward;
  return options_.wires.at(static_cast<std::size_t>(action.stage - (above ? 0 : 1)));
}

Rows Executor::rows_of(const Action& action) const {
  const bool whole = action.sample_begin == 0 && action.sample_end == 0;
  return whole
             ? Rows{0, rows_of(action.stage)}
             : Rows{action.sample_begin - share_of(action.stage).sample_begin, action.sample_end - action.sample_begin};
}

Crossing Executor::crossing_of(const Action& action, int peer, const Pass& pass) const {
  Crossing crossing{peer, rows_of(action), wire_of(action)};
  const bool above = action.op == Op::SendForward || action.op == Op::ReceiveBackward;
  const RandomKey key{options_.seed, pass.step, action.stage - (above ? 0 : 1), action.micro_batch, 0};
  crossing.key = key.hash(static_cast<std::uint64_t>(action.sample_begin) << 8U);
  return crossing;
}

void Executor::forward(const Action& action, std::size_t index, const Pass& pass) {
  Stage& here = stage(action.stage);
  const Share share = share_of(action.stage);
  TensorList input = action.stage == 0 ? TensorList{} : transfers_.take(input_of(action), labels_[index]);
  TensorList output = compute(Op::Forward, index, [&] {
    const Fields fields = fields_of(action, pass);
    if (pass.training && recomputed_.contains(action.stage)) {
      return here.forward_unsaved(action.micro_batch, pass.step, std::move(input), fields, share.sample_begin);
    }
    Fields* outputs = pass.outputs != nullptr ? &(*pass.outputs)[action.micro_batch] : nullptr;
    return here.forward(action.micro_batch, pass.step, std::move(input), fields, pass.training, outputs,
                        share.sample_begin);
  });
  if (!here.is_last()) {
    transfers_.put(input_above(action), rows_of(action.stage), std::move(output));
  }
}

void Executor::recompute(const Action& action, std::size_t index, const Pass& pass) {
  compute(action.op, index, [&] {
    stage(action.stage).recompute(action.micro_batch, fields_of(action, pass));
    return true;
  });
}

void Executor::reduce(const Action& action, std::size_t index) {
  communicator_.set_progress(labels_[index]);
  Reduction& group = *groups_.at(action.stage);
  compute_.wait(labels_[index], [&] {
    std::vector<Work> works;
    for (const LayerState& layer : stage(action.stage).layers()) {
      const at::Tensor& gradients = layer.flat_gradients();
      works.push_back(group.sum(
          std::span(gradients.mutable_data_ptr<float>(), static_cast<std::size_t>(gradients.numel())), labels_[index]));
    }
    for (Work& work : works) {
      work.wait();
    }
  });
}

void Executor::backward(const Action& action, std::size_t index, const Pass& pass) {
  Stage& here = stage(action.stage);
  const double loss_scale = 1.0 / static_cast<double>(pass.samples.size());
  TensorList gradient = here.is_last() ? TensorList{} : transfers_.take(gradient_of(action), labels_[index]);
  TensorList output = compute(action.op, index, [&] {
    return action.op == Op::Backward ? here.backward(action.micro_batch, std::move(gradient), loss_scale)
                                     : here.backward_input(action.micro_batch, std::move(gradient), loss_scale);
  });
  if (action.stage > 0) {
    transfers_.put(gradient_below(action), rows_of(action.stage), std::move(output));
  }
}

const StepTotals& Executor::totals(const Pass& pass) {
  if (!totals_) {
    compute_.fabric().before_compute("NORM");
    for (const auto& [index, stage] : stages_) {
      stage->start_norms();
    }
    compute_.settle("NORM");  // losses and norms are read
    timeline_.resolve(device_);
    totals_ = exchange_.run(pass.step, stages_, last_times_, pass.signals, timeline_);
    transfers_.reap();  // every rank has what was sent to it
  }
  return *totals_;
}

void Executor::perform(const Action& action, std::size_t index, const Pass& pass) {
  const std::string& label = labels_[index];
  const int peer = peers_[index];
  switch (action.op) {
    case Op::Idle:
      break;
    case Op::Forward:
      forward(action, index, pass);
      break;
    case Op::Backward:
    case Op::BackwardInput:
      backward(action, index, pass);
      break;
    case Op::BackwardWeight:
      compute(action.op, index, [&] {
        stage(action.stage).backward_weight(action.micro_batch);
        return true;
      });
      break;
    case Op::OverlapForwardBackward:
      for (const Action& part : action.parts) {
        perform(part, index, pass);
      }
      break;
    case Op::SendForward:
      transfers_.send(input_above(action), crossing_of(action, peer, pass), label);
      break;
    case Op::SendBackward:
      transfers_.send(gradient_below(action), crossing_of(action, peer, pass), label);
      break;
    case Op::ReceiveForward:
      transfers_.receive(input_of(action), crossing_of(action, peer, pass), stage(action.stage).input(),
                         rows_of(action.stage), label, sends_[index]);
      break;
    case Op::ReceiveBackward:
      transfers_.receive(gradient_of(action), crossing_of(action, peer, pass), stage(action.stage).output(),
                         rows_of(action.stage), label, sends_[index]);
      break;
    case Op::Recompute:
      recompute(action, index, pass);
      break;
    case Op::ReduceGradient:
      reduce(action, index);
      break;
    case Op::Norm:
      (void)totals(pass);
      break;
    case Op::Update: {
      const double clip_scale = options_.optimizer.clip_scale(totals(pass).squared_norm);
      compute(action.op, index, [&] {
        stage(action.stage).update(pass.step, clip_scale);
        return true;
      });
      break;
    }
    default:
      MOTLEY_CHECK(false, "{} passed expect_runnable", label);
  }
}

void Executor::run(const Pass& pass) {
  MOTLEY_CHECK(pass.training == trains_, "a schedule that {} is used to {}", trains_ ? "trains" : "evaluates",
               pass.training ? "train" : "evaluate");
  MOTLEY_CHECK(pass.samples.size() == micro_batches_ * static_cast<std::size_t>(options_.micro_batch_size),
               "{} samples for {} micro-batches of {}", pass.samples.size(), micro_batches_, options_.micro_batch_size);
  timeline_.begin_step();
  totals_.reset();
  abort_on_throw(communicator_, [&] {
    for (std::size_t index = 0; index < row_.size(); ++index) {
      perform(row_[index], index, pass);
    }
    if (pass.training) {
      (void)totals(pass);  // a rank without a stage takes part, so that every rank knows loss and failure
    }
    transfers_.finish();
    if (!pass.training) {
      compute_.settle("evaluation");
    }
  });
  if (timeline_.is_passed(device_)) {
    timeline_.resolve(device_);
  }
  communicator_.set_progress("between steps");
}

StepResult Executor::train(std::int64_t step, std::span<const std::int64_t> samples, const StepSignals& signals) {
  const Seconds start = communicator_.now();
  run({step, Split::Train, true, samples, nullptr, signals});
  last_times_ = timeline_.times();
  return {totals_->loss / static_cast<double>(samples.size()), std::sqrt(totals_->squared_norm),
          communicator_.now() - start, totals_->ranks, totals_->signals};
}

Fields Executor::evaluate(Split split, std::span<const std::int64_t> samples) {
  std::map<int, Fields> by_micro_batch;
  run({0, split, false, samples, &by_micro_batch, {}});
  std::map<std::string, TensorList> parts;
  for (auto& [micro_batch, fields] : by_micro_batch) {
    for (auto& [name, tensor] : fields) {
      parts[name].push_back(std::move(tensor));
    }
  }
  Fields outputs;
  for (const auto& [name, tensors] : parts) {
    outputs[name] = at::cat(tensors).to(at::kCPU);
  }
  for (const auto& [index, stage] : stages_) {
    (void)stage->take_loss();  // else the next training step would count it
  }
  return outputs;
}

}  // namespace motley
