#!/usr/bin/env bash
# Wrong input of every kind ends with one clear message and the right exit code, and nothing is lost.
source "$(dirname "$0")/recipe.sh"
write_config "$work/config.json"

# The command line.
refuses 2 "trian" "$JOINTTUNER" trian
refuses 2 "--confg" "$JOINTTUNER" train --confg x
refuses 2 "absent.json" "$JOINTTUNER" train --config "$work/absent.json"
refuses 2 "no CUDA device" train --device cuda:7
refuses 2 "--prompt" "$JOINTTUNER" sample --backbone "$BUNDLE"

# The config: file, JSON path, what is allowed, the nearest key.
refuses 2 "did you mean \"learning_rate\"" train --set train.learnign_rate=1
refuses 2 "adapter.rank" train --set adapter.rank=0
refuses 2 "adapter.gate" train --set adapter.gate=False
refuses 2 "train.steps" train --set 'train.steps="many"'
refuses 2 "loss.video" train --set loss.video=none
echo '{"run": {"name": "x",}}' >"$work/broken.json"
refuses 2 "broken.json" "$JOINTTUNER" train --config "$work/broken.json"
refuses 1 "too large for the site" train --set adapter.rank=4096

# Media and captions. media FOLDER-CONTENT...: a folder of its own for each case.
pictures() { rm -rf "$work/pictures"; mkdir "$work/pictures"; echo "a cat" >"$work/pictures/x.txt"; }
clips() { rm -rf "$work/clips"; mkdir "$work/clips"; echo "a dog" >"$work/clips/x.txt"; }
with_pictures() { train --set "data.images=[{\"path\": \"$work/pictures\"}]"; }
with_clips() { train --set "data.videos=[{\"path\": \"$work/clips\"}]" "$@"; }
refuses 1 "nowhere" train --set 'data.images=[{"path": "nowhere", "caption": "a cat"}]'
pictures; rm "$work/pictures/x.txt"
refuses 1 "$work/pictures" with_pictures
pictures
refuses 1 "x.txt" with_pictures                                   # a caption without its picture
pictures; : >"$work/pictures/x.jpg"
refuses 1 "x.jpg" with_pictures                                   # empty
pictures; head -c 2000 "$image" >"$work/pictures/x.jpg"
refuses 1 "x.jpg" with_pictures                                   # cut off
pictures; cp "$image" "$work/pictures/x.jpg"; rm "$work/pictures/x.txt"
refuses 1 "x.txt" with_pictures                                   # no caption
pictures; cp "$image" "$work/pictures/x.jpg"; echo "  " >"$work/pictures/x.txt"
refuses 1 "x.txt" with_pictures                                   # empty caption
pictures; cp "$image" "$work/pictures/x.jpg"; for _ in $(seq 60); do printf 'many words '; done >"$work/pictures/x.txt"
refuses 1 "token" with_pictures                                   # a caption longer than the text encoder takes
clips; echo "this is no film" >"$work/clips/x.mp4"
refuses 1 "x.mp4" with_clips
clips; head -c $(($(stat -c %s "$video") / 2)) "$video" >"$work/clips/x.mp4"
refuses 1 "x.mp4" with_clips
clips; cp "$video" "$work/clips/x.mp4"
refuses 1 "too short" with_clips --set data.frames=4000
refuses 2 "data.height" train --set data.height=33

# `check` tells all problems at once.
pictures; : >"$work/pictures/x.jpg"
clips; echo "this is no film" >"$work/clips/x.mp4"
refuses 1 "x.jpg" "$JOINTTUNER" check --config "$work/config.json" --set "data.images=[{\"path\": \"$work/pictures\"}]" --set "data.videos=[{\"path\": \"$work/clips\"}]"
checks=$((checks + 1))
cat "$work/out" "$work/err" | grep -q "x.mp4" || fail "check reports the first problem only"

# The bundle.
with_bundle() { train --set "backbone.bundle=$work/bundle"; }
bundle() { rm -rf "$work/bundle"; cp -r "$BUNDLE" "$work/bundle"; chmod -R u+w "$work/bundle"; }
refuses 1 "no such folder" with_bundle
bundle; printf 'X' | dd of="$work/bundle/denoiser.pt" bs=1 seek=5000 conv=notrunc status=none
refuses 1 "denoiser.pt" with_bundle
bundle; rm "$work/bundle/autoencoder.pt"
refuses 1 "autoencoder.pt" with_bundle
bundle; sed -i -E 's/"version": *[0-9]+,/"version": 99,/' "$work/bundle/bundle.json"
refuses 1 "99" with_bundle

# A run, and what may happen to it.
succeeds "a good run" train
sum=$(sha256sum "$work/runs/run/adapter.safetensors")
refuses 2 "holds a run already" train
refuses 2 "the data changed" train --resume --set 'data.images=[{"path": "'"$image"'", "caption": "another caption"}]'
refuses 2 "adapter.rank was 2 and is 1 now" train --resume --set adapter.rank=1
[ "$sum" = "$(sha256sum "$work/runs/run/adapter.safetensors")" ] || fail "a refused command changed the run"
truncate -s -8 "$work/runs/run/checkpoints/step_00000006/adapter.safetensors"
succeeds "resume past a damaged checkpoint" train --resume
grep -q step_00000006 "$work/err" || fail "the damaged checkpoint was not named"
[ "$sum" = "$(sha256sum "$work/runs/run/adapter.safetensors")" ] || fail "the run resumed from an earlier checkpoint differs"

# Adapters.
sample_with() { rm -rf "$work/s"; "$JOINTTUNER" sample --backbone "$BUNDLE" --adapter "$1" --prompt "a cat" --steps 1 --output "$work/s"; }
damaged() { rm -f "$work/x.safetensors"; cp "$work/runs/run/adapter.safetensors" "$work/x.safetensors"; chmod u+w "$work/x.safetensors"; }
refuses 2 "absent.safetensors" sample_with "$work/absent.safetensors"
damaged; sed -i -E 's/"denoiser_sha256":"[0-9a-f]{8}/"denoiser_sha256":"00000000/' "$work/x.safetensors"
refuses 1 "x.safetensors" sample_with "$work/x.safetensors"
damaged; printf '\x00\x00\xc0\x7f' | dd of="$work/x.safetensors" bs=1 seek=$(($(stat -c %s "$work/x.safetensors") - 4)) conv=notrunc status=none
refuses 1 "lora_" sample_with "$work/x.safetensors"
damaged; sed -i 's/"rank":"2"/"rank":"3"/' "$work/x.safetensors"
refuses 1 "x.safetensors" sample_with "$work/x.safetensors"
damaged; truncate -s -100 "$work/x.safetensors"
refuses 1 "truncated" sample_with "$work/x.safetensors"
echo "not a pickle" >"$work/x.pt"
refuses 1 "x.pt" "$JOINTTUNER" convert "$work/x.pt" "$work/y.safetensors" --backbone "$BUNDLE"
refuses 1 "x.pt" "$JOINTTUNER" inspect "$work/x.pt"
refuses 1 "nothing of it was executed" "$JOINTTUNER" convert "$SOURCE/tests/goldens/adapter/attack.pt" "$work/y.safetensors" --backbone "$BUNDLE"

# A full disk, by the limit on a file's size: a clear error, and the run goes on when there is room again.
full_disk() { (trap '' XFSZ; ulimit -f 16; train --set run.name=full); }
refuses 1 "$work/runs/full" full_disk
succeeds "room again" train --set run.name=full --resume
equal "after a full disk" "$work/runs/run/adapter.safetensors" "$work/runs/full/adapter.safetensors"
passed
