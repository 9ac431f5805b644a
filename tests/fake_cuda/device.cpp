// A CUDA device without hardware: enough of one for autograd over fake tensors, in a torch built with or without CUDA.
//
// Load the library before torch is imported. torch then asks these hooks instead of its own, and its autograd engine
// finds one device of type CUDA. Nothing here computes: FakeTensorMode has to keep every kernel from running.

#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/GeneratorImpl.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/TensorImpl.h>

namespace at {

struct PretendedGenerator final : c10::GeneratorImpl {
  PretendedGenerator() : GeneratorImpl(Device(DeviceType::CUDA, 0), DispatchKeySet(DispatchKey::CUDA)) {}
  void set_current_seed(uint64_t seed) override { seed_ = seed; }
  uint64_t current_seed() const override { return seed_; }
  uint64_t seed() override { return seed_; }
  void set_offset(uint64_t) override {}
  uint64_t get_offset() const override { return 0; }
  void set_state(const TensorImpl&) override { TORCH_CHECK(false, "a pretended generator has no state"); }
  c10::intrusive_ptr<TensorImpl> get_state() const override { TORCH_CHECK(false, "a pretended generator has no state"); }
  PretendedGenerator* clone_impl() const override { return new PretendedGenerator(*this); }

 private:
  PretendedGenerator(const PretendedGenerator& other) : PretendedGenerator() { seed_ = other.seed_; }
  uint64_t seed_ = 0;
};

struct PretendedHooks final : CUDAHooksInterface {
  explicit PretendedHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  void setCurrentDevice(DeviceIndex) const override {}
  DeviceIndex getCurrentDevice() const override { return 0; }
  DeviceIndex exchangeDevice(DeviceIndex) const override { return 0; }
  DeviceIndex maybeExchangeDevice(DeviceIndex) const override { return 0; }
  DeviceIndex current_device() const override { return 0; }
  int getNumGPUs() const override { return 1; }
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  bool hasCuDNN() const override { return true; }
  bool compiledWithCuDNN() const override { return true; }
  bool supportsBFloat16ConvolutionWithCuDNNv8() const override { return true; }
  long versionCuDNN() const override { return 92000; }
  long versionRuntimeCuDNN() const override { return 92000; }
  double batchnormMinEpsilonCuDNN() const override { return 1e-5; }  // CUDNN_BN_MIN_EPSILON of cuDNN 7; 0 since 8
  void deviceSynchronize(DeviceIndex) const override {}
  const Generator& getDefaultGenerator(DeviceIndex) const override {
    static const Generator generator = make_generator<PretendedGenerator>();
    return generator;
  }
  Generator getNewGenerator(DeviceIndex) const override { return make_generator<PretendedGenerator>(); }
};

}  // namespace at

namespace {

struct PretendedGuard final : c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA> {
  static c10::Device device() { return c10::Device(c10::DeviceType::CUDA, 0); }
  c10::Device exchangeDevice(c10::Device) const override { return device(); }
  c10::Device getDevice() const override { return device(); }
  c10::Stream getStream(c10::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, device()); }
  c10::Stream getDefaultStream(c10::Device) const override { return c10::Stream(c10::Stream::DEFAULT, device()); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, device());
  }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};

const bool hooks_registered = [] {
  // before torch's own, which a registry of higher priority then leaves out
  at::CUDAHooksRegistry()->Register(
      "CUDAHooks",
      [](at::CUDAHooksArgs arguments) -> std::unique_ptr<at::CUDAHooksInterface> {
        return std::make_unique<at::PretendedHooks>(arguments);
      },
      c10::REGISTRY_PREFERRED);
  return true;
}();

}  // namespace

// To be called once torch has been imported, since a torch built with CUDA sets a guard of its own.
extern "C" void set_pretended_guard() {
  static const PretendedGuard guard;
  c10::impl::device_guard_impl_registry[static_cast<size_t>(c10::DeviceType::CUDA)].store(&guard);
}
