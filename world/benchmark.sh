#!/usr/bin/env bash
# The benchmark of joint customization in the sprite world: every method on every held-out subject x motion, measured exactly.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TXT'
usage: world/benchmark.sh [--family unet3d|cogvideox] [--methods A,B,...] [--half tuning|test|all] [--part I/N]
                            [--samples N] [--output DIR] [--threads N] [--set a.b=v ...] [--list] [--summary]

Trains and samples each method of world/benchmark/methods.tsv on 6 held-out subjects x 5 held-out motions, 4 prompts x 2 seeds each, and
measures every video with world.measure. Call it again to go on after an interruption: what is measured is kept.

  --family F      backbone family (default unet3d); its pretrained pipeline is exported once, below the output folder
  --methods A,B   only these (default: all of world/benchmark/methods.tsv)
  --half H        the pairs for tuning settings, the other half for testing them, or all (default all)
  --part I/N      every N-th piece of work beginning with the I-th, I from 0: for several processes or a job array
  --samples N     training samples of a method, optimiser steps x train.batch (default 600: about a minute of one core)
  --set a.b=v     a setting for every run where the method has none of its own (repeatable); use another --output for each choice
                  of it or of --samples
  --output DIR    default benchmark
  --threads N     CPU threads of a process (default 1)
  --list          print the pieces of work and whether they are done, run nothing
  --summary       only make the tables and the plot of what is measured: DIR/FAMILY/{videos.csv,summary.csv,summary.md,summary.png}

Examples:
  world/benchmark.sh --part 0/2 & world/benchmark.sh --part 1/2 & wait; world/benchmark.sh --summary
  sbatch --array=0-29 --wrap 'world/benchmark.sh --part $SLURM_ARRAY_TASK_ID/30'
  world/benchmark.sh --methods published,shift_2 --half tuning --samples 1600 --output benchmark_1600
TXT
}

die() { printf 'benchmark: error: %s\n' "$*" >&2; exit 2; }
say() { printf 'benchmark: %s\n' "$*" >&2; }
need() { [ $# -ge 2 ] || die "$1 needs a value; see --help"; }

family=unet3d methods="" half=all part=0/1 output=benchmark threads=1 samples=600 mode=run settings=()
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --family) need "$@"; family=$2; shift 2 ;;
    --methods) need "$@"; methods=$2; shift 2 ;;
    --half) need "$@"; half=$2; shift 2 ;;
    --part) need "$@"; part=$2; shift 2 ;;
    --output) need "$@"; output=$2; shift 2 ;;
    --threads) need "$@"; threads=$2; shift 2 ;;
    --samples) need "$@"; samples=$2; shift 2 ;;
    --set) need "$@"; settings+=("$2"); shift 2 ;;
    --list) mode=list; shift ;;
    --summary) mode=summary; shift ;;
    *) die "unknown option '$1'; see --help" ;;
  esac
done
config=world/$family.json
[ -f "$config" ] || die "--family $family: expected unet3d or cogvideox"
[[ $half =~ ^(tuning|test|all)$ ]] || die "--half $half: expected tuning, test or all"
[[ $samples =~ ^([89]|[1-9][0-9]+)$ ]] || die "--samples $samples: expected a number from 8 up"
[[ $part =~ ^[0-9]+/[0-9]+$ ]] || die "--part $part: expected I/N with I below N"
index=$((10#${part%/*})) parts=$((10#${part#*/}))
[ $index -lt $parts ] || die "--part $part: expected I/N with I below N"

declare -A kind_of own_of
names=() common=""
while IFS=$'\t' read -r name kind words; do
  case "$name" in "" | \#*) continue ;; esac
  if [ "$kind" = common ]; then common=$words; continue; fi
  names+=("$name") kind_of[$name]=$kind own_of[$name]=$words
done <world/benchmark/methods.tsv
if [ -n "$methods" ]; then
  IFS=, read -ra chosen <<<"$methods"
  for name in "${chosen[@]}"; do [ -n "${kind_of[$name]:-}" ] || die "--methods: no '$name' in world/benchmark/methods.tsv; known: ${names[*]}"; done
  names=("${chosen[@]}")
fi

root=$output/$family
if [ $mode = summary ]; then
  scripts/setup.sh --world
  exec "$(scripts/setup.sh --print-python)" -m world.benchmark.summary "$root"
fi

subjects=(ball sail box plus heart tile) motions=(figure_eight square_loop swoop hop spiral)
program=${JOINTTUNER:-${BUILD_DIR:-build}/jointtuner}
frames=8
[ "$family" = unet3d ] || frames=9

train() {  # NAME SAMPLES [options]: with the settings of `method`
  local name=$1 samples=$2 batch setting
  shift 2
  local sets=()
  for setting in $common "${settings[@]}" ${own_of[$method]}; do  # the last of several counts
    sets+=(--set "$setting")
    [[ $setting != train.batch=* ]] || batch=${setting#*=}
  done
  "$program" train --config "$config" --threads "$threads" --resume --log-level warning --set run.output="$here" --set run.name="$name" \
    --set backbone.bundle="$root/bundle" --set data.cache="$root/cache" --set train.steps=$((samples / batch)) \
    --set "data.images=[{\"path\":\"$references/images\"}]" --set "data.videos=[{\"path\":\"$references/videos\"}]" \
    "${sets[@]}" "$@"
}

work() {  # PAIR METHOD: one piece, in the folder $root/pairs/PAIR/METHOD; scores.csv is the last thing it writes
  local pair=$1 method=$2
  local here=$root/pairs/$pair/$method references=$root/pairs/$pair/references source
  mkdir -p "$here"
  case "${kind_of[$method]}" in
    untuned) source=(--backbone "$root/bundle") ;;
    joint)
      train run "$samples"
      source=(--run "$here/run") ;;
    stages)
      train appearance $((samples / 2)) --set 'data.videos=[]'
      train motion $((samples / 2)) --set 'data.images=[]'
      rm -f "$here/both.safetensors"
      "$program" convert "$here/appearance/adapter.safetensors" "$here/both.safetensors" --join "$here/motion/adapter.safetensors" --log-level warning
      source=(--backbone "$root/bundle" --adapter "$here/both.safetensors") ;;
    *) die "world/benchmark/methods.tsv: $method: unknown kind '${kind_of[$method]}'" ;;
  esac
  "$program" sample "${source[@]}" --prompts "$references/prompts.txt" --seed 1 --seed 2 --output "$here/videos" --threads "$threads" --log-level warning
  "$python" -m world.measure --samples "$here/videos" --truth "$references/world.json" --csv "$here/scores.csv"
}

