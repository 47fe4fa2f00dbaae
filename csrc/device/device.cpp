#include "motley/device/device.h"

#include <ATen/Context.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/ones.h>
#include <c10/core/AllocatorConfig.h>
#include <c10/core/AutogradState.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <chrono>
#include <vector>

#include "motley/base/error.h"

namespace motley {
namespace {

ComputeDevice::Memory counted(const std::optional<HostMemory>& memory) {
  if (!memory) return {};
  const HostMemoryCounts counts = memory->counts();
  return {counts.live, counts.peak};
}

class Host final : public ComputeDevice {
 public:
  explicit Host(std::optional<HostMemory> memory) : memory_(memory) {}

  std::string type() const override { return "cpu"; }
  c10::Device tensors() const override { return c10::Device(c10::kCPU); }
  void bind() override {}
  Stamp stamp() override {
    stamps_.push_back({std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count()});
    return static_cast<Stamp>(stamps_.size()) - 1;
  }
  Seconds time_of(Stamp stamp) const override { return stamps_.at(static_cast<std::size_t>(stamp)); }
  std::int64_t passed() override { return static_cast<std::int64_t>(stamps_.size()); }
  void forget_stamps() override { stamps_.clear(); }
  void finish() override {}
  Memory memory() const override { return counted(memory_); }
  void reset_peak() override {
    if (memory_) memory_->reset_peak();
  }

 private:
  std::optional<HostMemory> memory_;
  std::vector<Seconds> stamps_;
};

class Cuda final : public ComputeDevice {
 public:
  Cuda(const CudaDevice& device, const CudaOptions& options)
      : device_(device), memory_(options.memory), kernels_(options.kernels), compute_(device), clock_(compute_) {
    if (device.is_fake()) return;
    load_torch_cuda();
    if (options.deterministic) compute_the_same_each_time();
    const double fraction =
        static_cast<double>(options.cap.value) / static_cast<double>(device.properties().memory.value);
    if (fraction < 1.0) {
      c10::CachingAllocator::setAllocatorSettings(fmt::format("per_process_memory_fraction:{:.6f}", fraction));
    }
    // The allocator reads its settings now, and knows of no device before: it could not even be asked what it holds.
    at::globalContext().lazyInitDevice(c10::kCUDA);
    bind();
  }

  std::string type() const override { return device_.properties().text(); }

  c10::Device tensors() const override {
    return device_.is_fake() ? c10::Device(c10::kCPU)
                             : c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device_.index()));
  }

  void bind() override {
    if (device_.is_fake()) return;
    const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
    guard.setDevice(tensors());
    // LibTorch names a stream that is not its own by its address (getStreamFromExternal).
    const auto id = static_cast<c10::StreamId>(reinterpret_cast<std::intptr_t>(compute_.handle()));
    guard.exchangeStream(c10::Stream(c10::Stream::UNSAFE, tensors(), id));
    // Backward passes in this thread too: else another one computes them, with workspaces of its own, and may hold
    // tensors for a moment after they are done.
    c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
    take_workspaces();
  }

  Stamp stamp() override {
    if (used_ == events_.size()) events_.emplace_back(device_, StreamEvent::Timing::On);
    compute_.record(events_[used_]);
    return static_cast<Stamp>(used_++);
  }

  Seconds time_of(Stamp stamp) const override { return clock_.time_of(events_.at(static_cast<std::size_t>(stamp))); }

  std::int64_t passed() override {
    while (passed_ < used_ && events_[passed_].passed()) ++passed_;
    return static_cast<std::int64_t>(passed_);
  }

  void forget_stamps() override {
    used_ = 0;
    passed_ = 0;
  }

  void finish() override { compute_.finish(); }
  Stream* compute() override { return &compute_; }
  CudaClock* clock() override { return &clock_; }
  kernels::KernelQueue kernels() override { return {kernels_, compute_.handle()}; }

  Memory memory() const override {
    if (device_.is_fake()) return counted(memory_);
    const Memory all = allocated();
    return {all.live - workspaces_, all.peak - workspaces_};
  }

  Bytes workspaces() const override { return workspaces_; }

  void reset_peak() override {
    if (!device_.is_fake()) {
      c10::getDeviceAllocator(c10::kCUDA)->resetPeakStats(tensors().index());
    } else if (memory_) {
      memory_->reset_peak();
    }
  }

 private:
  /// Attention's gradients, say, are otherwise sums in the order in which blocks of threads happen to end. cuBLAS needs
  /// no CUBLAS_WORKSPACE_CONFIG for it: one stream a thread. LibTorch would parse that anew for every product of
  /// matrices.
  static void compute_the_same_each_time() {
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
    at::globalContext().setDeterministicFillUninitializedMemory(false);
    at::globalContext().setDeterministicCuDNN(true);
  }

  /// By LibTorch's allocator, asked for and not yet given back.
  Memory allocated() const {
    const auto stats = c10::getDeviceAllocator(c10::kCUDA)->getDeviceStats(tensors().index());
    const auto& bytes = stats.requested_bytes[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
    return {Bytes{bytes.current}, Bytes{bytes.peak}};
  }

  /// cuBLAS takes its workspaces at a thread's first product of matrices on a stream, and keeps them.
  void take_workspaces() {
    const Bytes before = allocated().live;
    for (const c10::ScalarType type : {c10::ScalarType::Float, c10::ScalarType::BFloat16}) {
      const at::Tensor ones = at::ones({64, 64}, c10::TensorOptions(tensors()).dtype(type));
      (void)at::addmm(ones, ones, ones);
      (void)at::addmm(ones[0], ones, ones);
    }
    compute_.finish();
    workspaces_ += allocated().live - before;
  }

  const CudaDevice& device_;
  std::optional<HostMemory> memory_;
  const kernels::DeviceKernels* kernels_;
  Bytes workspaces_;
  Stream compute_;
  CudaClock clock_;
  std::vector<StreamEvent> events_;
  std::size_t used_ = 0;
  std::size_t passed_ = 0;
};

}  // namespace

void load_torch_cuda() {
  // Its CUDA part registers itself when its library is loaded; the build needs neither it nor CUDA. LibTorch looks
  // once, when it is first asked for CUDA.
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    throw Fault::of("LibTorch's CUDA part could not be loaded: {}; scripts/setup --cuda installs it", dlerror());
  }
  if (!at::hasCUDA()) {
    throw Fault("LibTorch's CUDA part sees no GPU");
  }
}

std::unique_ptr<ComputeDevice> host_device(std::optional<HostMemory> memory) {
  return std::make_unique<Host>(memory);
}

std::unique_ptr<ComputeDevice> cuda_device(const CudaDevice& device, const CudaOptions& options) {
  return std::make_unique<Cuda>(device, options);
}

}  // namespace motley
