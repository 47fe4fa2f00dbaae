#include "motley/stage/stage.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/engine.h>

#include <optional>
#include <set>
#include <utility>

#include "motley/base/error.h"
#include "motley/stage/boundary_nodes.h"
#include "motley/workloads/tensor_types.h"

namespace motley {
namespace {

using torch::autograd::Edge;
using torch::autograd::edge_list;

// One micro-batch between its forward and the end of its backward pass.
struct InFlight {
  edge_list roots;  // of outputs with gradient, invalid where an output depends on no parameter and no input
  std::shared_ptr<InputGradients> inputs;
  std::unique_ptr<WeightGradients> queue;
  bool had_input_gradient = false;
  // Of one whose graph is still to be made:
  bool unsaved = false;
  TensorList input;
  std::int64_t step = 0;
  std::int64_t first_sample = 0;
};

void expect_tensors(const TensorList& tensors, const Boundary& boundary, const std::string& who) {
  bool fits = tensors.size() == boundary.size();
  for (std::size_t i = 0; fits && i < tensors.size(); ++i) {
    const at::Tensor& tensor = tensors[i];
    fits = tensor.defined() && tensor.dim() >= 1 && tensor.sizes().slice(1) == at::IntArrayRef(boundary[i].shape) &&
           tensor.scalar_type() == scalar_type(boundary[i].dtype);
  }
  if (fits) {
    return;
  }
  std::string found;
  for (const at::Tensor& tensor : tensors) {
    found +=
        fmt::format("{}{}[", found.empty() ? "" : ", ", tensor.defined() ? c10::toString(tensor.scalar_type()) : "?");
    for (std::int64_t d = 0; tensor.defined() && d < tensor.dim(); ++d) {
      found += fmt::format("{}{}", d == 0 ? "" : ", ", tensor.size(d));
    }
    found += ']';
  }
  throw InputError::of("{}: found tensors ({}), expected for each sample ({})", who, found, to_string(boundary));
}

}  // namespace

struct Stage::State {
  Boundary input;
  Boundary output;
  std::vector<Boundary> between;  // [i]: what the stage's i-th layer hands on
  int first = 0;
  int end = 0;
  bool last = false;
  std::uint64_t seed = 0;
  at::Device device = at::kCPU;
  kernels::KernelQueue kernels;
  OptimizerOptions options;
  std::vector<std::string> reads;
  std::optional<ParameterBuffers> buffers;
  std::vector<LayerState> layers;
  GradientSlots slots;
  std::map<int, InFlight> in_flight;
  std::map<int, at::Tensor> losses;  // scalars where they were computed: to read one would wait for the device
  int last_weight = -1;              // micro-batch whose weight gradients were added last in this step

  InFlight& at(int micro_batch) {
    const auto found = in_flight.find(micro_batch);
    MOTLEY_CHECK(found != in_flight.end(), "micro-batch {} had no forward in layers [{}, {})", micro_batch, first, end);
    return found->second;
  }

