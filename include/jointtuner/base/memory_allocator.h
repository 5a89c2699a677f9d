// How the process takes memory from the system.
#pragma once
namespace jointtuner {

/// Makes glibc keep blocks of up to 32 MB for reuse rather than map and unmap them: by default each activation of a
/// training step is a fresh mapping whose pages the kernel zeroes again. Does nothing with another C library, or when
/// the user set GLIBC_TUNABLES or MALLOC_* variables. Call it first in the process.
void tune_memory_allocator();

}  // namespace jointtuner
