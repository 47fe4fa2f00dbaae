#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "motley/base/tensor_spec.h"
#include "motley/base/units.h"
#include "motley/kernels/device_kernels.h"

namespace motley {

/// How the float32 tensors of an edge cross: plan/wire.h has their bytes. Tensors of other types cross as they are.
enum class Wire : std::uint8_t { Float32, BFloat16, Int8 };

/// By the plan's name for it. Throws InputError naming those there are.
[[nodiscard]] Wire wire_by_name(const std::string& name);

/// Whether a tensor crosses encoded.
[[nodiscard]] bool is_encoded(Wire wire, const at::Tensor& tensor);

/// Bytes of `samples` rows of a tensor as it crosses.
[[nodiscard]] Bytes crossing_bytes(Wire wire, const TensorSpec& spec, std::int64_t samples);

/// What a contiguous float32 tensor crosses as, a list of bytes. bfloat16 rounds to nearest; int8 codes too, or, where
/// `stochastic`, up or down by chance so that the mean is exact: gradients add up over micro-batches. What is drawn
/// depends on `key` and a value's place alone. `queue`: where the tensor's device launches kernels; on a device without
/// them LibTorch's operators round to bfloat16, and there is no int8.
[[nodiscard]] at::Tensor encode(Wire wire, const at::Tensor& tensor, bool stochastic, std::uint64_t key,
                                kernels::KernelQueue queue = {});

/// Room for what encode() makes of such a tensor.
[[nodiscard]] at::Tensor room_for_encoded(Wire wire, const at::Tensor& tensor);

/// Writes the values into `tensor`.
void decode(Wire wire, const at::Tensor& encoded, const at::Tensor& tensor, kernels::KernelQueue queue = {});

}  // namespace motley
