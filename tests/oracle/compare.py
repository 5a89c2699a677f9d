"""Compares what jointtuner wrote with what the oracles wrote; prints the differences and exits non-zero when one is too
large.

    python -m tests.oracle.compare training RUN ORACLE_OUTPUT
    python -m tests.oracle.compare sampling LATENTS ORACLE_SAFETENSORS [--frames FRAMES] [--video MP4]
    python -m tests.oracle.compare same FILE FILE

training: every loss of metrics.jsonl to 1e-4, the adapter to 1e-3 (relative L2)
sampling: latents to 1e-3 (relative L2), frames to 1 grey level on average
same:     two published lists or safetensors files hold the same tensors, bit for bit

--frames: a folder of PNG files in order, or a safetensors file whose tensor `frames` is uint8 [F,H,W,3]. --video: an
mp4 is lossy (and random models paint saturated noise, its worst case), so means over 8x8 pixels are compared, to 3 grey
levels; swapped colours or a wrong scale are off by tens.

Tolerances: fp32 rounding of other summation orders grows through optimiser steps and sampler steps; a wrong formula is
off by far more."""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file


def relative(found, expected):
    if found.shape != expected.shape:
        sys.exit(f"shapes differ: {tuple(found.shape)}, the oracle's {tuple(expected.shape)}")
    return float((found.double() - expected.double()).norm() / expected.double().norm().clamp_min(1e-30))


def grey_levels(found, expected, block):
    """Mean difference of uint8 [F,H,W,3], after averaging over blocks of pixels."""
    if found.shape != expected.shape:
        sys.exit(f"frames are {tuple(found.shape)}, the oracle's {tuple(expected.shape)}")
    means = (torch.nn.functional.avg_pool2d(t.float().permute(0, 3, 1, 2), block) for t in (found, expected))
    return float((next(means) - next(means)).abs().mean())


def read_frames(path):
    """uint8 [F,H,W,3]"""
    if not path.is_dir():
        return load_file(path)["frames"]
    import numpy as np
    from PIL import Image

    files = sorted(path.glob("*.png"))
    if not files:
        sys.exit(f"{path} holds no PNG files")
    return torch.from_numpy(np.stack([np.asarray(Image.open(f).convert("RGB")) for f in files]))


class Report:
    def __init__(self):
        self.failed = False

    def line(self, what, value, limit):
        bad = not value <= limit
        self.failed |= bad
        print(f"{what}: {value:.3g} (at most {limit:g}){'  TOO LARGE' if bad else ''}")


def compare_training(arguments, report):
    metrics = [json.loads(line) for line in (arguments.found / "metrics.jsonl").read_text().splitlines()]
    oracle = json.loads((arguments.expected / "losses.json").read_text())
    if len(metrics) < len(oracle["losses"]):
        sys.exit(f"{arguments.found}/metrics.jsonl has {len(metrics)} steps, the oracle {len(oracle['losses'])}")
    for step, (line, loss, items) in enumerate(zip(metrics, oracle["losses"], oracle["items"]), 1):
        report.line(f"step {step} loss {line['loss']:.6f}", abs(line["loss"] - loss) / abs(loss), arguments.loss)
        found = [(i["kind"], i["timestep"]) for i in line["items"]]
        if found != [(i["kind"], i["timestep"]) for i in items]:
            sys.exit(f"step {step}: the run took {found}, the oracle {items}")
    found, expected = (
        load_file(arguments.found / "adapter.safetensors"),
        load_file(arguments.expected / "adapter.safetensors"),
    )
    if set(found) != set(expected):
        sys.exit(f"adapter keys differ: {sorted(set(found) ^ set(expected))[:3]}")
    for kind in ("down", "up", "gate"):
        names = [n for n in sorted(found) if n.endswith(f"lora_{kind}")]
        if names:
            report.line(
                f"adapter lora_{kind}",
                relative(*(torch.cat([t[n].flatten() for n in names]) for t in (found, expected))),
                arguments.adapter,
            )


def compare_sampling(arguments, report):
    expected = load_file(arguments.expected)
    report.line("latents", relative(load_file(arguments.found)["latents"], expected["latents"]), arguments.latents)
    if arguments.frames:
        report.line(
            "frames, mean grey levels",
            grey_levels(read_frames(arguments.frames), expected["frames"], 1),
            arguments.grey,
        )
    if arguments.video:
        import av

        with av.open(str(arguments.video)) as container:
            frames = torch.stack([torch.from_numpy(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)])
        report.line("video, mean grey levels over 8x8 pixels", grey_levels(frames, expected["frames"], 8), 3.0)


def compare_same(arguments, report):
    found, expected = (
        {
            str(k): t
            for k, t in (
                load_file(p).items() if p.suffix == ".safetensors" else enumerate(torch.load(p, weights_only=True))
            )
        }
        for p in (arguments.found, arguments.expected)
    )
    if list(found) != list(expected):
        sys.exit(f"other tensors: {sorted(set(found) ^ set(expected))[:3]}")
    different = [k for k in found if not torch.equal(found[k], expected[k])]
    report.line(f"tensors that differ, of {len(found)} {different[:3] or ''}", len(different), 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("training", "sampling", "same"))
    parser.add_argument("found", type=Path, help="a run's folder, a .latents.safetensors, or any file")
    parser.add_argument("expected", type=Path, help="train_steps.py's output folder, sample.py's file, or any file")
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--title", help="printed first")
    for name, limit in (("loss", 1e-4), ("adapter", 1e-3), ("latents", 1e-3), ("grey", 1.0)):
        parser.add_argument(f"--{name}", type=float, default=limit, help=f"largest allowed (default {limit:g})")
    arguments = parser.parse_args()
    report = Report()
    if arguments.title:
        print(f"{arguments.title}:")
    {"training": compare_training, "sampling": compare_sampling, "same": compare_same}[arguments.what](
        arguments, report
    )
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
