"""Measures sampled videos of the sprite world: the scores of every video (scores.py), and what it shows (contents.py).

    python -m world.measure --samples DIR [--samples DIR ...] --truth world.json [--csv scores.csv]

DIR is a folder that `jointtuner sample` wrote: a line of its samples.jsonl is a video. world.json says what each prompt
asks for and what the references show (benchmark/draw_references.py writes it):

    {"references": {"subjects": [SUBJECT, ...], "backgrounds": ["navy", ...]},
     "prompts": {"a toy dancing on a teal background": {"subject": SUBJECT, "motion": "hop", "background": "teal"}}}

with SUBJECT {"shape", "texture", "first", "second"}. Prints a line for each label (adapter): mean scores in 0..1, then
the share of videos whose shape, colours, background and motion are the asked ones. --csv writes a line for each video.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import av
import numpy as np
import torch

from world import sprites
from world.contents import WorldError, measure
from world.scores import NAMES, References, check_name, scores
from world.whole_files import write

SUBJECT = ("shape", "texture", "first", "second")
ASKED = (*SUBJECT, "motion", "background")


@dataclasses.dataclass(frozen=True)
class Row:
    """A video: its file, adapter, prompt and seed; the scene asked for; the parts found, "" for what cannot be told;
    the scores."""

    video: str
    label: str
    prompt: str
    seed: int
    asked: sprites.Scene
    found: dict
    scores: dict

    def right(self):
        """Shape, colours, background and motion, each right or not."""
        same = {name: self.found[name] == getattr(self.asked, name) for name in ("shape", "background", "motion")}
        # A plain sprite must be plain; which side a colour is on is the texture's matter.
        colours = {self.found["first"], self.found["second"]} == {self.asked.first, self.asked.second}
        return [same["shape"], colours, same["background"], same["motion"]]


class Truth:
    """A world.json: what the prompts ask for, and what the references show."""

    def __init__(self, path):
        self.path = path
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            shown = document["references"]
            subjects = [{name: subject[name] for name in SUBJECT} for subject in shown["subjects"]]
            self.references = References(
                frozenset(s[name] for s in subjects for name in ("first", "second")), frozenset(shown["backgrounds"])
            )
            self.prompts = dict(document["prompts"])
        except (ValueError, KeyError, TypeError) as error:
            raise WorldError(f"{path}: expected references and prompts of a sprite world: {error!r}") from error
        for colour in self.references.colours:
            check_name("sprite colour", colour, sprites.COLOURS)
        for background in self.references.backgrounds:
            check_name("background", background, sprites.BACKGROUNDS)

    def scene(self, prompt):
        if prompt not in self.prompts:
            raise WorldError(f'{self.path}: does not say what the prompt "{prompt}" asks for; add it to "prompts"')
        try:
            entry = self.prompts[prompt]
            return sprites.Scene(
                **{name: entry["subject"][name] for name in SUBJECT},
                motion=entry["motion"],
                background=entry["background"],
            )
        except (KeyError, TypeError) as error:
            raise WorldError(
                f'{self.path}: prompt "{prompt}": expected subject, motion and background: {error!r}'
            ) from error


def read_video(path):
    """float32 [F,3,32,32] in 0..1"""
    try:
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            if (stream.width, stream.height) != (sprites.SIZE, sprites.SIZE):
                raise WorldError(
                    f"{path}: a video of the sprite world has {sprites.SIZE}x{sprites.SIZE} pixels, found "
                    f"{stream.width}x{stream.height}"
                )
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(stream)])
    except av.FFmpegError as error:
        raise WorldError(f"{path}: {error.strerror}") from error
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


def row(folder, line, truth):
    path, asked = folder / line["file"], truth.scene(line["prompt"])
    video = read_video(path)
    contents = measure(video)
    found = {name: contents[name] or "" for name in ASKED}
    if not found["texture"]:  # without its colours a sprite is not known
        found |= dict.fromkeys(SUBJECT, "")
    return Row(
        str(path), line["label"], line["prompt"], line["seed"], asked, found, scores(video, asked, truth.references)
    )


def rows(folders, truth):
    """One for each line of each folder's samples.jsonl, in order."""
    result = []
    for folder in folders:
        lines = folder / "samples.jsonl"
        for text in lines.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
                known = [line[name] for name in ("file", "label", "prompt", "seed")]
            except (ValueError, KeyError, TypeError) as error:
                raise WorldError(f"{lines}: a line is damaged: {error!r}") from error
            result.append(row(folder, dict(zip(("file", "label", "prompt", "seed"), known)), truth))
    return result


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


def csv_text(rows):
    columns = [
        "video",
        "label",
        "prompt",
        "seed",
        *(f"asked_{name}" for name in ASKED),
        *(f"found_{name}" for name in ASKED),
        *NAMES,
    ]
    lines = [",".join(columns)]
    for r in rows:
        cells = [quoted(r.video), quoted(r.label), quoted(r.prompt), str(r.seed)]
        cells += [
            *(getattr(r.asked, name) for name in ASKED),
            *(r.found[name] for name in ASKED),
            *(f"{r.scores[name]:.6f}" for name in NAMES),
        ]
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def table(rows):
    """A line a label, in the order of their first videos."""
    lines = [
        f"{'label':24} {'videos':>6} {'appearance':>10} {'motion':>6} {'contamination':>13} {'text':>5} "
        f"{'validity':>8} {'joint':>5}"
        f"   {'shape':>5} {'colours':>7} {'background':>10} {'motion':>6}"
    ]
    for label in dict.fromkeys(r.label for r in rows):
        mine = [r for r in rows if r.label == label]
        means = np.mean([[*(r.scores[name] for name in NAMES), *r.right()] for r in mine], 0)
        widths = (10, 6, 13, 5, 8, 5, 5, 7, 10, 6)
        cells = [f"{mean:>{width}.3f}" for mean, width in zip(means, widths)]
        lines.append(f"{label:24} {len(mine):>6} {' '.join(cells[:6])}   {' '.join(cells[6:])}")
    return "\n".join(lines) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="world.measure", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--samples",
        type=Path,
        action="append",
        required=True,
        metavar="DIR",
        help="folder that sample wrote (repeatable)",
    )
    parser.add_argument(
        "--truth",
        type=Path,
        required=True,
        metavar="FILE",
        help="world.json: what each prompt asks for, and what the references show",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a line for each video")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)  # more gain nothing at this size
    try:
        found = rows(arguments.samples, Truth(arguments.truth))
        if not found:
            raise WorldError("no videos: samples.jsonl of every folder is empty")
        if arguments.csv:
            write(arguments.csv, csv_text(found))
    except (WorldError, OSError) as error:
        print(f"measure: error: {error}", file=sys.stderr)
        return 1
    print(table(found), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
