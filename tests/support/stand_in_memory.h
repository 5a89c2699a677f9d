// Memory of the stand-in device: addresses, allocators, and the LibTorch interfaces that know of them.
#pragma once
#include <c10/core/Allocator.h>
#include <c10/core/Device.h>
#include <c10/core/Storage.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "stand_in_device.h"

namespace jointtuner::testing {

inline const c10::Device kStandIn{c10::kPrivateUse1, 0};

/// Where the host finds what the stand-in knows at `address`.
void* host_address(const void* address);

/// Device memory over the bytes of a CPU storage, which nobody else may hold; poisoned when it is freed.
c10::DataPtr device_memory(c10::Storage host);

/// Of uninitialised (poisoned) device memory.
c10::Allocator* device_allocator();

bool is_pinned(const void* host_address);

/// Registers the backend's name, its allocators, device guard and hooks.
void register_stand_in_memory();

/// For the operators: count into taken_traffic().
void count_wait(std::string reason);
void count_copy(bool to_device, size_t bytes);

}  // namespace jointtuner::testing
