#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "motley/cuda/api.h"

// NCCL's own name of what its handle points to.
struct ncclComm;

namespace motley {

using NcclComm = ncclComm*;

/// ncclUniqueId: handed over by value, so its size is part of the call.
struct NcclUniqueId {
  std::array<char, 128> bytes{};
};

/// The head of ncclConfig_t up to what is used, as of NCCL 2.14 (2.17 for maxCTAs); `size` tells the library how much
/// there is. `version` is that of the library the members were taken from.
struct NcclConfig {
  static constexpr int kUndefined = -2147483647 - 1;

  std::size_t size = sizeof(NcclConfig);
  unsigned magic = 0xcafebeef;
  unsigned version = 21700;
  int blocking = kUndefined;
  int cga_cluster_size = kUndefined;
  int min_ctas = kUndefined;
  int max_ctas = kUndefined;
  const char* net_name = nullptr;
  int split_share = kUndefined;
};

/// Every call of NCCL that Motley makes. All return an ncclResult_t, 0 for success.
#define MOTLEY_NCCL_CALLS(CALL)                                                                               \
  CALL(ncclGetVersion, (int* version))                                                                        \
  CALL(ncclGetUniqueId, (NcclUniqueId * id))                                                                  \
  CALL(ncclCommInitRankConfig, (NcclComm * comm, int ranks, NcclUniqueId id, int rank, NcclConfig* config))   \
  CALL(ncclCommGetAsyncError, (NcclComm comm, int* error))                                                    \
  CALL(ncclCommFinalize, (NcclComm comm))                                                                     \
  CALL(ncclCommDestroy, (NcclComm comm))                                                                      \
  CALL(ncclCommAbort, (NcclComm comm))                                                                        \
  CALL(ncclGroupStart, ())                                                                                    \
  CALL(ncclGroupEnd, ())                                                                                      \
  CALL(ncclSend, (const void* data, std::size_t count, int type, int peer, NcclComm comm, CudaStream stream)) \
  CALL(ncclRecv, (void* into, std::size_t count, int type, int peer, NcclComm comm, CudaStream stream))       \
  CALL(ncclAllReduce,                                                                                         \
       (const void* in, void* out, std::size_t count, int type, int operation, NcclComm comm, CudaStream stream))

/// The table that every NCCL call of Motley goes through: of the real library, or of a fake in tests.
struct NcclApi {
#define MOTLEY_NCCL_MEMBER(name, parameters) int(*name) parameters = nullptr;  // NOLINT(bugprone-macro-parentheses)
  MOTLEY_NCCL_CALLS(MOTLEY_NCCL_MEMBER)
#undef MOTLEY_NCCL_MEMBER
  const char* (*ncclGetErrorString)(int error) = nullptr;
  const char* (*ncclGetLastError)(NcclComm comm) = nullptr;

  std::string library;
  int version = 0;  ///< 22809 for 2.28.9
};

inline constexpr int kNcclSuccess = 0;
inline constexpr int kNcclInProgress = 7;
inline constexpr int kNcclBytes = 1;  ///< ncclUint8
inline constexpr int kNcclFloat = 7;  ///< ncclFloat32
inline constexpr int kNcclSum = 0;

/// "2.28.9"
[[nodiscard]] std::string nccl_version_text(int version);

/// Fills the table from a shared library, by default NCCL's. Throws Fault in one line: no library, a call it lacks, or
/// a version before 2.17, the first that is told how few CTAs to use.
[[nodiscard]] NcclApi load_nccl(const std::string& library = "");

}  // namespace motley
