"""The curves of a pretraining.

python -m world.pretraining.curves LOG.jsonl CURVES.png
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

STAGES = {
    "autoencoder": ("psnr", "psnr_clips"),
    "decoder": ("psnr", "psnr_clips"),
    "images": ("image_loss",),
    "videos": ("image_loss", "video_loss"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("picture", type=Path)
    a = parser.parse_args()
    lines = [json.loads(line) for line in a.log.read_text().splitlines()]
    stages = [stage for stage in STAGES if any(line["stage"] == stage for line in lines)]
    figure, axes = pyplot.subplots(1, len(stages), figsize=(4 * len(stages), 3), layout="constrained", squeeze=False)
    for axis, stage in zip(axes[0], stages):
        for name in STAGES[stage]:
            points = [(line["step"], line[name]) for line in lines if line["stage"] == stage and name in line]
            if points:
                axis.plot(*zip(*points), label=name)
        axis.set(title=stage, xlabel="step", **({} if stage == "autoencoder" else {"yscale": "log"}))
        axis.legend()
    figure.savefig(a.picture, dpi=90)


if __name__ == "__main__":
    main()
