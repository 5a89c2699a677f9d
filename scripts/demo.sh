#!/usr/bin/env bash
# The whole job on a small scale: install, build, export a tiny backbone, train on real pictures and clips, sample, report.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
  cat <<'TXT'
usage: scripts/demo.sh

Installs what is missing, builds build/jointtuner, makes and exports a tiny backbone of the real classes (demo/tiny_bundle),
trains on examples/ with configs/tiny_cpu.json, and samples: videos, a contact sheet and a report below demo/. Safe to run
twice: what is done already is kept, what was interrupted goes on.

The tiny backbone has random weights, since no weights are downloaded here: the demo shows every step of the work and what
files it gives, not what a trained backbone can draw. For that, export ZeroScope or ModelScope (README.md) and use
configs/zeroscope_joint.json.
TXT
  exit 0
fi
[ $# -eq 0 ] || { echo "demo: unknown option '$1'; see --help" >&2; exit 2; }
began=$SECONDS
say() { printf 'demo: %s\n' "$*" >&2; }

scripts/setup.sh --export
source scripts/build.sh
build jointtuner
program=$BUILD_DIR/jointtuner

if [ ! -f demo/tiny_bundle/bundle.json ]; then
  say "making a tiny text-to-video pipeline and exporting it"
  mkdir -p demo
  [ -f demo/tiny_pipeline/model_index.json ] || "$(scripts/setup.sh --print-python)" scripts/make_tiny_pipelines.py demo --only tiny
  scripts/export_backbone.sh demo/tiny_pipeline demo/tiny_bundle
fi

run=(--config configs/tiny_cpu.json --set run.output=demo --set run.name=run)
say "what the run will use"
"$program" check "${run[@]}"
say "training"
"$program" train "${run[@]}" --resume
say "sampling"
"$program" sample --run demo/run --prompt "a tabby cat yawns and stretches its arms" --prompt "a tabby cat on a beach stretches its arms" --seed 1 --seed 2 --output demo/samples

say "done in $((SECONDS - began)) s; look at"
printf '%s\n' demo/run/report.html demo/samples/sheet.png demo/samples/*.mp4
