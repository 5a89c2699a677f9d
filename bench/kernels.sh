#!/usr/bin/env bash
# Builds, and prints what each operator moves and how long glora_linear takes, against the ATen operators they replace.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
  echo "usage: bench/kernels.sh [ROUNDS]     e.g. bench/kernels.sh 15"
  exit 0
fi
scripts/setup.sh
source scripts/build.sh
build_options=(-DJOINTTUNER_BENCH=ON)
build jointtuner_bench_kernels
OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} "$BUILD_DIR/bench/jointtuner_bench_kernels" "$@"
