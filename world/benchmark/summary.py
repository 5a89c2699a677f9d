"""Tables and a plot of what world/benchmark.sh has measured.

    python -m world.benchmark.summary FOLDER

FOLDER is e.g. benchmark/unet3d, which holds pairs/SUBJECT_MOTION/METHOD/scores.csv.

Writes FOLDER/videos.csv (a line a video), summary.csv and summary.md (a line a method: means over pairs of the pairs'
means, with 95 % intervals from 10,000 bootstrap samples of the pairs) and summary.png. All pairs, the tuning half and
the test half are apart. Differences to `published` (joint GLoRA + AiT), and those of the last table, one setting at a
time, come from the pairs that both methods have, bootstrapped together."""

import argparse
import csv
import io
import sys
from pathlib import Path

import numpy as np

from world import sprites
from world.whole_files import write

SCORES = ("appearance", "motion", "contamination", "text", "validity", "joint")
BASELINE = "published"
HALVES = ("all", "tuning", "test")
# (what it changes, method with it, method without it)
CHANGES = (
    ("timestep shift for videos", "glora_ait_batch_gate", "published"),
    ("gate a sample, not a batch", "glora_ait", "glora_ait_batch_gate"),
    ("gates, with AiT", "glora_ait", "lora_ait"),
    ("gates, with diffusion", "glora_diffusion", "lora_diffusion"),
    ("AiT, with gates", "glora_ait", "glora_diffusion"),
    ("AiT, without gates", "lora_ait", "lora_diffusion"),
    ("AiT without its noise", "static_0", "glora_ait"),
    ("three tenths of the static part", "static_0.3", "static_0"),
    ("half of AiT's shift", "shift_0.5", "glora_ait"),
    ("twice AiT's shift", "shift_2", "glora_ait"),
    ("one joint run, not two", "lora_ait", "stages_ait"),
    ("small steps at a falling rate", "lora_diffusion_annealed", "lora_diffusion"),
    ("with them, timestep shift 2, not 4", "lora_diffusion_annealed_2", "lora_diffusion_annealed"),
)


def half_of(pair):
    """As world/benchmark.sh splits."""
    subject, motion = next(
        (s, m) for s in sprites.HELD_OUT_SUBJECTS for m in sprites.HELD_OUT_MOTIONS if pair == f"{s}_{m}"
    )
    odd = (list(sprites.HELD_OUT_SUBJECTS).index(subject) + sprites.HELD_OUT_MOTIONS.index(motion)) % 2
    return "test" if odd else "tuning"


def read(folder):
    """(lines of all videos, {method: {pair: [scores]}})."""
    lines, means = [], {}
    for path in sorted(folder.glob("pairs/*/*/scores.csv")):
        pair, method = path.parts[-3:-1]
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        lines += [
            dict(pair=pair, half=half_of(pair), method=method)
            | {k: v for k, v in row.items() if k not in ("video", "label")}
            for row in rows
        ]
        means.setdefault(method, {})[pair] = [float(np.mean([float(row[s]) for row in rows])) for s in SCORES]
    return lines, means


def bootstrap(values, g, count=10000):
    """values [pairs, ...]: mean and 95 % interval of the mean over resampled pairs."""
    values = np.asarray(values)
    samples = values[g.integers(0, len(values), (count, len(values)))].mean(1)
    return values.mean(0), np.percentile(samples, 2.5, 0), np.percentile(samples, 97.5, 0)


def summarize(means):
    rows = []
    for half in HALVES:
        chosen = {m: {p: v for p, v in pairs.items() if half in ("all", half_of(p))} for m, pairs in means.items()}
        for method, pairs in chosen.items():
            if not pairs:
                continue
            mean, low, high = bootstrap([pairs[p] for p in sorted(pairs)], np.random.default_rng(0))
            row = dict(half=half, method=method, pairs=len(pairs))
            for i, score in enumerate(SCORES):
                row |= {score: mean[i], f"{score}_low": low[i], f"{score}_high": high[i]}
            both = sorted(set(pairs) & set(chosen.get(BASELINE, {})))
            if both and method != BASELINE:
                d, dl, dh = bootstrap([pairs[p][-1] - chosen[BASELINE][p][-1] for p in both], np.random.default_rng(0))
                row |= dict(joint_gain=d, joint_gain_low=dl, joint_gain_high=dh)
            rows.append(row)
    return rows


