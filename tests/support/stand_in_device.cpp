#include "stand_in_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_local_scalar_dense.h>
#include <fmt/format.h>
#include <torch/library.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "jointtuner/base/shape.h"
#include "stand_in_memory.h"
#include "stand_in_rules.h"

namespace jointtuner::testing {
namespace {

using at::Tensor;

/// A CPU storage over the same bytes. A kernel that makes it larger gives it memory of its own.
c10::Storage host_storage(const c10::Storage& device) {
  return {c10::Storage::use_byte_size_t(), device.nbytes(), c10::DataPtr(host_address(device.data()), c10::kCPU),
          c10::GetAllocator(c10::kCPU), /*resizable=*/true};
}

/// A tensor over `storage` that looks like `like`.
Tensor tensor_over(c10::Storage storage, c10::DispatchKey key, const Tensor& like) {
  Tensor tensor = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(key), like.dtype());
  c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  if (like.unsafeGetTensorImpl()->is_wrapped_number()) impl->set_wrapped_number(true);
  return tensor;
}

/// One run of an operator's CPU kernel on stand-in tensors: each gets a CPU tensor over the same memory, two of one
/// storage share one again, and what the kernel returns is known by it.
class Call {
 public:
  at::IValue to_host(const at::IValue& value) {
    if (value.isTensor()) return host(value.toTensor());
    if (value.isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor& tensor : value.toTensorVector()) list.push_back(host(tensor));
      return list;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> list;
      for (const std::optional<Tensor>& tensor : value.toOptionalTensorVector())
        list.push_back(tensor ? std::optional(host(*tensor)) : std::nullopt);
      return list;
    }
    TORCH_CHECK(!value.isStorage(), "the stand-in takes no storages");
    TORCH_CHECK(!value.isGenerator(), "Expected a 'standin' device type for generator but found 'cpu'");
    if (value.isDevice() && value.toDevice().type() == kStandIn.type()) return c10::Device(c10::kCPU);
    return value;
  }

  at::IValue to_device(const at::IValue& value) {
    if (value.isTensor()) return device(value.toTensor());
    if (value.isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor& tensor : value.toTensorVector()) list.push_back(device(tensor));
      return list;
    }
    return value;
  }

  /// What the kernel resized in place.
  void update_arguments() {
    for (auto& [impl, pair] : storages_) {
      auto& [own, host] = pair;
      if (host.data() == host_address(own.data())) continue;
      const size_t bytes = host.nbytes();
      c10::Storage taken(c10::Storage::use_byte_size_t(), bytes, host.set_data_ptr({nullptr, c10::kCPU}), nullptr,
                         false);
      own.unsafeGetStorageImpl()->set_data_ptr_noswap(device_memory(std::move(taken)));
      own.set_nbytes(bytes);
    }
    for (auto& [own, host] : tensors_)
      if (own.sizes() != host.sizes() || own.strides() != host.strides())
        own.unsafeGetTensorImpl()->set_sizes_and_strides(host.sizes(), host.strides(), host.storage_offset());
  }

 private:
  Tensor host(const Tensor& tensor) {
    if (!tensor.defined() || tensor.is_cpu()) return tensor;
    for (const auto& [own, host] : tensors_)
      if (own.is_same(tensor)) return host;
    auto* const impl = tensor.storage().unsafeGetStorageImpl();
    auto found = storages_.find(impl);
    if (found == storages_.end())
      found = storages_.emplace(impl, std::pair(tensor.storage(), host_storage(tensor.storage()))).first;
    tensors_.emplace_back(tensor, tensor_over(found->second.second, c10::DispatchKey::CPU, tensor));
    return tensors_.back().second;
  }

  Tensor device(const Tensor& result) {
    if (!result.defined()) return result;
    for (const auto& [own, host] : tensors_)
      if (host.is_same(result)) return own;
    auto* const impl = result.storage().unsafeGetStorageImpl();
    for (const auto& [own_impl, pair] : storages_)
      if (pair.second.unsafeGetStorageImpl() == impl)  // a view
        return tensor_over(pair.first, c10::DispatchKey::PrivateUse1, result);
    const size_t bytes = result.storage().nbytes();
    c10::Storage made(c10::Storage::use_byte_size_t(), bytes, device_memory(result.storage()), device_allocator(),
                      true);
    storages_.emplace(made.unsafeGetStorageImpl(), std::pair(made, result.storage()));
    return tensor_over(made, c10::DispatchKey::PrivateUse1, result);
  }

  std::vector<std::pair<Tensor, Tensor>> tensors_;  ///< on the stand-in, on the host
  std::unordered_map<c10::StorageImpl*, std::pair<c10::Storage, c10::Storage>> storages_;
};

void run_on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  check_devices(op, *stack);
  count_traffic(op, *stack);
  Call call;
  const auto first = stack->end() - static_cast<std::ptrdiff_t>(op.schema().arguments().size());
  std::transform(first, stack->end(), first, [&](const at::IValue& value) { return call.to_host(value); });
  {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  }
  call.update_arguments();
  const auto results = stack->end() - static_cast<std::ptrdiff_t>(op.schema().returns().size());
  std::transform(results, stack->end(), results, [&](const at::IValue& value) { return call.to_device(value); });
}

Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
             std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, device_allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   type.value_or(at::kFloat), format);
}

Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> type,
                     std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(
      size, stride, device_allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), type.value_or(at::kFloat));
}

/// Between devices, or on the stand-in. Only a copy that need not block, from or to pinned memory, does not wait.
Tensor& copy_(Tensor& self, const Tensor& source, bool non_blocking) {
  const bool in = source.is_cpu(), out = self.is_cpu();
  if (in || out) {
    const Tensor& host = in ? source : self;
    count_copy(in, host.nbytes());
    if (!non_blocking || !is_pinned(host.const_data_ptr()))
      count_wait(fmt::format("aten::copy_ of {} {} to the {}", c10::toString(self.scalar_type()),
                             shape_text(self.sizes()), in ? "device" : "host"));
  }
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  Tensor to = out ? self : seen_by_host(self);
  to.copy_(in ? source : seen_by_host(source));
  return self;
}

at::Scalar local_scalar_dense(const Tensor& self) {
  count_copy(/*to_device=*/false, self.nbytes());
  count_wait("aten::item");
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return at::_local_scalar_dense(seen_by_host(self));
}

void register_operators() {
  const auto library = [](const char* name_space) {
    return new torch::Library(torch::Library::IMPL, name_space, c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
  };
  // Never destroyed: the dispatcher may be used to the very end.
  static auto& aten = *library("aten");
  static auto& own = *library("jointtuner");
  aten.impl("empty.memory_format", empty);
  aten.impl("empty_strided", empty_strided);
  aten.impl("copy_", copy_);
  aten.impl("_local_scalar_dense", local_scalar_dense);
  for (const c10::OperatorHandle& op : kernel_operators()) {
    if (op.hasKernelForDispatchKey(c10::DispatchKey::PrivateUse1)) continue;
    torch::Library& library_of = op.operator_name().name.rfind("aten::", 0) == 0 ? aten : own;
    library_of.impl(c10::toString(op.operator_name()).c_str(),
                    torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
  }
}

}  // namespace

at::Device stand_in() {
  static const bool registered = [] {
    register_stand_in_memory();
    register_operators();
    return true;
  }();
  TORCH_CHECK(registered);
  return kStandIn;
}

Tensor seen_by_host(const Tensor& tensor) {
  return tensor_over(host_storage(tensor.storage()), c10::DispatchKey::CPU, tensor);
}

}  // namespace jointtuner::testing
