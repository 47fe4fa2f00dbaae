#include "motley/launcher/versions.h"

#include <fmt/format.h>
#include <torch/version.h>
#include <boost/version.hpp>

#include "motley/comm/communicator.h"

namespace motley {

std::vector<std::pair<std::string, std::string>> version_table() {
  return {
      {"motley", MOTLEY_VERSION},
      {"LibTorch", TORCH_VERSION},
      {"MPI", mpi_version()},
      {"CUDA", MOTLEY_CUDA_VERSION[0] == '\0' ? "loaded when needed; no kernels compiled"
                                              : "loaded when needed; kernels compiled by nvcc " MOTLEY_CUDA_VERSION},
      {"NCCL", "loaded when needed, 2.17 or newer"},
      {"transports", "tcp, mpi"},
      {"Boost", fmt::format("{}.{}", BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000)},
      {"compiler", __VERSION__}};
}

std::string versions() {
  std::string text;
  for (const auto& [name, version] : version_table()) {
    text += name == "motley" ? fmt::format("motley {}\n", version) : fmt::format("  {:<11} {}\n", name, version);
  }
  return text;
}

}  // namespace motley
