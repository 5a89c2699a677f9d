"""The demo's page and contact sheet: references, un-tuned and tuned videos side by side, with their scores.

    python -m world.benchmark.demo_page FOLDER

Reads FOLDER/references (draw_references.py), FOLDER/untuned and FOLDER/tuned (`jointtuner sample`) and
FOLDER/scores.csv (world.measure); writes FOLDER/sheet.png and FOLDER/index.html, which needs nothing but the folder.
"""

import argparse
import csv
import html
import json
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from world.whole_files import write

ZOOM, GAP, MARGIN = 3, 4, 22
BACKGROUND, INK = (250, 250, 248), (40, 40, 40)
SCORES = ("appearance", "motion", "contamination", "text", "joint")


def frames(path):
    """[F,H,W,3] uint8 of a clip or a picture."""
    if path.suffix == ".png":
        return np.asarray(Image.open(path).convert("RGB"))[None]
    with av.open(str(path)) as file:
        return np.stack([f.to_ndarray(format="rgb24") for f in file.decode(video=0)])


def strip(clip):
    """All frames of a clip beside each other, enlarged without smoothing."""
    big = clip.repeat(ZOOM, 1).repeat(ZOOM, 2)
    gap = np.full((big.shape[1], GAP, 3), BACKGROUND, np.uint8)
    return np.concatenate([x for f in big for x in (f, gap)][:-1], 1)


def sheet(rows):
    """rows: (label, clip) or (heading, None)."""
    font = ImageFont.load_default(size=13)
    strips = [(label, None if clip is None else Image.fromarray(strip(clip))) for label, clip in rows]
    width = 2 * MARGIN + max(max(s.width for _, s in strips if s), 560)
    height = MARGIN + sum(18 + (s.height + 10 if s else 8) for _, s in strips)
    image = Image.new("RGB", (width, height), BACKGROUND)
    pen, y = ImageDraw.Draw(image), MARGIN // 2
    for label, s in strips:
        pen.text((MARGIN, y), label, INK, font=font, stroke_width=0 if s else 0.3)
        y += 18
        if s:
            image.paste(s, (MARGIN, y))
            y += s.height + 10
        else:
            y += 8
    return image


def samples(folder):
    """prompt -> first video of that prompt, and all videos in order."""
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    return [(line["prompt"], line["seed"], folder / line["file"]) for line in lines]


def scores(folder):
    """mean scores by side, "untuned" or "tuned"."""
    with (folder / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for side in ("untuned", "tuned"):
        mine = [r for r in rows if Path(r["video"]).parent.name == side]
        found[side] = {s: float(np.mean([float(r[s]) for r in mine])) for s in SCORES}
    return found


STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:66rem;padding:0 1rem;color:#282828;
background:#fafaf8}
video,.pixels{image-rendering:pixelated;width:128px;height:128px;display:block}
figure{display:inline-block;margin:0 .6rem .8rem 0}
figcaption{font-size:.8rem;max-width:128px;color:#555}
table{border-collapse:collapse}td,th{padding:.2rem .9rem .2rem 0;text-align:right}
td:first-child,th:first-child{text-align:left}
h2{margin-bottom:.4rem}
.sheet{image-rendering:pixelated;max-width:100%}"""


def figure(path, folder, caption):
    source = html.escape(str(path.relative_to(folder)))
    tag = (
        f'<img class="pixels" src="{source}" alt="">'
        if path.suffix == ".png"
        else f'<video src="{source}" autoplay loop muted playsinline controls></video>'
    )
    return f"<figure>{tag}<figcaption>{html.escape(caption)}</figcaption></figure>"


def page(folder, references, sides, found):
    head = "".join(f"<th>{s}</th>" for s in SCORES)
    table = "".join(
        f"<tr><td>{name}</td>" + "".join(f"<td>{found[side][s]:.2f}</td>" for s in SCORES) + "</tr>"
        for name, side in (("un-tuned", "untuned"), ("tuned", "tuned"))
    )

    def part(title, text, items):
        return f"<h2>{title}</h2><p>{text}</p>" + "".join(figure(p, folder, c) for p, c in items)

    clips = part(
        "Clips of the motion",
        "How it should dance. Whose clips they are, and where they play, should not show in the result.",
        references["videos"],
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>jointtuner demo</title><style>{STYLE}</style>
<h1>One subject, one motion, one joint run</h1>
<p>The backbone has never seen this toy nor this dance. It was tuned on the four pictures and the four clips below, and
then asked for the toy, dancing, on backgrounds that no reference shows.</p>
{part("Pictures of the subject", "What the toy looks like.", references["images"])}
{clips}
{part("Un-tuned", "What the frozen backbone makes of the prompts.", sides["untuned"])}
{part("Tuned", "The same prompts and seeds with the adapter.", sides["tuned"])}
<h2>Measured</h2><p>Every sprite here is known exactly, so these are measurements: 1 is perfect, for contamination 0
is.</p>
<table><tr><th></th>{head}</tr>{table}</table>
<h2>Frame by frame</h2><img class="sheet" src="sheet.png" alt="contact sheet"></html>
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    references = {
        kind: [
            (p, p.with_suffix(".txt").read_text().strip()) for p in sorted((folder / "references" / kind).glob(pattern))
        ]
        for kind, pattern in (("images", "*.png"), ("videos", "*.mp4"))
    }
    sides = {
        side: [(path, f"{prompt}, seed {seed}") for prompt, seed, path in samples(folder / side)]
        for side in ("untuned", "tuned")
    }
    rows = [
        ("PICTURES OF THE SUBJECT", None),
        ("", np.concatenate([frames(p) for p, _ in references["images"]])),
        ("CLIPS OF THE MOTION", None),
    ]
    rows += [(caption, frames(p)) for p, caption in references["videos"]]
    for (path, caption), (tuned, _) in zip(sides["untuned"], sides["tuned"]):
        rows += [(f"UN-TUNED: {caption}", frames(path)), (f"TUNED: {caption}", frames(tuned))]
    sheet(rows).save(folder / "sheet.new.png")
    (folder / "sheet.new.png").replace(folder / "sheet.png")
    write(folder / "index.html", page(folder, references, sides, scores(folder)))


if __name__ == "__main__":
    main()