  TensorList run_layers(InFlight* flight, int micro_batch, std::int64_t step, std::int64_t first_sample,
                        TensorList tensors, const Fields& fields, bool training, Fields* outputs);
  void note_loss(int micro_batch, const TensorList& tensors);
  void queue_plain_gradients(WeightGradients& queue);
  TensorList run_backward(int micro_batch, TensorList grad_output, double loss_scale, bool deferred);
  void finish_weights(int micro_batch);
};

Stage::Stage(const Workload& workload, int first, int end, Boundary input, std::uint64_t seed, OptimizerOptions options,
             at::Device device, kernels::KernelQueue queue)
    : state_(std::make_unique<State>()) {
  const int count = static_cast<int>(workload.layers.size());
  if (!(0 <= first && first < end && end <= count)) {
    throw InputError::of("stage of {}: found layers [{}, {}), expected a part of [0, {})", workload.name, first, end,
                         count);
  }
  options.validate();
  State& s = *state_;
  s.input = std::move(input);
  s.first = first;
  s.end = end;
  s.last = end == count;
  s.seed = seed;
  s.device = device;
  s.kernels = queue;
  s.options = std::move(options);
  s.buffers.emplace(std::vector(workload.layers.begin() + first, workload.layers.begin() + end), s.options, device,
                    queue);
  std::set<std::string> reads;
  const Boundary* handed = &s.input;
  s.between.reserve(static_cast<std::size_t>(end - first));
  for (int l = first; l < end; ++l) {
    const auto& layer = workload.layers[static_cast<std::size_t>(l)];
    s.between.push_back(layer->output(*handed));
    handed = &s.between.back();
    for (const std::string& name : layer->reads()) {
      reads.insert(name);
    }
    s.layers.emplace_back(layer, l, seed, *s.buffers, s.buffers->rooms()[static_cast<std::size_t>(l - first)]);
    for (std::size_t p = 0; p < s.layers.back().parameters().size(); ++p) {
      s.slots.emplace(s.layers.back().parameters()[p].unsafeGetTensorImpl(), s.layers.back().gradients()[p]);
    }
  }
  s.output = s.between.back();
  s.reads.assign(reads.begin(), reads.end());
}

Stage::~Stage() = default;
Stage::Stage(Stage&&) noexcept = default;
Stage& Stage::operator=(Stage&&) noexcept = default;

const Boundary& Stage::input() const {
  return state_->input;
}
const Boundary& Stage::output() const {
  return state_->output;
}
int Stage::first() const {
  return state_->first;
}
int Stage::end() const {
  return state_->end;
}
bool Stage::is_last() const {
  return state_->last;
}
const std::vector<std::string>& Stage::reads() const {
  return state_->reads;
}
int Stage::in_flight() const {
  return static_cast<int>(state_->in_flight.size());
}
const std::vector<LayerState>& Stage::layers() const {
  return state_->layers;
}

/// The layers' last tensors. With `flight` they make a graph, whose ends go there.
TensorList Stage::State::run_layers(InFlight* flight, int micro_batch, std::int64_t step, std::int64_t first_sample,
                                    TensorList tensors, const Fields& fields, bool training, Fields* outputs) {
  expect_tensors(tensors, input, fmt::format("input of layer {}", layers.front().layer().name()));
  const at::AutoGradMode gradients(flight != nullptr);
  WeightGradients passing(slots);  // operators choose their kernels by it: the same with and without a graph
  if (flight != nullptr) {
    flight->inputs = std::make_shared<InputGradients>();
    flight->queue = std::make_unique<WeightGradients>(slots);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      tensors[i] = tensors[i].detach();
      if (input[i].has_gradient) {
        flight->inputs->watch(tensors[i]);
      }
    }
  }

  for (std::size_t i = 0; i < layers.size(); ++i) {
    const LayerState& layer = layers[i];
    LayerContext context{.parameters = layer.parameters(),
                         .fields = &fields,
                         .random = {seed, step, layer.index(), micro_batch, first_sample},
                         .training = training,
                         .queue = flight != nullptr ? flight->queue.get()
                                  : training        ? &passing
                                                    : nullptr,
                         .outputs = outputs,
                         .kernels = kernels};
    tensors = layer.layer().forward(tensors, context);
    if (last && i + 1 == layers.size()) {
      break;
    }
    expect_tensors(tensors, between[i], fmt::format("output of layer {}", layer.layer().name()));
    if (i + 1 < layers.size()) {
      tensors = pass_boundary(tensors, between[i]);
    }
  }

  if (last && (tensors.size() != 1 || !tensors[0].defined() || tensors[0].numel() != 1)) {
    throw InputError::of("output of layer {}: found {} tensors, expected one scalar, the summed loss",
                         layers.back().layer().name(), tensors.size());
  }
  if (flight != nullptr) {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (last || output[i].has_gradient) {
        flight->roots.push_back(tensors[i].requires_grad() ? torch::autograd::impl::gradient_edge(tensors[i]) : Edge());
      }
    }
  }
  return tensors;
}

