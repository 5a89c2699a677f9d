"""The moving picture on the project's front page: what a demo was given, and its videos without and with the adapter.

    python -m world.front_page demo/unet3d docs/demo.gif

The first argument is a folder that scripts/demo.sh has finished. Its videos are decoded anew from their saved latents
by `jointtuner decode --output x.gif` (build/jointtuner, or the program that JOINTTUNER names); every pixel is enlarged
to a square, without smoothing.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageSequence

FPS = 8
GIVEN_ZOOM, MADE_ZOOM = 2, 3  # references, and what the model makes of the prompts
GAP, MARGIN, BETWEEN, LABEL = 4, 12, 26, 20
BACKGROUND, INK = (250, 250, 248), (40, 40, 40)


def frames(path):
    """[F,H,W,3] uint8 of a picture, a GIF or a clip."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as file:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    with Image.open(path) as file:
        return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(file)])


def decoded(folder, program):
    """The videos of `jointtuner sample`'s folder, from their latents."""
    videos = []
    with tempfile.TemporaryDirectory() as work:
        for number, line in enumerate((folder / "samples.jsonl").read_text().splitlines()):
            target = Path(work) / f"{number}.gif"
            latents = folder / json.loads(line)["latents"]
            subprocess.run(
                [program, "decode", "--latents", latents, "--output", target], check=True, stdout=subprocess.DEVNULL
            )
            videos.append(frames(target))
    return videos


def tiled(videos, columns, zoom, count):
    """[count,H,W,3]: the videos in rows of so many, enlarged without smoothing; a picture stays as it is."""
    side = videos[0].shape[1] * zoom
    rows = -(-len(videos) // columns)
    step = side + GAP
    sheet = np.full((count, rows * step - GAP, columns * step - GAP, 3), BACKGROUND, np.uint8)
    for number, video in enumerate(videos):
        y, x = number // columns * step, number % columns * step
        for frame in range(count):
            sheet[frame, y : y + side, x : x + side] = video[frame % len(video)].repeat(zoom, 0).repeat(zoom, 1)
    return sheet


def placed(parts):
    """parts: (x, y, label, [F,H,W,3]) -> the frames of the whole picture."""
    width = max(x + sheet.shape[2] for x, _, _, sheet in parts) + MARGIN
    height = max(y + LABEL + sheet.shape[1] for _, y, _, sheet in parts) + MARGIN
    font = ImageFont.load_default(size=14)
    whole = []
    for frame in range(len(parts[0][3])):
        image = Image.new("RGB", (width, height), BACKGROUND)
        pen = ImageDraw.Draw(image)
        for x, y, label, sheet in parts:
            pen.text((x, y), label, INK, font=font)
            image.paste(Image.fromarray(sheet[frame]), (x, y + LABEL))
        whole.append(image)
    return whole


def picture(demo, program):
    given = {
        kind: [frames(p) for p in sorted((demo / "references" / kind).glob(pattern))]
        for kind, pattern in (("images", "*.png"), ("videos", "*.mp4"))
    }
    made = {side: decoded(demo / side, program) for side in ("untuned", "tuned")}
    count = max(len(video) for videos in (*given.values(), *made.values()) for video in videos)
    pictures, clips = (tiled(given[kind], 4, GIVEN_ZOOM, count) for kind in ("images", "videos"))
    before, after = (tiled(made[side], 2, MADE_ZOOM, count) for side in ("untuned", "tuned"))
    bottom = MARGIN + before.shape[1] - clips.shape[1]  # both columns end on one line
    second = MARGIN + pictures.shape[2] + BETWEEN
    third = second + before.shape[2] + BETWEEN
    return placed(
        [
            (MARGIN, MARGIN, "given: pictures of a toy", pictures),
            (MARGIN, bottom, "given: clips of a dance", clips),
            (second, MARGIN, "un-tuned", before),
            (third, MARGIN, "tuned: the toy dances", after),
        ]
    )


def write_gif(path, images):
    """One palette for all frames, so that nothing flickers."""
    column = Image.fromarray(np.concatenate([np.asarray(image) for image in images]))
    palette = column.quantize(256, dither=Image.Dither.NONE)
    first, *rest = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    first.save(path, save_all=True, append_images=rest, duration=1000 // FPS, loop=0, optimize=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path)
    parser.add_argument("gif", type=Path)
    arguments = parser.parse_args()
    write_gif(arguments.gif, picture(arguments.demo, os.environ.get("JOINTTUNER", "build/jointtuner")))


if __name__ == "__main__":
    main()
