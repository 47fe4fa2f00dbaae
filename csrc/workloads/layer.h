#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "motley/base/tensor_spec.h"
#include "motley/kernels/device_kernels.h"
#include "motley/workloads/weight_gradients.h"

namespace motley {

using TensorList = std::vector<at::Tensor>;

/// One parameter of a layer, float32.
struct ParameterSpec {
  enum class Init { Zeros, Ones, Normal /* deviation `scale` */, Uniform /* in [-scale, scale) */, Given };

  std::string name;
  std::vector<std::int64_t> shape;
  Init init = Init::Zeros;
  double scale = 0.0;
  bool weight_decay = false;
  std::vector<float> given = {};  ///< of Init::Given, one an element

  [[nodiscard]] std::int64_t elements() const;
};

/// All that random numbers may depend on, so that they do not depend on the plan.
struct RandomKey {
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  int layer = 0;  ///< index in the workload
  int micro_batch = 0;
  std::int64_t first_sample = 0;  ///< of this rank's samples within the micro-batch: 0 unless the stage is replicated

  /// A number that differs for keys that differ in anything but `first_sample`; `site` tells several uses in one layer
  /// apart.
  [[nodiscard]] std::uint64_t hash(std::uint64_t site = 0) const;

  /// LibTorch's generator from `hash()` and `first_sample`, for layers that use LibTorch's own random operators. (What
  /// they draw for a sample depends on `first_sample`; `dropout` of functions.h does not.)
  [[nodiscard]] at::Generator generator() const;
};

/// Tensors by name with one row a sample: what the data source has of a micro-batch ("embedding", "tokens", "correct"),
/// or what the last layer shows of it.
using Fields = std::map<std::string, at::Tensor>;

struct LayerContext {
  std::span<const at::Tensor> parameters;  ///< in the order of Layer::parameters()
  const Fields* fields = nullptr;          ///< what Layer::reads() names
  RandomKey random;
  bool training = false;
  WeightGradients* queue = nullptr;   ///< null: weight gradients take the ordinary way through autograd
  Fields* outputs = nullptr;          ///< null unless evaluated: where the last layer puts its predictions, by name
  kernels::KernelQueue kernels = {};  ///< where the tensors' device launches kernels of ours; empty: it has none
};

/// One step of a model's chain, without state: parameters come from outside. A stage is a run of layers.
class Layer {
 public:
  virtual ~Layer() = default;

  [[nodiscard]] virtual std::string name() const = 0;
  [[nodiscard]] virtual std::vector<ParameterSpec> parameters() const = 0;

  /// What this layer hands on when it is handed `input`; {} for the last layer. The first layer is handed {} and reads
  /// fields. Throws InputError naming the layer when the input does not fit.
  [[nodiscard]] virtual Boundary output(const Boundary& input) const = 0;

  /// Names of the fields it needs; targets are read by the rank that needs them.
  [[nodiscard]] virtual std::vector<std::string> reads() const { return {}; }

  /// Input and output tensors have shape [samples, shape per sample...]. The last layer returns exactly one scalar: the
  /// SUM of the loss over the micro-batch's samples; the caller scales. Must be differentiable by LibTorch's autograd;
  /// a layer that uses functions.h gives its weight gradients apart and makes zero-bubble schedules pay.
  [[nodiscard]] virtual TensorList forward(const TensorList& input, LayerContext& context) const = 0;
};

/// Throws InputError that names `layer`, what it is handed and what it expects, unless they agree in shape, type and
/// number (names of tensors may differ).
void expect_input(const Layer& layer, const Boundary& input, const Boundary& expected);

/// The field `name`. Throws InputError naming the layer and the fields there are.
[[nodiscard]] const at::Tensor& field_of(const LayerContext& context, const Layer& layer, const std::string& name);

}  // namespace motley
