#!/usr/bin/env bash
# Builds, makes the mid-size backbones, and prints a table of ratios against Python for each. Takes about 25 minutes on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
  echo "usage: bench/run.sh [--family unet3d|cogvideox] [--rounds N] [--only WORD]     e.g. bench/run.sh --family cogvideox --only sampling"
  exit 0
fi
scripts/setup.sh --export
python=$(scripts/setup.sh --print-python)
"$python" -c 'import cv2' 2>/dev/null || "$python" -m pip install --quiet opencv-python-headless  # the decoding pair's Python side
source scripts/build.sh
build_options=(-DJOINTTUNER_BENCH=ON)
build jointtuner jointtuner_bench
work=$BUILD_DIR/bench_data
mkdir -p "$work"
for name in $("$python" bench/run.py --pipelines "$@"); do
  [ ! -d "$work/${name}_bundle" ] || continue
  rm -rf "$work/${name}_pipeline"
  "$python" -m tests.pipelines.tiny "$work" --only "$name"
  scripts/export_backbone.sh "$work/${name}_pipeline" "$work/${name}_bundle"
done
"$python" bench/run.py "$work" "$BUILD_DIR/bench/jointtuner_bench" "$BUILD_DIR/jointtuner" "$@"
