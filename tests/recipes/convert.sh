#!/usr/bin/env bash
# A trained adapter as a published list and back is the same adapter, and samples the same video; another backbone refuses both files.
source "$(dirname "$0")/recipe.sh"
: "${FOREIGN_BUNDLE:?}"
write_config "$work/config.json" '"train": {"steps": 2, "learning_rate": 0.01, "checkpoint_every": 0}'
succeeds "training" train
ours=$work/runs/run/adapter.safetensors
succeeds "export" "$JOINTTUNER" convert "$ours" "$work/list.pt"
succeeds "import" "$JOINTTUNER" convert "$work/list.pt" "$work/imported.safetensors" --backbone "$BUNDLE"
succeeds "export again" "$JOINTTUNER" convert "$work/imported.safetensors" "$work/again.pt"
equal "the list" "$work/list.pt" "$work/again.pt"

for name in run imported; do
  adapter=$work/imported.safetensors
  [ $name = imported ] || adapter=$ours
  succeeds "sampling with $name" "$JOINTTUNER" sample --backbone "$BUNDLE" --adapter "$adapter" --prompt "a cat" --steps 2 --guidance 3 \
    --frames "$FRAMES" --height "$HEIGHT" --width "$WIDTH" --output "$work/$name"
done
equal "the video" "$work/run/"000*.mp4 "$work/imported/"000*.mp4

refuses 1 "list.pt" "$JOINTTUNER" convert "$work/list.pt" "$work/foreign.safetensors" --backbone "$FOREIGN_BUNDLE"
refuses 1 "adapter.safetensors" "$JOINTTUNER" sample --backbone "$FOREIGN_BUNDLE" --adapter "$ours" --prompt "a cat" --steps 1 --output "$work/foreign"
[ ! -e "$work/foreign.safetensors" ] || fail "a refused list was written"
passed
