// What the bindings share. <op>_binding.cpp registers an operator for CUDA tensors: it guards the tensors' device and
// runs the operator's steps on the current stream; float64, which no kernel computes, goes to the composition. Device
// and stream are all that is left untested without a GPU.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace jointtuner::kernels::cuda {

using c10::cuda::CUDAGuard;  // each binding: const CUDAGuard guard(tensor.device());

/// Of the guarded device.
inline cudaStream_t current_stream() { return c10::cuda::getCurrentCUDAStream(); }

inline bool is_double(const at::Tensor& tensor) { return tensor.scalar_type() == at::kDouble; }

}  // namespace jointtuner::kernels::cuda
