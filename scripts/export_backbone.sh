#!/usr/bin/env bash
# Exports a local diffusers text-to-video folder to a jointtuner bundle, in the exporter's own pinned Python environment.
#   scripts/export_backbone.sh DIFFUSERS_DIR BUNDLE [--dtype fp32|fp16|bf16] [--height H --width W --frames F --fps N]
# Example: scripts/export_backbone.sh ~/models/zeroscope_v2_576w bundles/zeroscope --dtype fp16
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

"$root/scripts/setup.sh" --export >&2
python=$("$root/scripts/setup.sh" --print-python)
# Nothing of the user's own Python reaches the pinned environment; worker threads that spin ruin the speed of a busy machine.
export PYTHONNOUSERSITE=1 PYTHONSAFEPATH=1 PYTHONPATH=$root OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
unset PYTHONHOME
exec "$python" -m exporter "$@"
