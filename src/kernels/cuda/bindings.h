// What the bindings share. bindings_*.cpp are the files between ATen and the launchers: each function takes the tensors
// of its operator, which the operator's own checks have passed, guards their device, allocates the results and launches
// on the current stream. float64, which no kernel computes, goes to the composition.
#pragma once
#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace jointtuner::kernels::cuda {

using c10::cuda::CUDAGuard;  // each binding: const CUDAGuard guard(tensor.device());

/// Of the guarded device.
inline cudaStream_t current_stream() { return c10::cuda::getCurrentCUDAStream(); }

inline bool is_double(const at::Tensor& tensor) { return tensor.scalar_type() == at::kDouble; }

/// body<T>() for the tensor's type T: float, at::Half or at::BFloat16.
template <class Body>
void dispatch(const at::Tensor& tensor, const char* op, const Body& body) {
  AT_DISPATCH_SWITCH(tensor.scalar_type(), op,
                     AT_DISPATCH_CASE(at::kFloat, [&] { body.template operator()<scalar_t>(); })
                         AT_DISPATCH_CASE(at::kHalf, [&] { body.template operator()<scalar_t>(); })
                             AT_DISPATCH_CASE(at::kBFloat16, [&] { body.template operator()<scalar_t>(); }));
}

}  // namespace jointtuner::kernels::cuda
