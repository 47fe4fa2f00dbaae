#include "motley/comm/detail/run_token.h"

#include <random>

namespace motley {

RunToken new_run_token() {
  std::random_device random;
  RunToken token;
  for (std::uint8_t& byte : token) byte = static_cast<std::uint8_t>(random());
  return token;
}

}  // namespace motley
