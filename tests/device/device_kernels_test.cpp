#include "motley/device/device_kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes/fakes.h"
#include "motley/base/error.h"

namespace motley {
namespace {

std::string fault_of(const std::string& library) {
  try {
    (void)load_device_kernels(fakes::cuda(), library);
  } catch (const Fault& fault) {
    return fault.what();
  }
  return "";
}

TEST(DeviceKernels, ALibraryThatIsNotThereOrAnotherIsNamed) {
  EXPECT_EQ(fault_of("/no/kernels.so"),
            "no kernels for GPUs: /no/kernels.so could not be loaded (a build with nvcc makes it)");
  EXPECT_EQ(fault_of("libm.so.6"), "no kernels for GPUs: libm.so.6 has no motley_kernel_interface");
}

TEST(DeviceKernels, ALibraryOfAnotherInterfaceIsRefused) {
  fakes::control().play("kernel_interface=0");
  EXPECT_EQ(fault_of(MOTLEY_FAKE_GPU),
            fmt::format("no kernels for GPUs: {} has interface 0, expected {}: build it anew", MOTLEY_FAKE_GPU,
                        kernels::kDeviceKernelsInterface));
  fakes::control().play("");
  EXPECT_EQ(load_device_kernels(fakes::cuda(), MOTLEY_FAKE_GPU).library, MOTLEY_FAKE_GPU);
}

#ifdef MOTLEY_DEVICE_KERNELS_LIBRARY
TEST(DeviceKernels, WhatNvccMadeIsLoadedWithoutAGpuAndWithoutACudaLibrary) {
  const kernels::DeviceKernels table = load_device_kernels(fakes::cuda(), MOTLEY_DEVICE_KERNELS_LIBRARY);
  EXPECT_NE(table.adamw, nullptr);
  EXPECT_EQ(table.norm_scratch(3, 4097), 6U);
  // Nothing to do is no launch, so this needs no GPU.
  EXPECT_EQ(table.adamw({}, 0, nullptr, 0, {}, nullptr), 0);
}
#endif

}  // namespace
}  // namespace motley
