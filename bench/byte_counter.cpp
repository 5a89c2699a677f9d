#include "byte_counter.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include <set>

namespace jointtuner::bench {
namespace {

/// A key below autograd and above the backends that LibTorch leaves to others: operators arrive here as autograd sends
/// them on, in forward and in backward.
constexpr auto kKey = c10::DispatchKey::Fake;

ByteCounter* counting = nullptr;

/// Bytes of the distinct elements: a dimension of stride 0 repeats one.
int64_t distinct_bytes(const at::Tensor& tensor) {
  if (!tensor.defined()) return 0;
  int64_t elements = 1;
  for (int64_t i = 0; i < tensor.dim(); ++i)
    elements *= tensor.size(i) == 0 ? 0 : tensor.stride(i) == 0 ? 1 : tensor.size(i);
  return elements * static_cast<int64_t>(tensor.element_size());
}

int64_t bytes_of(const c10::IValue& value) {
  if (value.isTensor()) return distinct_bytes(value.toTensor());
  int64_t sum = 0;
  if (value.isTensorList())
    for (const at::Tensor& tensor : value.toTensorVector()) sum += distinct_bytes(tensor);
  return sum;
}

bool changes(const c10::Argument& argument) {
  return argument.alias_info() != nullptr && argument.alias_info()->isWrite();
}

bool is_view(const c10::FunctionSchema& schema) {
  for (const auto& result : schema.returns())
    if (result.alias_info() != nullptr && !result.alias_info()->isWrite()) return true;
  return false;
}

/// Operators that move nothing themselves: they call others, give views, or take memory without filling it.
bool moves_nothing(const c10::OperatorHandle& op) {
  static const std::set<std::string> kAllocations{
      "aten::empty",        "aten::empty_like", "aten::empty_strided",
      "aten::new_empty",    "aten::resize_",    "aten::new_empty_strided",
      "aten::_unsafe_view", "aten::detach",     "aten::_local_scalar_dense"};
  return op.hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd) || is_view(op.schema()) ||
         kAllocations.contains(op.schema().name());
}

Moved read_by(const c10::FunctionSchema& schema, const torch::jit::Stack& stack) {
  static const std::set<std::string> kOverwrites{"aten::copy_", "aten::fill_", "aten::zero_"};
  Moved moved;
  const size_t first = stack.size() - schema.arguments().size();
  for (size_t i = 0; i < schema.arguments().size(); ++i) {
    const c10::Argument& argument = schema.arguments()[i];
    const int64_t bytes = bytes_of(stack[first + i]);
    if (changes(argument)) moved.written += bytes;
    if (!changes(argument) || !(argument.is_out() || kOverwrites.contains(schema.name()))) moved.read += bytes;
  }
  return moved;
}

void count(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  const auto below = keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, kKey);
  const bool opened = counting != nullptr && counting->opens_own() && op.schema().getNamespace() == "jointtuner";
  if (counting == nullptr || opened || moves_nothing(op)) {
    op.redispatchBoxed(below, stack);
    return;
  }
  const auto& schema = op.schema();
  Moved moved = read_by(schema, *stack);
  {
    const c10::impl::ExcludeDispatchKeyGuard inside(kKey);
    op.redispatchBoxed(below, stack);
  }
  const size_t first = stack->size() - schema.returns().size();
  for (size_t i = 0; i < schema.returns().size(); ++i)
    if (schema.returns()[i].alias_info() == nullptr) moved.written += bytes_of((*stack)[first + i]);
  counting->add(schema.name(), moved);
}

TORCH_LIBRARY_IMPL(_, Fake, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&count>()); }

}  // namespace

ByteCounter::ByteCounter(std::function<Moved()> own) : own_(std::move(own)) {
  if (own_) own_();  // what was moved before does not count
  counting = this;
  c10::impl::tls_set_dispatch_key_included(kKey, true);
}

ByteCounter::~ByteCounter() {
  c10::impl::tls_set_dispatch_key_included(kKey, false);
  counting = nullptr;
}

Moved ByteCounter::sum() const {
  Moved sum = own_ ? own_() : Moved{};
  for (const auto& [name, moved] : by_operator_) {
    sum.read += moved.read;
    sum.written += moved.written;
  }
  return sum;
}

void ByteCounter::add(const std::string& name, const Moved& moved) {
  by_operator_[name].read += moved.read;
  by_operator_[name].written += moved.written;
}

}  // namespace jointtuner::bench