def csv_text(rows):
    names = list(dict.fromkeys(k for r in rows for k in r))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in r.items()} for r in rows)
    return out.getvalue()


def markdown(rows):
    """Tables of all pairs and of each half."""
    shown = SCORES[:4] + SCORES[-1:]
    out = ""
    for half in HALVES:
        mine = [r for r in rows if r["half"] == half]
        if not mine:
            continue
        out += (
            f"{'all pairs' if half == 'all' else f'{half} half'}\n\n| method | pairs | {' | '.join(shown)} | joint, "
            f"gain on {BASELINE} |\n|---|---|" + "---|" * (len(shown) + 1) + "\n"
        )
        for r in sorted(mine, key=lambda r: -r["joint"]):
            cells = [f"{r[s]:.2f} [{r[f'{s}_low']:.2f}, {r[f'{s}_high']:.2f}]" for s in shown]
            gain = (
                f"{r['joint_gain']:+.3f} [{r['joint_gain_low']:+.3f}, {r['joint_gain_high']:+.3f}]"
                if "joint_gain" in r
                else ""
            )
            out += f"| {r['method']} | {r['pairs']} | {' | '.join(cells)} | {gain} |\n"
        out += "\n"
    return out


def markdown_of_changes(means):
    """What each change adds, over all pairs."""
    shown = ("appearance", "motion", "contamination", "joint")
    out = (
        f"what a change adds, all pairs\n\n| change | methods | pairs | {' | '.join(shown)} |\n|---|---|---|"
        + "---|" * len(shown)
        + "\n"
    )
    for what, one, other in CHANGES:
        both = sorted(set(means.get(one, {})) & set(means.get(other, {})))
        if both:
            mean, low, high = bootstrap(
                [np.subtract(means[one][p], means[other][p]) for p in both], np.random.default_rng(0)
            )
            cells = [f"{mean[i]:+.3f} [{low[i]:+.3f}, {high[i]:+.3f}]" for i in map(SCORES.index, shown)]
            out += f"| {what} | {one} - {other} | {len(both)} | {' | '.join(cells)} |\n"
    return out


def plot(rows, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = sorted((r for r in rows if r["half"] == "all"), key=lambda r: r["joint"])
    figure, axes = pyplot.subplots(1, 4, sharey=True, figsize=(12, 1.2 + 0.28 * len(rows)), layout="constrained")
    for axis, score in zip(axes, ("appearance", "motion", "contamination", "joint")):
        middle = np.array([r[score] for r in rows])
        error = np.array([[r[score] - r[f"{score}_low"] for r in rows], [r[f"{score}_high"] - r[score] for r in rows]])
        axis.errorbar(
            middle,
            range(len(rows)),
            xerr=np.maximum(error, 0),
            fmt="o",
            color="#2a6f97" if score != "contamination" else "#b5534a",
            capsize=2,
        )
        axis.set(title=score, xlim=(-0.02, 1.02), yticks=range(len(rows)), yticklabels=[r["method"] for r in rows])
        axis.grid(axis="x", alpha=0.3)
    new = path.with_name("summary.new.png")
    figure.savefig(new, dpi=110)
    new.replace(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    lines, means = read(folder)
    if not lines:
        sys.exit(f"benchmark: error: {folder}/pairs/*/*/scores.csv: nothing is measured yet; run world/benchmark.sh")
    rows = summarize(means)
    write(folder / "videos.csv", csv_text(lines))
    write(folder / "summary.csv", csv_text(rows))
    text = markdown(rows) + markdown_of_changes(means)
    write(folder / "summary.md", text)
    plot(rows, folder / "summary.png")
    print(text, end="")


if __name__ == "__main__":
    main()
