#!/usr/bin/env python
"""Full-size backbones on a GPU: what `jointtuner check` forecasts beside what training and sampling take, in memory
and time.

    full_size.py WORK JOINTTUNER [zeroscope|cogvideox_2b|cogvideox_5b ...] [--steps N] [--setting PATH=VALUE ...]

    bench/full_size.py /scratch/full_size build/jointtuner cogvideox_5b --steps 12

WORK takes the bundles, made once from the skeletons beside JOINTTUNER (tests/goldens/bundles, completed by the build)
with random weights (3, 13 and 20 GB), and the runs. Needs a CUDA device and Python's torch. Peak: the largest sum of
tensors of a training step (metrics.jsonl). GPU: the largest use that nvidia-smi showed for the process, four looks a
second, so with the context, the libraries' memory and what the allocator keeps."""

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
PROMPT = "a cat looking at the camera"
# frames per second at which the example clips are long enough for the published number of frames
EXTRA = {"zeroscope": [], "cogvideox_2b": ["data.fps=24"], "cogvideox_5b": ["data.fps=24"]}


def fill(tensor_name, shape, dtype):
    """Random weights that keep activations near 1: a fan-in scaled normal, ones for norms, zeros for biases."""
    import torch

    if len(shape) < 2:
        return torch.full(shape, 1.0 if tensor_name.endswith("weight") else 0.0, dtype=dtype)
    fan_in = max(1, shape.numel() // shape[0])
    return torch.randn(shape, dtype=dtype, device="cuda").mul_(0.5 * fan_in**-0.5).cpu()


def make_bundle(skeleton, bundle):
    import torch

    partial = bundle.with_suffix(".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(skeleton, partial)
    document = json.loads((partial / "skeleton.json").read_text(encoding="utf-8"))
    (partial / "skeleton.json").unlink()
    torch.manual_seed(0)
    for path in sorted(partial.glob("*.pt")):
        model = torch.jit.load(path, map_location="cpu")
        for name, parameter in model.named_parameters():
            parameter.data = fill(name, parameter.shape, parameter.dtype)
        torch.jit.save(model, path)
        del model
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        document["files"][path.name] = {"sha256": digest, "bytes": path.stat().st_size}
    document["source"]["name"] = document["source"]["name"].replace("skeleton", "random weights")
    (partial / "bundle.json").write_text(json.dumps(document), encoding="utf-8")
    partial.rename(bundle)


def used_mib():
    """What nvidia-smi shows in use on the first GPU, in MiB."""
    answer = subprocess.run(
        ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", "0"],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(answer.stdout)


def run_watched(command, log):
    """Runs it to its end: (seconds, largest use of the GPU in bytes, less what was in use before)."""
    before, largest, done = used_mib(), [0], threading.Event()

    def watch():
        while not done.is_set():
            largest[0] = max(largest[0], used_mib())
            done.wait(0.25)

    began = time.monotonic()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with log.open("w") as file:
            subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=True, cwd=SOURCE)
    except subprocess.CalledProcessError as error:
        sys.exit(f"full_size: {' '.join(map(str, command))}: exit code {error.returncode}\n" + log.read_text()[-2000:])
    finally:
        done.set()
        watcher.join()
    return time.monotonic() - began, (largest[0] - before) * 2**20


def forecast(program, options):
    """({stage: (peak, needs)}, context) in bytes, from check's report, which comes with and without problems."""
    answer = subprocess.run([program, "check", *options, "--json"], capture_output=True, text=True, cwd=SOURCE)
    memory = json.loads(answer.stdout).get("memory") if answer.stdout else None
    if not memory:
        sys.exit(f"full_size: no forecast: {answer.stderr[-2000:]}")
    stages = {stage["name"]: (stage["peak"], stage["needs"]) for stage in memory["stages"]}
    return stages, memory["allowances"]["context"]


def gib(number):
    return f"{number / 2**30:.2f}"


def report(name, program, work, steps, settings):
    bundle = work / name
    if not bundle.exists():
        make_bundle(program.parent / "bundles/skeletons" / name, bundle)
    for old in (work / "runs" / name, work / f"{name}_videos"):
        shutil.rmtree(old, ignore_errors=True)
    changes = [
        f"backbone.bundle={bundle}",
        f"run.output={work / 'runs'}",
        f"run.name={name}",
        f"train.steps={steps}",
        f"data.cache={work / 'cache'}",
        'data.images=[{"path":"examples/images"}]',
        'data.videos=[{"path":"examples/videos"}]',
        *EXTRA[name],
        *settings,
    ]
    options = ["--config", f"configs/{name}_joint.json", *(word for change in changes for word in ("--set", change))]
    expected = forecast(program, options)
    _, used = run_watched([program, "train", *options, "--device", "cuda"], work / f"{name}.train.log")
    lines = [json.loads(line) for line in (work / "runs" / name / "metrics.jsonl").read_text().splitlines()]
    peak = max(line["peak_memory_bytes"] for line in lines)
    step = statistics.mean(line["seconds"] for line in lines[2:])  # the first two, a picture and a clip, warm up
    print_row(
        f"{name}, train", expected, ("encode text", "encode latents", "train"), gib(peak), used, f"{step:.2f} s a step"
    )
    seconds, used = run_watched(
        [
            program,
            "sample",
            "--run",
            work / "runs" / name,
            "--prompt",
            PROMPT,
            "--steps",
            "10",
            "--output",
            work / f"{name}_videos",
            "--device",
            "cuda",
        ],
        work / f"{name}.sample.log",
    )
    print_row(
        f"{name}, sample", expected, ("encode text", "preview", "decode"), "-", used, f"{seconds:.0f} s with 10 steps"
    )


def print_row(work, expected, stages, peak, used, took):
    """The forecast is the largest of the stages'; that of the whole GPU adds the context."""
    forecasts, context = expected
    known = [forecasts[stage] for stage in stages]
    forecast_peak, forecast_use = max(row[0] for row in known), max(row[1] for row in known) + context
    print(f"| {work} | {gib(forecast_peak)} | {peak} | {gib(forecast_use)} | {gib(used)} | {took} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("program", type=Path, metavar="JOINTTUNER")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--setting", action="append", default=[])
    arguments = parser.parse_args()
    names = arguments.names or list(EXTRA)
    if unknown := [name for name in names if name not in EXTRA]:
        parser.error(f"unknown {unknown}; known: {list(EXTRA)}")
    arguments.work.mkdir(parents=True, exist_ok=True)
    print(
        "| work | peak forecast, GiB | measured | GPU forecast | measured | time |\n|---|---|---|---|---|---|",
        flush=True,
    )
    for name in names:
        report(name, arguments.program.resolve(), arguments.work.resolve(), arguments.steps, arguments.setting)


if __name__ == "__main__":
    main()