pieces=()
for ((s = 0; s < ${#subjects[@]}; ++s)); do
  for ((m = 0; m < ${#motions[@]}; ++m)); do
    own_half="test"
    [ $(((s + m) % 2)) = 0 ] && own_half="tuning"
    [ "$half" = all ] || [ "$half" = $own_half ] || continue
    for name in "${names[@]}"; do pieces+=("${subjects[s]} ${motions[m]} $name"); done
  done
done

if [ $mode = list ]; then
  for piece in "${pieces[@]}"; do
    read -r subject motion method <<<"$piece"
    state="begun"
    [ -d "$root/pairs/${subject}_$motion/$method" ] || state="open"
    [ ! -f "$root/pairs/${subject}_$motion/$method/scores.csv" ] || state="done"
    printf '%s\t%s\t%s\t%s\n' "$subject" "$motion" "$method" $state
  done
  exit 0
fi

scripts/setup.sh --export
python=$(scripts/setup.sh --print-python)
[ -x "$program" ] || die "$program: not built yet; run scripts/demo.sh or scripts/test.sh, or set JOINTTUNER to the program"
grep -qs "\"stage\": \"videos\"" "world/pipelines/$family/progress.json" || die "world/pipelines/$family: not pretrained yet; see world/README.md"
mkdir -p "$root"
# Several processes may begin at once: one of them exports.
exec 9>"$root/export.lock"
flock 9
[ -f "$root/bundle/bundle.json" ] || world/export.sh "$family" "$root/bundle"
flock -u 9

began=$SECONDS failed=0 number=0 total=$(((${#pieces[@]} - index + parts - 1) / parts))
for ((i = index; i < ${#pieces[@]}; i += parts)); do
  read -r subject motion method <<<"${pieces[i]}"
  number=$((number + 1)) pair=${subject}_$motion
  [ ! -f "$root/pairs/$pair/$method/scores.csv" ] || continue
  say "$number of $total: $pair, $method ($((SECONDS - began)) s)"
  mkdir -p "$root/pairs/$pair/$method"
  exec 9>"$root/pairs/$pair/references.lock"
  flock 9
  [ -f "$root/pairs/$pair/references/world.json" ] ||
    "$python" -m world.benchmark.draw_references "$root/pairs/$pair/references" --subject "$subject" --motion "$motion" --frames "$frames"
  flock -u 9
  # A failure stops this piece at once (errexit holds in the background, not in a condition) and never the others.
  (work "$pair" "$method") >"$root/pairs/$pair/$method/log.txt" 2>&1 </dev/null &
  if ! wait $!; then
    failed=$((failed + 1))
    say "FAILED: $pair, $method; see $root/pairs/$pair/$method/log.txt: $(grep -m1 error "$root/pairs/$pair/$method/log.txt" || true)"
  fi
done
say "done in $((SECONDS - began)) s, $failed failed"
[ "$failed" = 0 ]
