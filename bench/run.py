"""Runs every pair of bench/README.md and prints a table of ratios for each family.

usage: run.py WORK_DIR NATIVE JOINTTUNER [--family unet3d|cogvideox] [--rounds N] [--only WORD]
       run.py --pipelines [--family unet3d|cogvideox]       which pipelines of tests.pipelines.tiny these families need

WORK_DIR holds NAME_pipeline and NAME_bundle of each (bench/run.sh makes them). Workers of both sides live at the same
time and take turns (A B A B ...), so that a slow spell of the machine hits both; the figures are medians, the ratios
are medians of the pairs'."""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

# pipeline; frames, height and width of the clip
FAMILIES = {"unet3d": ("mid", 8, 256, 256), "cogvideox": ("mid_cog", 9, 128, 192)}

here = pathlib.Path(__file__).parent
parser = argparse.ArgumentParser()
parser.add_argument("work", type=pathlib.Path, nargs="?")
parser.add_argument("native", nargs="?")
parser.add_argument("jointtuner", nargs="?")
parser.add_argument("--family", choices=list(FAMILIES), action="append")
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--only", default="")
parser.add_argument("--pipelines", action="store_true")
arguments = parser.parse_args()
families = arguments.family or list(FAMILIES)
if arguments.pipelines:
    print("\n".join(FAMILIES[name][0] for name in families))
    sys.exit()
work = arguments.work
os.environ.update(OMP_NUM_THREADS="2", OMP_WAIT_POLICY="passive", HF_HUB_OFFLINE="1")
video = str(here.parent / "examples" / "videos")
native, eager = arguments.native, [sys.executable, str(here / "eager.py")]


class Worker:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer("ready")

    def answer(self, wanted=None):
        line = self.process.stdout.readline().strip()
        if not line or (wanted and line != wanted):
            sys.exit(f"bench: {self.process.args} said '{line}'")
        return line

    def unit(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self.answer())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def pair(name, ours, theirs, target):
    if arguments.only and arguments.only not in name:
        return
    a, b = Worker(ours), Worker(theirs)
    times = [(a.unit(), b.unit()) for _ in range(arguments.rounds)]
    a.close(), b.close()
    row(name, times, "s", target)


def row(name, pairs, unit, target):
    ours, theirs = (statistics.median(x) for x in zip(*pairs))
    ratio = statistics.median(a / b for a, b in pairs)
    digits = 4 if unit == "s" else 0
    print(f"{name:46} {ours:10.{digits}f} {theirs:10.{digits}f} {unit:3} {ratio:6.2f}x  {target}", flush=True)


def whole_run(command, log):
    """(seconds until the program is ready for its first step, peak resident MB of the whole process)"""
    began = time.perf_counter()
    with open(log, "w") as out:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        ready = None
        for line in process.stdout:
            out.write(line)
            if ready is None and ("ready" in line):
                ready = time.perf_counter() - began
        process.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0 or ready is None:
        sys.exit(f"bench: {command} failed; see {log}")
    return ready, usage.ru_maxrss / 1024


def training_runs(pipeline, bundle, frames, height, width):
    if arguments.only and arguments.only not in "start-up memory":
        return
    config = {
        "run": {"output": str(work / "runs"), "name": "bench", "seed": 0, "device": "cpu", "threads": 2},
        "backbone": {"bundle": bundle},
        "data": {
            "videos": [{"path": video}],
            "height": height,
            "width": width,
            "frames": frames,
            "fps": 8,
            "cache": str(work / "cache"),
        },
        "adapter": {"rank": 32, "dropout": 0.1, "gate_pooling": "batch"},
        "train": {"steps": 3, "checkpoint_every": 0},
    }
    (work / "bench.json").write_text(json.dumps(config))
    ours, theirs = (
        [arguments.jointtuner, "train", "--config", str(work / "bench.json")],
        [*eager, "run", pipeline, *size_words(frames, height, width)],
    )
    rounds = []
    for round_ in range(4):
        shutil.rmtree(work / "runs", ignore_errors=True)
        pair_ = whole_run(ours, work / "native.log"), whole_run(theirs, work / "eager.log")
        if round_ > 0:  # the first fills the caches
            rounds.append(pair_)
    row("start to ready for the first step, caches warm", [(a[0], b[0]) for a, b in rounds], "s", "at most 0.20x")
    row("peak memory of a training run, checkpointed", [(a[1], b[1]) for a, b in rounds], "MB", "at most 0.60x")


def size_words(*size):
    return [str(n) for n in size]


for name in families:
    mid, *size = FAMILIES[name]
    pipeline, bundle = str(work / f"{mid}_pipeline"), str(work / f"{mid}_bundle")
    ours, theirs = ([*side, *size_words(*size)] for side in ([bundle], [pipeline]))
    print(f"{name:46} {'jointtuner':>10} {'Python':>10}      ratio   wanted")
    pair("training step", [native, "train", *ours], [*eager, "train", *theirs], "at most 1.00x, aim 0.80x")
    pair(
        "training step, checkpointed",
        [native, "train-checkpointed", *ours],
        [*eager, "train-checkpointed", *theirs],
        "",
    )
    pair(
        "sampling, a denoiser call with guidance",
        [native, "sample", *ours],
        [*eager, "sample", *theirs],
        "at most 1.00x",
    )
    pair(
        "training step / frozen forward + backward",
        [native, "train", *ours],
        [native, "frozen", *ours],
        "both columns jointtuner",
    )
    training_runs(pipeline, bundle, *size)
print(f"{'any family':46} {'jointtuner':>10} {'Python':>10}      ratio   wanted")
clip = str(next(iter(sorted(pathlib.Path(video).glob("*.mp4")))))
pair("clip decoding + resize", [native, "decode", clip], [*eager, "decode", clip], "below 1.00x")
