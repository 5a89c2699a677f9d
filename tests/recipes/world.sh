#!/usr/bin/env bash
# The sprite world's benchmark on one pair, a few steps: the pretrained pipeline exports, every kind of method trains, samples and is
# measured, what is done is kept.
source "$(dirname "$0")/recipe.sh"
[ -n "${PYTHON:-}" ] || { echo "skipped: run scripts/setup.sh --export first"; exit 77; }
# recipe.sh has moved the cache folder, where setup.sh would install everything once more.
JOINTTUNER_HOME=$(dirname "$(dirname "$(dirname "$PYTHON")")")
export JOINTTUNER_HOME
benchmark() { JOINTTUNER=$JOINTTUNER "$SOURCE/world/benchmark.sh" --output "$work/benchmark" --samples 8 "$@"; }
pair=$work/benchmark/unet3d/pairs/ball_figure_eight

refuses 2 "no 'lora' in world/benchmark/methods.tsv" benchmark --methods lora
refuses 2 "expected I/N with I below N" benchmark --part 3/3
refuses 2 "expected a number from 8 up" benchmark --samples 7
for part in 0 1 2; do succeeds "piece $part" benchmark --methods untuned,glora_ait,stages_ait --part $part/90; done
for method in untuned glora_ait stages_ait; do
  checks=$((checks + 1))
  [ "$(wc -l <"$pair/$method/scores.csv")" -eq 9 ] || fail "$method: expected a head line and 8 videos in scores.csv"
done
# The backbone knows this world though not this toy: every frame shows one sprite, on the background that was asked for.
checks=$((checks + 1))
awk -F, 'NR == 1 { for (i = 1; i <= NF; ++i) column[$i] = i; next } { text += $column["text"]; valid += $column["validity"] } END { exit !(text >= 7 && valid >= 7) }' \
  "$pair/untuned/scores.csv" || { cat "$pair/untuned/scores.csv" >&2; fail "the un-tuned videos do not show the asked backgrounds"; }
# As many samples for every method: steps x batch, half each for the two runs of stages; a method's own settings are not overridden.
succeeds "small steps" benchmark --methods lora_diffusion_annealed --part 0/30 --set train.batch=2 --set adapter.rank=2
for expected in glora_ait/run:2 stages_ait/appearance:2 stages_ait/motion:2 lora_diffusion_annealed/run:8; do
  checks=$((checks + 1))
  [ "$(wc -l <"$pair/${expected%:*}/metrics.jsonl")" -eq "${expected#*:}" ] || fail "${expected%:*}: expected ${expected#*:} steps"
done
checks=$((checks + 1))
grep -q '"rank": 2,' "$pair/lora_diffusion_annealed/run/config.json" || fail "--set adapter.rank=2 did not reach the run"
before=$(stat -c %Y "$pair/glora_ait/scores.csv")
succeeds "again" benchmark --methods glora_ait --part 0/30
checks=$((checks + 1))
[ "$(stat -c %Y "$pair/glora_ait/scores.csv")" = "$before" ] || fail "finished work was done again"
passed
