#!/usr/bin/env bash
# The whole job: install, build, export the small pretrained backbone, tune it on a toy's pictures and a dance's clips, sample, measure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TXT'
usage: scripts/demo.sh [--family unet3d|cogvideox] [--subject NAME] [--motion NAME]

Installs what is missing, builds build/jointtuner and exports a small pretrained backbone (world/pipelines: 32x32 pixels, the real
classes of ZeroScope's or CogVideoX's family). Draws four pictures of a toy and four clips of a dance that the backbone has never
seen, as PNG and MP4 files; tunes one joint adapter on them; samples the toy, dancing, on new backgrounds, with and without the
adapter; measures every video. Then look at demo/FAMILY/index.html and demo/FAMILY/sheet.png.

  --family F      unet3d (ZeroScope's family, default) or cogvideox: those that world/pipelines holds
  --subject NAME  ball, sail, box, plus, heart or tile (default ball)
  --motion NAME   figure_eight, square_loop, swoop, hop or spiral (default hop)

Minutes on two cores once it is built. Safe to run twice: what is done is kept, what was interrupted goes on; for another subject
or motion remove demo/FAMILY/references, run, untuned and tuned first.
TXT
}

family=unet3d subject=ball motion=hop
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --family | --subject | --motion)
      [ $# -ge 2 ] || { echo "demo: error: $1 needs a value; see --help" >&2; exit 2; }
      printf -v "${1#--}" %s "$2"
      shift 2 ;;
    *) echo "demo: error: unknown option '$1'; see --help" >&2; exit 2 ;;
  esac
done
config=world/$family.json demo=demo/$family frames=8
[ -f "$config" ] || { echo "demo: error: --family $family: expected unet3d or cogvideox" >&2; exit 2; }
grep -qs "\"stage\": \"videos\"" "world/pipelines/$family/progress.json" || { echo "demo: error: world/pipelines/$family: not pretrained yet; see world/README.md" >&2; exit 2; }
[ "$family" = unet3d ] || frames=9
began=$SECONDS
say() { printf 'demo: %s\n' "$*" >&2; }
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}  # beside other work a spinning thread holds up the one it waits for

scripts/setup.sh --export
source scripts/build.sh
build jointtuner
program=$BUILD_DIR/jointtuner
python=$(scripts/setup.sh --print-python)
built=$SECONDS

if [ ! -f "$demo/bundle/bundle.json" ]; then
  say "exporting the pretrained backbone world/pipelines/$family"
  mkdir -p "$demo"
  world/export.sh "$family" "$demo/bundle"
fi
task="$subject $motion"
if [ -f "$demo/task.txt" ] && [ "$(cat "$demo/task.txt")" != "$task" ]; then
  say "error: $demo holds the demo of $(cat "$demo/task.txt"); remove $demo/{task.txt,references,run,untuned,tuned} for another subject or motion"
  exit 1
fi
say "drawing pictures of the subject ($subject) and clips of the motion ($motion)"
"$python" -m world.benchmark.draw_references "$demo/references" --subject "$subject" --motion "$motion" --frames "$frames"
echo "$task" >"$demo/task.txt"

run=(--config "$config" --set run.output="$demo" --set run.name=run)
say "what the run will use"
"$program" check "${run[@]}"
say "what the backbone makes of the prompts before it is tuned"
"$program" sample --backbone "$demo/bundle" --prompts "$demo/references/prompts.txt" --seed 1 --output "$demo/untuned"
say "tuning"
"$program" train "${run[@]}" --resume
say "the same prompts and seeds with the adapter"
"$program" sample --run "$demo/run" --prompts "$demo/references/prompts.txt" --seed 1 --output "$demo/tuned"
say "measuring"
"$python" -m world.measure --samples "$demo/untuned" --samples "$demo/tuned" --truth "$demo/references/world.json" --csv "$demo/scores.csv"
"$python" -m world.benchmark.demo_page "$demo"

say "done in $((SECONDS - began)) s, of which $((SECONDS - built)) s after the build; look at"
printf '%s\n' "$demo/index.html" "$demo/sheet.png" "$demo/run/report.html"