namespace {

TensorList handed_on(TensorList tensors) {
  for (at::Tensor& tensor : tensors) {
    tensor = tensor.detach().contiguous();
  }
  return tensors;
}

}  // namespace

void Stage::State::note_loss(int micro_batch, const TensorList& tensors) {
  losses[micro_batch] = tensors[0].detach();
}

TensorList Stage::forward(int micro_batch, std::int64_t step, TensorList input, const Fields& fields, bool training,
                          Fields* outputs, std::int64_t first_sample) {
  State& s = *state_;
  MOTLEY_CHECK(!training || !s.in_flight.contains(micro_batch), "second forward of micro-batch {}", micro_batch);
  InFlight flight;
  TensorList tensors = s.run_layers(training ? &flight : nullptr, micro_batch, step, first_sample, std::move(input),
                                    fields, training, outputs);
  if (training) {
    s.in_flight.emplace(micro_batch, std::move(flight));
  }
  if (s.last) {
    s.note_loss(micro_batch, tensors);
    return {};
  }
  return handed_on(std::move(tensors));
}

TensorList Stage::forward_unsaved(int micro_batch, std::int64_t step, TensorList input, const Fields& fields,
                                  std::int64_t first_sample) {
  State& s = *state_;
  MOTLEY_CHECK(!s.in_flight.contains(micro_batch), "second forward of micro-batch {}", micro_batch);
  InFlight flight;
  flight.unsaved = true;
  flight.input = input;
  flight.step = step;
  flight.first_sample = first_sample;
  TensorList tensors =
      s.run_layers(nullptr, micro_batch, step, first_sample, std::move(input), fields, /*training=*/true, nullptr);
  s.in_flight.emplace(micro_batch, std::move(flight));
  if (s.last) {
    s.note_loss(micro_batch, tensors);
    return {};
  }
  return handed_on(std::move(tensors));
}

void Stage::recompute(int micro_batch, const Fields& fields) {
  InFlight& flight = state_->at(micro_batch);
  MOTLEY_CHECK(flight.unsaved, "the graph of micro-batch {} is there already", micro_batch);
  flight.unsaved = false;
  (void)state_->run_layers(&flight, micro_batch, flight.step, flight.first_sample, std::exchange(flight.input, {}),
                           fields, /*training=*/true, nullptr);
}

// Parameters that a layer used through ordinary autograd: their gradients join the queue behind the others, so that
// sums do not depend on whether weight gradients were deferred.
void Stage::State::queue_plain_gradients(WeightGradients& queue) {
  for (const LayerState& layer : layers) {
    for (std::size_t p = 0; p < layer.parameters().size(); ++p) {
      at::Tensor& gradient = layer.parameters()[p].mutable_grad();
      if (gradient.defined()) {
        queue.add([sum = layer.gradients()[p], gradient = std::move(gradient)] { sum.add_(gradient); });
        gradient = at::Tensor();
      }
    }
  }
}

