#!/usr/bin/env bash
# Builds, makes the mid-size backbone, and prints the table of ratios against Python. Takes about 15 minutes on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
  echo "usage: bench/run.sh [--rounds N] [--only WORD]     e.g. bench/run.sh --only sampling"
  exit 0
fi
scripts/setup.sh --export
python=$(scripts/setup.sh --print-python)
"$python" -c 'import cv2' 2>/dev/null || "$python" -m pip install --quiet opencv-python-headless  # the decoding pair's Python side
source scripts/build.sh
build_options=(-DJOINTTUNER_BENCH=ON)
build jointtuner jointtuner_bench
work=$BUILD_DIR/bench_data
if [ ! -d "$work/mid_bundle" ]; then
  mkdir -p "$work"
  "$python" scripts/make_tiny_pipelines.py "$work" --only mid
  scripts/export_backbone.sh "$work/mid_pipeline" "$work/mid_bundle"
fi
"$python" bench/run.py "$work" "$BUILD_DIR/bench/jointtuner_bench" "$BUILD_DIR/jointtuner" "$@"
