#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "motley/kernels/adamw/adamw.h"
#include "motley/kernels/device_kernels.h"
#include "motley/stage/optimizer.h"
#include "motley/workloads/layer.h"

namespace motley {

/// State of the optimiser: "exp_avg" and "exp_avg_sq" (adamw) or "momentum" (sgd), flat.
struct Moment {
  std::string name;
  at::Tensor flat;
};

/// Where one layer's parameters lie in flat buffers, in elements.
struct LayerRoom {
  std::int64_t begin = 0;
  std::vector<std::int64_t>
      offsets;  ///< from `begin`, one more than there are parameters: the last is the layer's size
};

/// Parameters, gradients and optimiser state of consecutive layers: flat float32 buffers of one layout, so that a step
/// is one pass (on a device one launch) whatever layers there are. Each parameter starts at a multiple of 64 bytes, and
/// in mixed precision each layer at one of its bfloat16 copy too, so that no bit depends on the layers before; the
/// padding is zero.
class ParameterBuffers {
 public:
  /// Zeros on `device`. Kernels are launched into `queue`, which `device` is of; without it the host's are used on the
  /// host and LibTorch's operators elsewhere.
  ParameterBuffers(const std::vector<std::shared_ptr<const Layer>>& layers, const OptimizerOptions& options,
                   at::Device device, kernels::KernelQueue queue = {});

  [[nodiscard]] const std::vector<LayerRoom>& rooms() const { return rooms_; }
  [[nodiscard]] const at::Tensor& parameters() const { return parameters_; }
  [[nodiscard]] const at::Tensor& rounded() const { return rounded_; }  ///< bfloat16; undefined without mixed precision
  [[nodiscard]] const at::Tensor& gradients() const { return gradients_; }
  [[nodiscard]] const std::vector<Moment>& moments() const { return moments_; }

  /// Sums of squares of each layer's gradients: start_norms() puts the sums into the device's order, norms() reads what
  /// was started last, or starts it; on a device it waits unless what was computed since is known to be done. The
  /// layer's own values and their order alone decide the bits.
  void start_norms();
  [[nodiscard]] const std::vector<double>& norms();
  void zero_gradients();

  /// Optimiser step `step` (from 0) with gradients times `clip_scale`; gradients are zero afterwards, and rounded() is
  /// the new parameters. Throws Fault when a launch fails.
  void update(const OptimizerOptions& options, std::int64_t step, double clip_scale);

  /// The same by LibTorch's operators, on any device; differs by rounding.
  void update_by_operators(const OptimizerOptions& options, std::int64_t step, double clip_scale);

 private:
  void launch(const OptimizerOptions& options, std::int64_t step, double clip_scale);
  void update_on_host(const OptimizerOptions& options, std::int64_t step, double clip_scale);
  [[nodiscard]] std::uint16_t* rounded_bits();
  [[nodiscard]] kernels::AdamwBuffers adamw_buffers();
  [[nodiscard]] kernels::SgdBuffers sgd_buffers();

  kernels::KernelQueue queue_;
  std::vector<LayerRoom> rooms_;
  std::int64_t largest_ = 0;  // room of a layer
  std::vector<kernels::DecayRun> decay_runs_;
  at::Tensor parameters_;
  at::Tensor rounded_;
  at::Tensor gradients_;
  std::vector<Moment> moments_;
  std::vector<double> norms_;  // a layer each
  bool norms_started_ = false;
  // On the device; all but norms_there_ for kernels alone.
  at::Tensor norms_there_;
  at::Tensor runs_there_;
  at::Tensor begins_there_;
  at::Tensor norm_scratch_;
};

}  // namespace motley