TensorList Stage::State::run_backward(int micro_batch, TensorList grad_output, double loss_scale, bool deferred) {
  InFlight& flight = at(micro_batch);
  MOTLEY_CHECK(!flight.had_input_gradient, "second backward of micro-batch {}", micro_batch);
  MOTLEY_CHECK(!flight.unsaved, "backward of micro-batch {} before its recompute", micro_batch);
  if (last) {
    MOTLEY_CHECK(grad_output.empty(), "the last stage takes no gradients, found {}", grad_output.size());
    grad_output.push_back(at::full({}, loss_scale, at::TensorOptions().dtype(at::kFloat).device(device)));
  }
  MOTLEY_CHECK(grad_output.size() == flight.roots.size(), "found {} output gradients, expected {}", grad_output.size(),
               flight.roots.size());
  flight.queue->defer(deferred);
  flight.had_input_gradient = true;

  edge_list roots;
  torch::autograd::variable_list gradients;
  for (std::size_t i = 0; i < flight.roots.size(); ++i) {
    if (flight.roots[i].is_valid()) {
      roots.push_back(std::move(flight.roots[i]));
      gradients.push_back(std::move(grad_output[i]));
    }
  }
  flight.roots.clear();
  grad_output.clear();
  if (!roots.empty()) {
    torch::autograd::Engine::get_default_engine().execute(roots, gradients, /*keep_graph=*/false,
                                                          /*create_graph=*/false, /*accumulate_grad=*/true);
  }
  queue_plain_gradients(*flight.queue);
  TensorList input_gradients = flight.inputs->take();
  flight.inputs.reset();
  return input_gradients;
}

void Stage::State::finish_weights(int micro_batch) {
  MOTLEY_CHECK(micro_batch > last_weight, "weight gradients of micro-batch {} after those of {}", micro_batch,
               last_weight);
  last_weight = micro_batch;
  in_flight.erase(micro_batch);
}

TensorList Stage::backward_input(int micro_batch, TensorList grad_output, double loss_scale) {
  return state_->run_backward(micro_batch, std::move(grad_output), loss_scale, /*deferred=*/true);
}

void Stage::backward_weight(int micro_batch) {
  InFlight& flight = state_->at(micro_batch);
  MOTLEY_CHECK(flight.had_input_gradient, "backward_weight of micro-batch {} before its backward_input", micro_batch);
  MOTLEY_CHECK(micro_batch > state_->last_weight, "weight gradients of micro-batch {} after those of {}", micro_batch,
               state_->last_weight);
  flight.queue->run();
  state_->finish_weights(micro_batch);
}

TensorList Stage::backward(int micro_batch, TensorList grad_output, double loss_scale) {
  MOTLEY_CHECK(micro_batch > state_->last_weight, "weight gradients of micro-batch {} after those of {}", micro_batch,
               state_->last_weight);
  TensorList gradients = state_->run_backward(micro_batch, std::move(grad_output), loss_scale, /*deferred=*/false);
  state_->finish_weights(micro_batch);
  return gradients;
}

void Stage::start_norms() {
  state_->buffers->start_norms();
}

std::vector<double> Stage::squared_norms() {
  return state_->buffers->norms();
}

void Stage::update(std::int64_t step, double clip_scale) {
  MOTLEY_CHECK(state_->in_flight.empty(), "update with {} micro-batches in flight", state_->in_flight.size());
  state_->buffers->update(state_->options, step, clip_scale);
  state_->last_weight = -1;
}

std::vector<double> Stage::take_loss() {
  std::vector<double> losses;
  for (const auto& [micro_batch, loss] : state_->losses) {
    losses.push_back(loss.item<double>());
  }
  state_->losses.clear();
  return losses;
}

void Stage::abandon_step() {
  state_->in_flight.clear();
  state_->losses.clear();
  state_->last_weight = -1;
  state_->buffers->zero_gradients();
  for (const LayerState& layer : state_->layers) {
    for (const at::Tensor& parameter : layer.parameters()) {
      parameter.mutable_grad() = at::Tensor();
    }
  }
}

Bytes Stage::parameter_bytes() const {
  std::int64_t floats = 0;
  for (const LayerState& layer : state_->layers) {
    floats += layer.flat_parameters().numel();
  }
  return Bytes{floats * static_cast<std::int64_t>(sizeof(float))};
}

Bytes Stage::gradient_bytes() const {
  return parameter_bytes();
}

Bytes Stage::optimizer_bytes() const {
  const bool mixed = state_->options.parameters == DType::BFloat16;
  return parameter_bytes() * state_->options.state_buffers() + (mixed ? Bytes{parameter_bytes().value / 2} : Bytes{});
}

}  // namespace motley
