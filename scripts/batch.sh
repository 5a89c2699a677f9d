#!/usr/bin/env bash
# Trains and samples every combination of subjects, motions and seeds of a table, one after another.
set -uo pipefail

usage() {
  cat <<'TXT'
usage: scripts/batch.sh --config BASE.json --table TABLE.tsv [--output runs] [--device auto] [--dry-run] [-- --set a.b=v ...]

Trains and samples every subject x motion x seed of the table. Each combination is a run of its own, OUTPUT/SUBJECT_MOTION_sSEED,
with its samples in samples/ below it. Call it again to go on after an interruption: finished combinations are left alone,
begun ones resume. A combination that fails is reported and never stops the rest; the exit code is 1 if any failed.

The table has one row a line, columns separated by tabs; empty lines and lines that begin with # are skipped:
  subject  NAME  PATH  WORDS     pictures (a file or folder, captions beside them) and the words that stand for it in a prompt
  motion   NAME  PATH  PROMPT    clips, and the prompt to sample, with {subject} where the words go
  seed     N                     optional, repeatable; seed 0 when there is none

Examples:
  scripts/batch.sh --config configs/zeroscope_joint.json --table my_table.tsv
  scripts/batch.sh --config configs/tiny_cpu.json --table examples/batch.tsv --output runs/batch -- --set train.steps=20
TXT
}

die() { printf 'batch: error: %s\n' "$*" >&2; exit 2; }
say() { printf 'batch: %s\n' "$*" >&2; }
need() { [ $# -ge 2 ] || die "$1 needs a value; see --help"; }

config="" table="" output=runs device=auto dry_run=0 extra=()
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --config) need "$@"; config=$2; shift 2 ;;
    --table) need "$@"; table=$2; shift 2 ;;
    --output) need "$@"; output=$2; shift 2 ;;
    --device) need "$@"; device=$2; shift 2 ;;
    --dry-run) dry_run=1; shift ;;
    --) shift; extra=("$@"); break ;;
    *) die "unknown option '$1'; see --help" ;;
  esac
done
if [ -z "$config" ] || [ -z "$table" ]; then die "--config and --table are needed; see --help"; fi
[ -r "$config" ] || die "$config: cannot be read"
[ -r "$table" ] || die "$table: cannot be read"
program=${JOINTTUNER:-$(dirname "${BASH_SOURCE[0]}")/../build/jointtuner}
[ -x "$program" ] || die "$program: not built yet; run scripts/test.sh or scripts/demo.sh, or set JOINTTUNER to the program"

json_string() { local s=${1//\\/\\\\}; printf '"%s"' "${s//\"/\\\"}"; }

subject_names=() subject_paths=() subject_words=() motion_names=() motion_paths=() motion_prompts=() seeds=()
number=0
while IFS=$'\t' read -r kind name path text rest || [ -n "$kind" ]; do
  number=$((number + 1))
  case "$kind" in "" | \#*) continue ;; esac
  where="$table:$number"
  [ -z "$rest" ] || die "$where: more than four columns"
  case "$kind" in
    subject | motion)
      [ -n "$text" ] || die "$where: a $kind row has four columns separated by tabs: $kind, name, path, text"
      [[ $name =~ ^[A-Za-z0-9_-]+$ ]] || die "$where: the name '$name' may hold letters, digits, _ and - only"
      [ -e "$path" ] || die "$where: $path does not exist" ;;
    seed) [[ $name =~ ^[0-9]+$ ]] || die "$where: the seed '$name' is not a whole number" ;;
    *) die "$where: unknown kind '$kind': expected subject, motion or seed" ;;
  esac
  case "$kind" in
    subject) subject_names+=("$name"); subject_paths+=("$path"); subject_words+=("$text") ;;
    motion)
      [[ $text == *"{subject}"* ]] || die "$where: the prompt has no {subject}"
      motion_names+=("$name"); motion_paths+=("$path"); motion_prompts+=("$text") ;;
    seed) seeds+=("$name") ;;
  esac
done <"$table"
[ ${#subject_names[@]} -gt 0 ] || die "$table: has no subject row"
[ ${#motion_names[@]} -gt 0 ] || die "$table: has no motion row"
[ ${#seeds[@]} -gt 0 ] || seeds=(0)
repeated=$(printf '%s\n' "${subject_names[@]/#/subject }" "${motion_names[@]/#/motion }" "${seeds[@]/#/seed }" | sort | uniq -d | head -n 1)
[ -z "$repeated" ] || die "$table: '$repeated' stands there twice"

# train_and_sample RUN SUBJECT MOTION SEED (indices): everything it prints goes to the run's batch.log.
train_and_sample() {
  local run=$1 s=$2 m=$3 seed=$4 prompt=${motion_prompts[$3]//"{subject}"/${subject_words[$2]}}
  "$program" train --config "$config" --device "$device" --resume \
    --set "run.output=$(json_string "$output")" --set "run.name=$(json_string "$run")" --set "run.seed=$seed" \
    --set "data.images=[{\"path\": $(json_string "${subject_paths[$s]}")}]" \
    --set "data.videos=[{\"path\": $(json_string "${motion_paths[$m]}")}]" \
    --set "sample.prompts=[$(json_string "$prompt")]" "${extra[@]}" &&
    "$program" sample --run "$output/$run" --prompt "$prompt" --device "$device" --output "$output/$run/samples"
}

# The reason a run failed: the last error of its log, or whatever it said last.
reason() { { grep ' error ' "$1" || cat "$1"; } | tail -n 1; }

total=$((${#subject_names[@]} * ${#motion_names[@]} * ${#seeds[@]}))
say "$total combinations: ${#subject_names[@]} subjects x ${#motion_names[@]} motions x ${#seeds[@]} seeds, in $output/"
mkdir -p "$output" || die "$output: the folder could not be made"
stopped=0
trap 'stopped=1' INT TERM
index=0 done_count=0 failed_count=0 summary=""
for s in "${!subject_names[@]}"; do
  for m in "${!motion_names[@]}"; do
    for seed in "${seeds[@]}"; do
      index=$((index + 1))
      run=${subject_names[$s]}_${motion_names[$m]}_s$seed
      log=$output/$run.batch.log
      if [ $dry_run -eq 1 ]; then printf '%s\n' "$run"; continue; fi
      if [ $stopped -eq 1 ]; then
        summary+="$run"$'\t'"not begun"$'\n'
        continue
      fi
      if [ -e "$output/$run/batch.done" ]; then
        done_count=$((done_count + 1)) summary+="$run"$'\t'"done before"$'\n'
        continue
      fi
      say "[$index/$total] $run (log: $log)"
      began=$SECONDS
      if train_and_sample "$run" "$s" "$m" "$seed" >>"$log" 2>&1 && touch "$output/$run/batch.done"; then
        done_count=$((done_count + 1)) summary+="$run"$'\t'"done in $((SECONDS - began)) s"$'\n'
      elif [ $stopped -eq 1 ]; then
        summary+="$run"$'\t'"interrupted; call again to go on"$'\n'
      else
        failed_count=$((failed_count + 1)) summary+="$run"$'\t'"FAILED: $(reason "$log")"$'\n'
        say "[$index/$total] $run failed: $(reason "$log")"
      fi
    done
  done
done
[ $dry_run -eq 1 ] && exit 0
printf '%s' "$summary" | tee "$output/batch_summary.tsv"
say "$done_count of $total done, $failed_count failed; the table is in $output/batch_summary.tsv"
[ $stopped -eq 0 ] || exit 130
[ $failed_count -eq 0 ]
