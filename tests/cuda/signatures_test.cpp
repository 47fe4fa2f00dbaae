// The tables' signatures are our own; here they are compared with CUDA's and NCCL's headers.
#include <gtest/gtest.h>

#ifdef MOTLEY_HAS_CUDA_HEADERS

// Functions of these names that C++ adds to the header would hide the ones that are exported.
#define __CUDA_RUNTIME_H__  // NOLINT(bugprone-reserved-identifier)
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstddef>
#include <type_traits>

#include "motley/comm/nccl/api.h"
#include "motley/cuda/api.h"

namespace motley {
namespace {

/// Enums are ints to a caller; what a pointer points to may be ours; an ID is its bytes.
template <typename Type>
struct Plain {
  using type = std::conditional_t<
      std::is_enum_v<Type>, int,
      std::conditional_t<std::is_pointer_v<Type>, void*,
                         std::conditional_t<std::is_class_v<Type>, std::array<char, sizeof(Type)>, Type>>>;
};
template <typename Result, typename... Parameters>
struct Plain<Result(Parameters...)> {
  using type = Plain<Result>::type(typename Plain<Parameters>::type...);
};
template <typename Function>
using PlainFunction = Plain<std::remove_pointer_t<Function>>::type;

#define MOTLEY_COMPARE_CUDA(name, parameters) \
  static_assert(std::is_same_v<PlainFunction<decltype(&::name)>, PlainFunction<decltype(CudaApi::name)>>, #name);
MOTLEY_CUDA_CALLS(MOTLEY_COMPARE_CUDA)
#define MOTLEY_COMPARE_NCCL(name, parameters) \
  static_assert(std::is_same_v<PlainFunction<decltype(&::name)>, PlainFunction<decltype(NcclApi::name)>>, #name);
MOTLEY_NCCL_CALLS(MOTLEY_COMPARE_NCCL)

static_assert(std::is_same_v<CudaStream, cudaStream_t> && std::is_same_v<CudaEvent, cudaEvent_t>);
static_assert(offsetof(cudaDeviceProp, name) == 0 && offsetof(cudaDeviceProp, uuid) == 256);
static_assert(sizeof(cudaDeviceProp) <= 16384);
static_assert(cudaDevAttrComputeCapabilityMajor == 75 && cudaDevAttrComputeCapabilityMinor == 76);
static_assert(cudaErrorMemoryAllocation == kCudaOutOfMemory && cudaErrorNotReady == kCudaNotReady &&
              cudaErrorInsufficientDriver == kCudaDriverTooOld && cudaErrorNoDevice == kCudaNoDevice);
static_assert(cudaEventDisableTiming == 2 && cudaStreamNonBlocking == 1 && cudaMemcpyDefault == 4);

static_assert(sizeof(NcclUniqueId) == sizeof(ncclUniqueId) && std::is_same_v<NcclComm, ncclComm_t>);
static_assert(ncclSuccess == kNcclSuccess && ncclInProgress == kNcclInProgress && ncclUint8 == kNcclBytes &&
              ncclFloat32 == kNcclFloat && ncclSum == kNcclSum && NCCL_CONFIG_UNDEF_INT == NcclConfig::kUndefined);
static_assert(offsetof(NcclConfig, magic) == offsetof(ncclConfig_t, magic) &&
              offsetof(NcclConfig, version) == offsetof(ncclConfig_t, version) &&
              offsetof(NcclConfig, blocking) == offsetof(ncclConfig_t, blocking) &&
              offsetof(NcclConfig, max_ctas) == offsetof(ncclConfig_t, maxCTAs) &&
              offsetof(NcclConfig, net_name) == offsetof(ncclConfig_t, netName) &&
              offsetof(NcclConfig, split_share) == offsetof(ncclConfig_t, splitShare));

TEST(Signatures, TablesAgreeWithTheHeadersOfCudaAndNccl) {
  // Compared when this file was compiled; the values of what is used once more where a debugger can see them.
  const ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  EXPECT_EQ(config.magic, NcclConfig{}.magic);
}

}  // namespace
}  // namespace motley

#else

TEST(Signatures, TablesAgreeWithTheHeadersOfCudaAndNccl) {
  GTEST_SKIP() << "no CUDA toolkit with NCCL here";
}

#endif
