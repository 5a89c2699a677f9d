#!/usr/bin/env bash
# A run killed at ten random moments and resumed ends with exactly the bytes of the uninterrupted run.
source "$(dirname "$0")/recipe.sh"
seed=${KILL_SEED:-$RANDOM}
RANDOM=$seed
echo "kill_and_resume: KILL_SEED=$seed repeats these moments"

write_config "$work/config.json" '"train": {"steps": 30, "learning_rate": 0.01, "checkpoint_every": 3, "accumulation": 2, "learning_rate_schedule": "cosine", "warmup_steps": 4, "gradient_clip": 1}'
began=$(date +%s%N)
succeeds "uninterrupted run" train --set run.name=whole
whole_ms=$((($(date +%s%N) - began) / 1000000))

steps_done() { if [ -e "$work/runs/killed/metrics.jsonl" ]; then wc -l <"$work/runs/killed/metrics.jsonl"; else echo 0; fi; }

# Every other kill waits for a step of this process, so that not only start-up is hit where steps are fast.
# Every run starts with another choice of what the denoiser's segments hold in memory, which changes no bit.
kills=0 tries=0 choices=(off on offload)
while [ $kills -lt 10 ]; do
  tries=$((tries + 1))
  [ $tries -le 200 ] || fail "only $kills kills in 200 tries"
  "$JOINTTUNER" train --config "$work/config.json" --set run.name=killed \
    --set "train.activation_checkpointing=${choices[tries % 3]}" --resume >"$work/out" 2>"$work/err" &
  process=$!
  delay_ms=$((RANDOM * whole_ms / 32768 / 3 + 50))
  if [ $((tries % 2)) -eq 0 ]; then
    delay_ms=$((RANDOM * whole_ms / 32768 / 10)) before=$(steps_done)
    while [ "$(steps_done)" = "$before" ] && kill -0 $process 2>/dev/null; do sleep 0.01; done
  fi
  sleep "$(printf '%d.%03d' $((delay_ms / 1000)) $((delay_ms % 1000)))"
  if kill -9 $process 2>/dev/null; then kills=$((kills + 1)); fi
  wait $process 2>/dev/null
  code=$?
  [ $code -eq 0 ] || [ $code -eq 137 ] || { tail -n 20 "$work/err" >&2; fail "a resumed run ended with exit code $code"; }
  if [ $code -eq 0 ] && [ $kills -lt 10 ]; then  # it got to its end: the next kills hit a run begun anew
    for part in adapter.safetensors checkpoints/step_00000030/optimizer.safetensors; do
      equal "finished after $kills kills" "$work/runs/whole/$part" "$work/runs/killed/$part"
    done
    rm -rf "$work/runs/killed"
  fi
done
succeeds "last resume" train --set run.name=killed --resume
for part in adapter.safetensors checkpoints/step_00000030/adapter.safetensors checkpoints/step_00000030/optimizer.safetensors; do
  equal "after ten kills" "$work/runs/whole/$part" "$work/runs/killed/$part"
done

# The losses of the metrics agree too, and no step is missing or there twice.
losses() { sed -E 's/.*"step": ?([0-9]+).*/\1/' "$1" | tr '\n' ' '; grep -oE '"loss": ?[-0-9.e+]+' "$1" | tr '\n' ' '; }
checks=$((checks + 1))
[ "$(losses "$work/runs/whole/metrics.jsonl")" = "$(losses "$work/runs/killed/metrics.jsonl")" ] || fail "metrics.jsonl differ"
[ "$(wc -l <"$work/runs/killed/metrics.jsonl")" -eq 30 ] || fail "metrics.jsonl has not one line a step"

checks=$((checks + 1))
leftovers=$(find "$work/runs/killed" -name '*.partial-*')
[ -z "$leftovers" ] || fail "left over: $leftovers"
passed
