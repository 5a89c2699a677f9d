"""Draws one customization task: pictures of a held-out subject, clips of a held-out motion, captions, and the truth to
measure by.

    python -m world.benchmark.draw_references FOLDER --subject ball --motion figure_eight [--frames 8] [--seed 0]

FOLDER then holds images/*.png and videos/*.mp4 with a caption beside each (x.txt), prompts.txt (what to ask a tuned
model for) and world.json (what world.measure compares with). The pictures show the subject on two backgrounds, the
clips two other subjects performing the motion on two further ones, and the prompts ask for the four backgrounds that
are left: whatever of a reference's background, or of a clip's subject, turns up in a result has leaked."""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

import av
import numpy as np
from PIL import Image

from world import sprites
from world.whole_files import write

PICTURES, CLIPS, FPS = 4, 4, 8


def describe(scene):
    return {k: getattr(scene, k) for k in ("shape", "texture", "first", "second")}


def write_clip(path, video):
    """video [F,3,32,32] in 0..1."""
    new = path.with_name("new.mp4")
    with av.open(str(new), "w") as file:
        stream = file.add_stream(
            "libx264", rate=FPS, options={"crf": "4", "preset": "medium", "x264-params": "keyint=1:threads=1"}
        )
        stream.height, stream.width, stream.pix_fmt = *video.shape[2:], "yuv420p"
        for frame in (video.permute(0, 2, 3, 1) * 255).round().byte().numpy():
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    os.replace(new, path)


def task(subject, motion, seed):
    """pictures, clips (scenes) and the backgrounds to ask for; the same for the same three arguments."""
    g = np.random.default_rng(
        [seed, list(sprites.HELD_OUT_SUBJECTS).index(subject), sprites.HELD_OUT_MOTIONS.index(motion)]
    )
    shuffled = [list(sprites.BACKGROUNDS)[i] for i in g.permutation(len(sprites.BACKGROUNDS))]
    of_pictures, of_clips, asked = shuffled[:2], shuffled[2:4], shuffled[4:]
    shape, texture, first, second = sprites.HELD_OUT_SUBJECTS[subject]
    pictures = [
        dataclasses.replace(
            sprites.random_scene(g, "still"),
            shape=shape,
            texture=texture,
            first=first,
            second=second,
            background=of_pictures[i % 2],
            radius=float(g.uniform(5, 8)),
        )
        for i in range(PICTURES)
    ]
    performers = []
    while len(performers) < 2:  # nothing of the subject in them
        scene = sprites.random_scene(g, motion)
        if scene.shape != shape and not {scene.first, scene.second} & {first, second, *(p.first for p in performers)}:
            performers.append(scene)
    clips = []
    for i in range(CLIPS):
        other = sprites.random_scene(g, motion)
        clips.append(
            dataclasses.replace(
                performers[i % 2],
                background=of_clips[i // 2],
                radius=other.radius,
                shift=other.shift,
                amplitude=other.amplitude,
            )
        )
    return pictures, clips, asked


def draw(folder, subject, motion, frames, seed):
    pictures, clips, asked = task(subject, motion, seed)
    for name in ("images", "videos"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i, scene in enumerate(pictures, 1):
        picture = (sprites.render(scene, 1)[0].permute(1, 2, 0) * 255).round().byte().numpy()
        Image.fromarray(picture).save(folder / "images" / f"{i}.png")
        write(folder / "images" / f"{i}.txt", f"{sprites.GENERIC_SUBJECT} on a {scene.background} background\n")
    for i, scene in enumerate(clips, 1):
        write_clip(folder / "videos" / f"{i}.mp4", sprites.render(scene, frames))
        write(folder / "videos" / f"{i}.txt", sprites.caption(scene) + "\n")
    prompts = {
        f"{sprites.GENERIC_SUBJECT} {sprites.GENERIC_MOTION} on a {b} background": dict(
            subject=describe(pictures[0]), motion=motion, background=b
        )
        for b in asked
    }
    leaks = dict(
        subjects=[s for i, s in enumerate(map(describe, clips)) if i < 2],
        backgrounds=sorted({s.background for s in pictures + clips}),
    )
    write(folder / "prompts.txt", "".join(p + "\n" for p in prompts))
    write(folder / "world.json", json.dumps(dict(references=leaks, prompts=prompts), indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--subject", required=True, choices=list(sprites.HELD_OUT_SUBJECTS))
    parser.add_argument("--motion", required=True, choices=sprites.HELD_OUT_MOTIONS)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    try:
        draw(a.folder, a.subject, a.motion, a.frames, a.seed)
    except OSError as error:
        sys.exit(f"draw_references: error: {error}")


if __name__ == "__main__":
    main()
