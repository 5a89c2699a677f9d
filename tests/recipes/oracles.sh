#!/usr/bin/env bash
# Training steps, sampled videos and a long decode compared with the real diffusers and transformers classes; published lists there and
# back. First jointtuner does everything, then one Python process (importing diffusers takes longer than all of the rest).
source "$(dirname "$0")/recipe.sh"
[ -n "${PYTHON:-}" ] || { echo "skipped: run scripts/setup.sh --export first"; exit 77; }
: "${PIPELINE:?}" "${SAMPLING:?}"
pipeline=$work/pipelines/${PIPELINE}_pipeline
python() { (cd "$SOURCE" && "$PYTHON" -m tests.oracle.in_one_process); }
line() { printf '%q ' "$@"; echo; }

succeeds "pipeline, list, media" python <<END
$(line tests.pipelines.tiny "$work/pipelines" --only "$PIPELINE")
$(line tests.oracle.random_adapter "$pipeline" "$work/list.pt")
$(line tests.oracle.media "$work/images" "$video" "$work/data" "$HEIGHT" "$WIDTH" "$FRAMES" 8)
END
oracles=
# Closer than compare.py's own limits: rounding gives 1e-6 here, and some settings (gate pooling) change the latents by no more than 1e-3.

# training NAME SECTIONS: the run here and there. With seed 3 the first item is the clip. A picture has one frame, so temporal
# attention has one token and the gradients of its to_q and to_k are 0 in exact arithmetic; what is computed is rounding noise, and
# AdamW (epsilon 1e-8), before it has seen a clip's gradient, makes whole steps of it. Two programs then differ there by 3e-3.
training() {
  local name=$1 sections=$2
  cat >"$work/$name.json" <<JSON
{
  "run": {"name": "$name", "output": "$work/runs", "seed": 3, "device": "cpu", "threads": 2},
  "backbone": {"bundle": "$BUNDLE"},
  "data": {"images": [{"path": "$work/data/images"}], "videos": [{"path": "$work/data/videos"}],
           "height": $HEIGHT, "width": $WIDTH, "frames": $FRAMES, "fps": 8, "clips_per_video": 3},
  $sections
}
JSON
  succeeds "train $name" "$JOINTTUNER" train --config "$work/$name.json"
  oracles+="$(line tests.oracle.train_steps "$pipeline" "$work/runs/$name/config.json" --output "$work/oracle_$name")
$(line tests.oracle.compare training "$work/runs/$name" "$work/oracle_$name" --loss 1e-5 --title "training, $name")
"
}
# The published settings of both; the norm is clipped at less than 1, since these gradients are small.
training zeroscope '"adapter": {"rank": 4, "gate_pooling": "batch"}, "train": {"steps": 10, "checkpoint_every": 0}'
training cogvideox '"adapter": {"rank": 4, "gate_pooling": "batch"}, "loss": {"video_weight": 1}, "train": {"steps": 10, "checkpoint_every": 0, "learning_rate": 2e-4, "beta2": 0.95, "gradient_clip": 0.03}'
training ours '"adapter": {"rank": 4}, "train": {"steps": 10, "checkpoint_every": 0, "batch": 2, "accumulation": 2, "gradient_clip": 0.08, "learning_rate_schedule": "cosine", "warmup_steps": 3}'
training plain_lora '"adapter": {"rank": 4, "gate": false, "dropout": 0}, "loss": {"video": "diffusion", "video_weight": 1}, "train": {"steps": 4, "checkpoint_every": 0}'

# Published lists, there and back.
succeeds "import" "$JOINTTUNER" convert "$work/list.pt" "$work/imported.safetensors" --backbone "$BUNDLE"
succeeds "export" "$JOINTTUNER" convert "$work/imported.safetensors" "$work/again.pt"
oracles+=$(line tests.oracle.compare same "$work/list.pt" "$work/again.pt" --title "published list, in and out")$'\n'

# sampling NAME WORDS...: with the imported list; strengths by group where the bundle has such groups.
strengths=(--adapter-scale 0.9)
if grep -q '"group": *"spatial"' "$BUNDLE/bundle.json"; then strengths+=(--spatial-scale 0.7); fi
sampling() {
  local name=$1
  shift
  local common=(--prompt "a cat" --negative-prompt "bad" --seed 5 "${strengths[@]}" "$@")
  succeeds "sample $name" "$JOINTTUNER" sample --backbone "$BUNDLE" --adapter "$work/imported.safetensors" "${common[@]}" --latents-only --output "$work/$name"
  latents=$(find "$work/$name" -name '*.latents.safetensors')
  oracles+="$(line tests.oracle.sample "$pipeline" --adapter "$work/list.pt" "${common[@]}" --output "$work/$name.safetensors")
$(line tests.oracle.compare sampling "$latents" "$work/$name.safetensors" --latents 3e-5 --title "sampling, $name")
"
}
for how in $SAMPLING; do
  IFS=/ read -r sampler guidance schedule <<<"$how"
  choice=(--sampler "$sampler" --guidance "$guidance" --guidance-schedule "$schedule" --steps 30)
  sampling "${sampler}_$schedule" "${choice[@]}" --frames "$FRAMES" --height "$HEIGHT" --width "$WIDTH" --gate-pooling batch
  sampling "${sampler}_${schedule}_longer" "${choice[@]}" --frames $((2 * FRAMES - 1)) --height 16 --width 32 --gate-pooling sample
done

# Decoding: 49 frames, to rounding.
sampling long --sampler ddim --guidance 1 --steps 2 --frames 49 --height "$HEIGHT" --width "$WIDTH"
succeeds "decode" "$JOINTTUNER" decode --latents "$latents" --output "$work/frames"
oracles+="$(line tests.oracle.sample "$pipeline" --decode "$latents" --output "$work/decoded.safetensors")
$(line tests.oracle.compare sampling "$latents" "$work/decoded.safetensors" --frames "$work/frames" --grey 0.01 --title "decoding, 49 frames")
"

# Scale 0 is the frozen model, bit for bit.
frozen=(--backbone "$BUNDLE" --prompt "a cat" --seed 2 --steps 4 --height "$HEIGHT" --width "$WIDTH" --frames "$FRAMES" --latents-only)
succeeds "frozen" "$JOINTTUNER" sample "${frozen[@]}" --output "$work/frozen"
succeeds "scale 0" "$JOINTTUNER" sample "${frozen[@]}" --adapter "$work/imported.safetensors" --adapter-scale 0 --output "$work/zero"
oracles+=$(line tests.oracle.compare same "$(find "$work/frozen" -name '*.safetensors')" "$(find "$work/zero" -name '*.safetensors')" --title "scale 0 and the frozen model")$'\n'

succeeds "oracles" python <<<"$oracles"
grep -v '^\[' "$work/out"
passed
