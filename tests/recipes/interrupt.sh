#!/usr/bin/env bash
# Ctrl-C finishes the step, saves, says how to resume (exit code 130); the resumed run equals the uninterrupted one.
source "$(dirname "$0")/recipe.sh"
write_config "$work/config.json" '"train": {"steps": 40, "learning_rate": 0.01, "checkpoint_every": 0}'
succeeds "uninterrupted run" train --set run.name=whole

"$JOINTTUNER" train --config "$work/config.json" --set run.name=stopped >"$work/out" 2>"$work/err" &
process=$!
for _ in $(seq 1200); do [ -s "$work/runs/stopped/metrics.jsonl" ] && break; sleep 0.05; done
kill -INT $process
wait $process
code=$?
checks=$((checks + 1))
[ $code -eq 130 ] || { cat "$work/err" >&2; fail "exit code $code after Ctrl-C, expected 130"; }
grep -q -- '--resume' "$work/err" || { cat "$work/err" >&2; fail "the message does not say how to resume"; }
[ -n "$(find "$work/runs/stopped/checkpoints" -name 'step_*')" ] || fail "no checkpoint after Ctrl-C"
succeeds "resumed run" train --set run.name=stopped --resume
equal "after Ctrl-C" "$work/runs/whole/adapter.safetensors" "$work/runs/stopped/adapter.safetensors"

# A second Ctrl-C ends at once; what was there stays usable.
"$JOINTTUNER" train --config "$work/config.json" --set run.name=twice >"$work/out" 2>"$work/err" &
process=$!
for _ in $(seq 1200); do [ -s "$work/runs/twice/metrics.jsonl" ] && break; sleep 0.05; done
kill -INT $process; kill -INT $process
wait $process
code=$?
checks=$((checks + 1))
[ $code -eq 130 ] || fail "exit code $code after two Ctrl-C, expected 130"
succeeds "resume after two Ctrl-C" train --set run.name=twice --resume
equal "after two Ctrl-C" "$work/runs/whole/adapter.safetensors" "$work/runs/twice/adapter.safetensors"
passed
