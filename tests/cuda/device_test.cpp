#include "motley/cuda/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "fakes/fakes.h"
#include "motley/cuda/memory.h"

namespace motley {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string failure_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

TEST(LoadCuda, NamesTheLibraryOrTheCallThatIsMissing) {
  EXPECT_THAT(failure_of([] { (void)load_cuda("/no/libcudart.so"); }),
              AllOf(HasSubstr("no CUDA"), HasSubstr("/no/libcudart.so")));
  // A library of another kind.
  EXPECT_THAT(failure_of([] { (void)load_cuda("libdl.so.2"); }), HasSubstr("has no cuda"));
}

TEST(LoadCuda, TheRealLibraryHasEveryCallAndSaysWhyThereIsNoGpu) {
  CudaApi api;
  try {
    api = load_cuda();
  } catch (const Fault& fault) {
    GTEST_SKIP() << fault.what();
  }
  EXPECT_FALSE(api.is_fake);
  try {
    EXPECT_GE(count_devices(api), 1);
  } catch (const Fault& fault) {
    EXPECT_THAT(fault.what(), HasSubstr("no GPU: "));
    EXPECT_THAT(fault.what(), testing::Not(HasSubstr("\n")));
  }
}

TEST(CudaDevice, TellsWhatItIs) {
  fakes::control().play("devices=2;capability=75;memory=1000000");
  const CudaDevice device(fakes::cuda(), 1);
  EXPECT_TRUE(device.is_fake());
  EXPECT_EQ(device.properties().text(), "fake GPU (sm_75)");
  EXPECT_EQ(device.properties().uuid, "fa000000000000000000000000000001");
  EXPECT_EQ(device.properties().memory.value, 1000000);
  EXPECT_EQ(device.properties().driver_version, 13000);
}

TEST(CudaDevice, RefusesWhatIsNotThere) {
  fakes::control().play("devices=2");
  EXPECT_EQ(failure_of([] { CudaDevice(fakes::cuda(), 2); }), "CUDA device 2: found devices 0 to 1");
  fakes::control().play("devices=0");
  EXPECT_THAT(failure_of([] { CudaDevice(fakes::cuda(), 0); }), HasSubstr("no GPU: the NVIDIA driver shows"));
  fakes::control().play("cudaGetDeviceCount=35;driver=0");
  EXPECT_EQ(failure_of([] { CudaDevice(fakes::cuda(), 0); }), "no GPU: this machine has no NVIDIA driver");
  fakes::control().play("cudaGetDeviceCount=35;driver=11040");
  EXPECT_THAT(failure_of([] { CudaDevice(fakes::cuda(), 0); }), HasSubstr("the NVIDIA driver knows CUDA 11.4"));
}

TEST(CudaMemory, CountsAndSaysWhatIsFreeWhereItEnds) {
  fakes::control().play("memory=1000");
  const CudaDevice device(fakes::cuda(), 0);
  {
    const CudaMemory block(device, CudaMemory::Kind::Device, 600);
    EXPECT_EQ(device.free_memory().value, 400);
    EXPECT_EQ(failure_of([&] { CudaMemory(device, CudaMemory::Kind::Device, 500); }),
              "out of memory on cuda:0: asked for 500 bytes, 400 of 1000 are free");
    CudaMemory moved(device, CudaMemory::Kind::Pinned, 10);
    moved = CudaMemory(device, CudaMemory::Kind::Pinned, 20);
    EXPECT_EQ(moved.bytes().size(), 20U);
    const CudaMemory none(device, CudaMemory::Kind::Device, 0);
    EXPECT_TRUE(none.bytes().empty());
  }
  EXPECT_EQ(fakes::control().counts().device_blocks, 0);
  EXPECT_EQ(fakes::control().counts().pinned_blocks, 0);
  EXPECT_THAT(fakes::control().misuse(), testing::IsEmpty());
}

}  // namespace
}  // namespace motley
