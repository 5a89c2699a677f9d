// The way to an operator through the dispatcher, which picks the kernel for the tensors' device and autograd.
#pragma once
#include <ATen/core/dispatch/Dispatcher.h>

namespace jointtuner::kernels {

/// The operator of that name, such as "jointtuner::add_noise". A look-up: keep it in a static variable of the function
/// that calls. Throws c10::Error when it is not registered or its schema is not `Signature`'s.
template <class Signature>
c10::TypedOperatorHandle<Signature> handle(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace jointtuner::kernels
