"""Writes tests/goldens/data/joint_batches.safetensors: which items a run sees, from the documented random draws alone.

    python -m tests.goldens.make.joint_batches            needs torch 2.11.0 and safetensors

Key "seed/batch/flip" -> int64 [micro steps, batch, 3]: item, flip, clip. Items 0-2 are pictures, item 3 a video with 3
clips, item 4 a video with 1."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.oracle.named_random import generator

OUT = Path("tests/goldens/data")
CLIPS = [0, 0, 0, 3, 1]


def micro_step(seed, batch, flip, m):
    flips = torch.rand([batch], generator=generator(seed, m, "flip"))
    starts = torch.rand([batch], generator=generator(seed, m, "clip_start"))
    rows = []
    for b in range(batch):
        epoch, place = divmod(m * batch + b, len(CLIPS))
        item = torch.randperm(len(CLIPS), generator=generator(seed, epoch, "order"))[place].item()
        if CLIPS[item] == 0:
            rows.append([item, int(flips[b].item() < flip), 0])
        else:
            rows.append([item, 0, int(starts[b].item() * CLIPS[item])])
    return rows


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for seed, batch, flip in [(0, 1, 0.5), (7, 2, 0.5), (123456789, 4, 0.25), (7, 12, 1.0)]:
        tensors[f"{seed}/{batch}/{flip:g}"] = torch.tensor([micro_step(seed, batch, flip, m) for m in range(24)])
    save_file(tensors, OUT / "joint_batches.safetensors")


if __name__ == "__main__":
    main()
