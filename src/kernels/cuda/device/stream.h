// cudaStream_t, for the launchers' headers: the toolkit's or, in tests that define JOINTTUNER_CUDA_ON_CPU, the
// stand-in's.
#pragma once
#ifdef JOINTTUNER_CUDA_ON_CPU
#include "../on_cpu/cuda_on_cpu.h"
#else
#include <cuda_runtime_api.h>
#endif
