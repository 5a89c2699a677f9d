#!/usr/bin/env bash
# A backbone exported for real; training steps and sampled videos compared with the real diffusers and transformers classes.
source "$(dirname "$0")/recipe.sh"
[ -n "${PYTHON:-}" ] || { echo "skipped: run scripts/setup.sh --export first"; exit 77; }
oracle=$SOURCE/scripts/oracle
export PYTHONPATH=$oracle

succeeds "tiny pipelines" "$PYTHON" "$SOURCE/scripts/make_tiny_pipelines.py" "$work/pipelines" --only tiny
pipeline=$work/pipelines/tiny_pipeline
succeeds "export" "$PYTHON" "$SOURCE/scripts/export_backbone.py" "$pipeline" "$work/bundle"
succeeds "media" "$PYTHON" "$(dirname "$0")/oracle_media.py" "$work/images" "$video" "$work/data" 32 4 8

# compared WHAT COMMAND...: prints the comparison's figures.
compared() { succeeds "$@"; sed 's/^/  /' "$work/out"; }

# training NAME SECTIONS: ten steps here and there. With seed 3 the first item is the clip. A picture has one frame, so temporal
# attention has one token and the gradients of its to_q and to_k are 0 in exact arithmetic; what is computed is rounding noise, and
# AdamW (epsilon 1e-8), before it has seen a clip's gradient, makes whole steps of it. Two programs then differ there by 3e-3.
training() {
  local name=$1 sections=$2
  cat >"$work/$name.json" <<JSON
{
  "run": {"name": "$name", "output": "$work/runs", "seed": 3, "device": "cpu", "threads": 2},
  "backbone": {"bundle": "$work/bundle"},
  "data": {"images": [{"path": "$work/data/images"}], "videos": [{"path": "$work/data/videos"}],
           "height": 32, "width": 32, "frames": 4, "fps": 8, "clips_per_video": 3},
  $sections
}
JSON
  echo "training, $name:"
  succeeds "train $name" "$JOINTTUNER" train --config "$work/$name.json"
  succeeds "oracle of $name" "$PYTHON" "$oracle/train_steps.py" "$pipeline" "$work/runs/$name/config.json" --steps 10 --output "$work/oracle_$name"
  compared "comparison of $name" "$PYTHON" "$oracle/compare.py" training "$work/runs/$name" "$work/oracle_$name"
}
training published '"adapter": {"rank": 4, "gate_pooling": "batch"}, "train": {"steps": 10, "checkpoint_every": 0}'
training ours '"adapter": {"rank": 4}, "train": {"steps": 10, "checkpoint_every": 0, "batch": 2, "accumulation": 2, "gradient_clip": 1, "learning_rate_schedule": "cosine", "warmup_steps": 3}'
training plain_lora '"adapter": {"rank": 4, "gate": false, "dropout": 0}, "loss": {"video": "diffusion", "video_weight": 1}, "train": {"steps": 10, "checkpoint_every": 0}'

# Sampling with an imported published list: 30 DDIM steps, guidance 12.
succeeds "published list" "$PYTHON" "$oracle/random_adapter.py" "$pipeline" "$work/list.pt"
succeeds "import" "$JOINTTUNER" convert "$work/list.pt" "$work/imported.safetensors" --backbone "$work/bundle"
for pooling in batch sample; do
  echo "sampling, gate pooling $pooling:"
  succeeds "sample" "$JOINTTUNER" sample --backbone "$work/bundle" --adapter "$work/imported.safetensors" --prompt "a cat is walking" \
    --negative-prompt "blurry" --seed 5 --steps 30 --guidance 12 --sampler ddim --height 32 --width 32 --frames 4 --gate-pooling $pooling \
    --spatial-scale 0.7 --output "$work/samples_$pooling"
  latents=$(find "$work/samples_$pooling" -name '*.latents.safetensors')
  succeeds "frames" "$JOINTTUNER" decode --latents "$latents" --output "$work/frames_$pooling"
  succeeds "sampling oracle" "$PYTHON" "$oracle/sample.py" "$pipeline" --prompt "a cat is walking" --negative-prompt "blurry" --adapter "$work/list.pt" \
    --seed 5 --shape 4 8 8 --steps 30 --guidance 12 --gate-pooling $pooling --spatial-scale 0.7 --output "$work/oracle_$pooling.safetensors"
  compared "comparison of samples" "$PYTHON" "$oracle/compare.py" sampling "$latents" "$work/oracle_$pooling.safetensors" --frames "$work/frames_$pooling"
done

# There and back: the list exported again is the list.
succeeds "export of the list" "$JOINTTUNER" convert "$work/imported.safetensors" "$work/again.pt"
succeeds "same tensors" "$PYTHON" - "$work/list.pt" "$work/again.pt" <<'PY'
import sys, torch
a, b = (torch.load(p, weights_only=True) for p in sys.argv[1:])
assert len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b))
PY

# Scale 0 is the frozen model, bit for bit.
frozen=(--backbone "$work/bundle" --prompt "a cat" --seed 2 --steps 4 --height 32 --width 32 --frames 4 --latents-only)
succeeds "frozen" "$JOINTTUNER" sample "${frozen[@]}" --output "$work/frozen"
succeeds "scale 0" "$JOINTTUNER" sample "${frozen[@]}" --adapter "$work/imported.safetensors" --adapter-scale 0 --output "$work/zero"
compared "scale 0 equals frozen" "$PYTHON" - "$(find "$work/frozen" -name '*.safetensors')" "$(find "$work/zero" -name '*.safetensors')" <<'PY'
import sys, torch
from safetensors.torch import load_file
a, b = (load_file(p)["latents"] for p in sys.argv[1:])
assert torch.equal(a, b)
print("scale 0 equals the frozen model bit for bit")
PY
passed
