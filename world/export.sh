#!/usr/bin/env bash
# Exports one of the small pretrained pipelines of world/pipelines to a bundle.
#   world/export.sh unet3d|cogvideox BUNDLE
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case "${1:-}" in
  unet3d) frames=8 steps=12 guidance=3 ;;
  cogvideox) frames=9 steps=50 guidance=2 ;;  # 12 or 25 steps of its sampler leave much of the clips behind in the results
  *) echo "usage: world/export.sh unet3d|cogvideox BUNDLE" >&2; exit 2 ;;
esac
[ $# -eq 2 ] || { echo "usage: world/export.sh unet3d|cogvideox BUNDLE" >&2; exit 2; }
exec scripts/export_backbone.sh "world/pipelines/$1" "$2" --height 32 --width 32 --frames "$frames" --fps 8 --steps "$steps" --guidance "$guidance" --guidance-schedule constant
