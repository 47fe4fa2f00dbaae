#pragma once

namespace motley::kernels {

/// What a tensor is made of. BFloat16 is handed over as its 16 bits.
enum class Element { Float32, BFloat16 };

}  // namespace motley::kernels
