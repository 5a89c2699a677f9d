#!/usr/bin/env bash
# A preview and `sample` with the same settings give identical files; latents-only and decode give the same video.
source "$(dirname "$0")/recipe.sh"
write_config "$work/config.json" '"train": {"steps": 4, "learning_rate": 0.01, "checkpoint_every": 2}, "preview": {"every": 2}'
succeeds "training with previews" train
for step in 2 4; do
  preview=$work/runs/run/previews/step_0000000$step
  succeeds "sampling step $step" "$JOINTTUNER" sample --run "$work/runs/run" --checkpoint $step --output "$work/samples$step"
  count=0
  for file in "$preview"/*.mp4 "$preview"/*.latents.safetensors; do
    equal "preview of step $step" "$file" "$work/samples$step/$(basename "$file")"
    count=$((count + 1))
  done
  [ $count -eq 4 ] || fail "expected 2 videos and 2 latents in $preview, found $count files"
done
checks=$((checks + 1))
cmp -s "$work/samples2/"000*.latents.safetensors "$work/samples4/"000*.latents.safetensors && fail "training changed nothing"

# Prompts sampled together never change each other.
succeeds "one prompt alone" "$JOINTTUNER" sample --run "$work/runs/run" --prompt "a dog" --seed 1 --output "$work/alone"
equal "a prompt alone" "$work/alone/"000*.mp4 "$work/samples4/"001*.mp4

succeeds "latents only" "$JOINTTUNER" sample --run "$work/runs/run" --prompt "a dog" --seed 1 --latents-only --output "$work/latents"
[ -z "$(find "$work/latents" -name '*.mp4')" ] || fail "--latents-only wrote a video"
succeeds "decode" "$JOINTTUNER" decode --latents "$work/latents/"000*.latents.safetensors --backbone "$BUNDLE"
equal "decoded later" "$(find "$work/latents" -name '*.mp4')" "$work/alone/"000*.mp4
passed
