"""Runs every pair of bench/README.md and prints a table of ratios. usage: run.py WORK_DIR NATIVE JOINTTUNER [--rounds N] [--only NAME]

WORK_DIR holds mid_pipeline and mid_bundle (bench/run.sh makes them). Workers of both sides live at the same time and take turns
(A B A B ...), so that a slow spell of the machine hits both; the figures are medians, the ratios are medians of the pairs'.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

here = pathlib.Path(__file__).parent
parser = argparse.ArgumentParser()
parser.add_argument("work", type=pathlib.Path)
parser.add_argument("native")
parser.add_argument("jointtuner")
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--only", default="")
arguments = parser.parse_args()
work = arguments.work
os.environ.update(OMP_NUM_THREADS="2", OMP_WAIT_POLICY="passive", HF_HUB_OFFLINE="1")
pipeline, bundle = str(work / "mid_pipeline"), str(work / "mid_bundle")
video = str(here.parent / "examples" / "videos")


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


def training_runs():
    if arguments.only and arguments.only not in "start-up memory":
        return
    config = {"run": {"output": str(work / "runs"), "name": "bench", "seed": 0, "device": "cpu", "threads": 2},
              "backbone": {"bundle": bundle},
              "data": {"videos": [{"path": video}], "height": 256, "width": 256,
                       "frames": 8, "fps": 8, "cache": str(work / "cache")},
              "adapter": {"rank": 32, "dropout": 0.1, "gate_pooling": "batch"},
              "train": {"steps": 3, "checkpoint_every": 0}}
    (work / "bench.json").write_text(json.dumps(config))
    ours, theirs = [arguments.jointtuner, "train", "--config", str(work / "bench.json")], \
        [sys.executable, str(here / "eager.py"), "run", pipeline, "3"]
    rounds = []
    for round_ in range(4):
        shutil.rmtree(work / "runs", ignore_errors=True)
        pair_ = whole_run(ours, work / "native.log"), whole_run(theirs, work / "eager.log")
        if round_ > 0:  # the first fills the caches
            rounds.append(pair_)
    row("start to ready for the first step, caches warm", [(a[0], b[0]) for a, b in rounds], "s", "at most 0.20x")
    row("peak memory of a training run, checkpointed", [(a[1], b[1]) for a, b in rounds], "MB", "at most 0.60x")


print(f"{'':46} {'jointtuner':>10} {'Python':>10}      ratio   wanted")
native, eager = arguments.native, [sys.executable, str(here / "eager.py")]
pair("training step (UNet3D mid)", [native, "train", bundle], [*eager, "train", pipeline], "at most 1.00x, aim 0.80x")
pair("training step, checkpointed", [native, "train-checkpointed", bundle], [*eager, "train-checkpointed", pipeline], "")
pair("sampling, a denoiser call with guidance", [native, "sample", bundle], [*eager, "sample", pipeline], "at most 1.00x")
pair("training step / frozen forward + backward", [native, "train", bundle], [native, "frozen", bundle], "both columns jointtuner")
clip = next(iter(sorted(pathlib.Path(video).glob("*.mp4"))), None)
pair("clip decoding + resize", [native, "decode", str(clip)], [*eager, "decode", "-", str(clip)], "below 1.00x")
training_runs()
