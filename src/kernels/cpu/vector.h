// Compiles a function for several x86 vector widths and picks one at load time, so that one binary runs on every
// machine.
#pragma once
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define JOINTTUNER_VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define JOINTTUNER_VECTOR_CLONES
#endif
