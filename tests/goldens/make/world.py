#!/usr/bin/env python3
"""Goldens of tests/evaluate/world_test.cpp: drawings and measures of the sprite world by world/*.py (torch 2.11.0, scipy 1.17).

    python scripts/goldens/world.py tests/goldens/evaluate

world.safetensors: video/N uint8 [F,3,32,32], places/N float64 [F,3] (where its sprite was drawn), track/N float64 [F,3] (as measured
in the uint8 video; NaN as -1). world.json: a list, entry N the scene drawn and what measure() finds. The last videos are no scenes:
an empty one, one with two sprites, one whose sprite is missing in every other frame.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "world"))
import sprites  # noqa: E402
from measure import measure  # noqa: E402


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    g, tensors, entries = np.random.default_rng(11), {}, []
    motions = [*sprites.MOTIONS, *sprites.HELD_OUT_MOTIONS]
    scenes = [sprites.random_scene(g, m) for m in motions]
    videos = [sprites.render(s, 5 + n % 5) for n, s in enumerate(scenes)]
    for n, scene in enumerate(scenes):
        tensors[f"places/{n}"] = sprites.track(scene, 5 + n % 5)
    grounds = torch.tensor(sprites.BACKGROUNDS["teal"]).view(1, 3, 1, 1).expand(4, 3, 32, 32)
    left, right = (sprites.render(sprites.Scene("circle", "plain", "red", "red", "teal", radius=5., shift=(x, 0.)), 4) for x in (-1., 1.))
    blinking = videos[0].clone()
    blinking[::2] = torch.tensor(sprites.BACKGROUNDS[scenes[0].background]).view(3, 1, 1)
    videos += [grounds.clone(), torch.maximum(left, right), blinking]
    for n, video in enumerate(videos):
        stored = (video * 255).round().byte()
        found = measure(stored.float() / 255)
        tensors[f"video/{n}"] = stored
        tensors[f"track/{n}"] = found.pop("places").nan_to_num(-1)
        scene = scenes[n] if n < len(scenes) else None
        entries.append(dict(scene=scene and {k: getattr(scene, k) for k in ("shape", "texture", "first", "second", "background", "motion")}, found=found))
    save_file(tensors, str(folder / "world.safetensors"))
    (folder / "world.json").write_text(json.dumps(entries, indent=1) + "\n")


main()
