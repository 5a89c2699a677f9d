#!/usr/bin/env bash
# What each CUDA kernel takes of a GPU, as nvcc reports it: kept in a file, and compared with it by a test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
  cat <<'TXT'
usage: src/kernels/cuda/resources.sh [--check]

Compiles src/kernels/cuda/*.cu for sm_80, sm_90 and sm_120 and writes registers, stack frame, spills and shared memory of
each kernel to src/kernels/cuda/resources.txt. Needs nvcc, no GPU. A spill is an error.
--check writes nothing and fails where the file says something else: by the same nvcc in any number; by another nvcc in a
kernel's name, its shared memory or more than 8 registers. Without nvcc it says so and exits with 77.
TXT
  exit 0
fi

table=src/kernels/cuda/resources.txt
nvcc=$(PATH="$PATH:${CUDA_HOME:-/usr/local/cuda}/bin" command -v nvcc) ||
  { echo "skipped: nvcc was not found on PATH or in ${CUDA_HOME:-/usr/local/cuda}/bin"; exit 77; }
torch=${JOINTTUNER_TORCH_ROOT:-$(scripts/setup.sh --print-torch-root)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ptxas's report, one line a kernel: file, architecture, registers, stack, spilled bytes, shared memory, name.
report() {
  "$nvcc" -std=c++17 -O3 -DNDEBUG --expt-relaxed-constexpr -Iinclude -isystem "$torch/include" -fatbin -Xptxas -v \
    -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 -gencode arch=compute_120,code=sm_120 \
    "$1" -o "$work/fatbin" 2>"$work/ptxas" || { cat "$work/ptxas" >&2; return 1; }
  c++filt <"$work/ptxas" | awk -v file="$(basename "$1")" '
    /Compiling entry function/ {
      split($0, quoted, "\047"); kernel = quoted[2]; arch = quoted[4]
      sub(/^void /, "", kernel); gsub(/\(anonymous namespace\)::|jointtuner::kernels::cuda::/, "", kernel)
      sub(/\(.*/, "", kernel)
    }
    /bytes stack frame/ { stack = $1; spilled = $5 + $9 }
    /Used [0-9]+ registers/ {
      shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH) + 0 : 0
      match($0, /Used [0-9]+/)
      printf "%-22s %-7s %9d %6d %8d %7d  %s\n", file, arch, substr($0, RSTART + 5, RLENGTH - 5), stack, spilled, shared, kernel
    }' >>"$work/lines"
}

: >"$work/lines"
for file in src/kernels/cuda/*.cu; do report "$file"; done
{
  echo "# nvcc $("$nvcc" --version | sed -n 's/.*V\([0-9.]*\)$/\1/p'), written by src/kernels/cuda/resources.sh"
  printf '# %-20s %-7s %9s %6s %8s %7s  %s\n' file arch registers stack spilled shared kernel
  LC_ALL=C sort "$work/lines"
} >"$work/table"
[ -s "$work/lines" ] || { echo "kernel_resources: nvcc reported no kernel" >&2; exit 1; }
if awk '$1 !~ /^#/ && $5 > 0 { print "spills: " $0; found = 1 } END { exit !found }' "$work/table" >&2; then exit 1; fi

if [ "${1:-}" != --check ]; then
  cp "$work/table" "$table"
  echo "$table"
  exit 0
fi
if [ "$(head -n 1 "$table")" = "$(head -n 1 "$work/table")" ]; then
  diff -u "$table" "$work/table" >&2 || { echo "kernel_resources: run src/kernels/cuda/resources.sh and look at the change" >&2; exit 1; }
else
  awk -v most=8 '
    /^#/ { next }
    { kernel = $1 " " $2; for (i = 7; i <= NF; ++i) kernel = kernel " " $i }
    NR == FNR { registers[kernel] = $3; shared[kernel] = $6; next }
    !(kernel in registers) { print "not in the file: " $0; bad = 1; next }
    { difference = $3 - registers[kernel]; seen[kernel] = 1 }
    difference > most || difference < -most || $6 != shared[kernel] { print "changed: " $0; bad = 1 }
    END {
      for (kernel in registers) if (!(kernel in seen)) { print "in the file only: " kernel; bad = 1 }
      exit bad
    }' "$table" "$work/table" >&2 || exit 1
fi
echo "kernel_resources: $(wc -l <"$work/lines") kernels as in $table"
