#include "jointtuner/base/memory_allocator.h"

#include <cstdlib>
#include <initializer_list>
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace jointtuner {

void tune_memory_allocator() {
#ifdef __GLIBC__
  for (const char* variable : {"GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"})
    if (std::getenv(variable) != nullptr) return;
  constexpr int kLargestBlock = 32 << 20;  // glibc refuses more
  constexpr int kKeptAtTheTop = 256 << 20;
  mallopt(M_MMAP_THRESHOLD, kLargestBlock);
  mallopt(M_TRIM_THRESHOLD, kKeptAtTheTop);
#endif
}

}  // namespace jointtuner
