#!/usr/bin/env python
"""Exports a local diffusers text-to-video folder (ZeroScope, ModelScope; CogVideoX 2B, 5B, 1.5) to a jointtuner bundle.

    export_backbone.py ~/models/zeroscope_v2_576w bundles/zeroscope --dtype fp16
    export_backbone.py ~/models/text-to-video-ms-1.7b bundles/modelscope --dtype bf16 --frames 16 --height 256 --width 256
    export_backbone.py ~/models/CogVideoX-2b bundles/cogvideox-2b --dtype fp16 --text-dtype bf16

Nothing is downloaded. The bundle appears under its name only when every part was written and checked. Memory: the weights of the largest part.
"""
import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
warnings.simplefilter("ignore")

from export.failure import ExportError, one_line  # noqa: E402


def parse(argv):
    parser = argparse.ArgumentParser(prog="export_backbone", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="DIFFUSERS_DIR", help="local folder with model_index.json; safetensors or .bin, sharded or not")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder to make; must not exist")
    kinds = ("fp32", "fp16", "bf16")
    parser.add_argument("--dtype", choices=kinds, default="fp32", help="dtype of the three models' weights, inputs and outputs (default fp32)")
    parser.add_argument("--autoencoder-dtype", choices=kinds, help="of the autoencoder (default: --dtype)")
    parser.add_argument("--text-dtype", choices=kinds, help="of the text encoder (default: --dtype)")
    parser.add_argument("--height", type=int, help="preferred height in pixels (default: what the folder says)")
    parser.add_argument("--width", type=int, help="preferred width in pixels (default: what the folder says)")
    parser.add_argument("--frames", type=int, help="preferred number of frames (default: what the folder says, for UNet3D 16)")
    parser.add_argument("--fps", type=int, help="preferred frame rate (default 8, for CogVideoX 1.5 16)")
    parser.add_argument("--steps", type=int, help="preferred sampling steps (default 30, for CogVideoX 50)")
    parser.add_argument("--guidance", type=float, help="preferred guidance scale (default 12, for CogVideoX 6)")
    parser.add_argument("--guidance-schedule", choices=("constant", "dynamic"), help="default: constant; dynamic with CogVideoX's DPM scheduler")
    return parser.parse_args(argv)


def preferred(arguments, family, scheduler):
    """What the folder says, and the command line over it. One side alone makes a square."""
    found = family.preferred(scheduler)
    if arguments.height or arguments.width:
        found.update(height=arguments.height or arguments.width, width=arguments.width or arguments.height)
    found.update({name: getattr(arguments, name) for name in ("frames", "fps", "steps", "guidance", "guidance_schedule") if getattr(arguments, name) is not None})
    for name in ("frames", "fps", "steps", "guidance"):
        if found[name] < 1:
            raise ExportError(f"--{name} {found[name]}: expected at least 1")
    family.check_size(found["height"], found["width"], found["frames"])
    return found


def quiet_libraries():
    """The exporter's own progress lines say what happens; the libraries' bars and advice would hide them."""
    import diffusers
    import transformers
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()


def write_bundle(arguments, folder, progress):
    """Everything of the bundle into `folder`, self-checks included; bundle.json last. One part's weights are in memory at a time."""
    import torch
    from export import manifest, selfcheck
    from export.adapter_sites import manifest_rules
    from export.diffusers_folder import load_model, load_scheduler
    from export.families import open_folder
    from export.family import ROLES
    quiet_libraries()
    family, pipeline_class = open_folder(arguments.source)
    scheduler = load_scheduler(arguments.source)
    dtypes = {"denoiser": arguments.dtype, "autoencoder": arguments.autoencoder_dtype or arguments.dtype, "text_encoder": arguments.text_dtype or arguments.dtype}
    document = manifest.bundle_manifest(family, pipeline_class, arguments.source.resolve().name, scheduler, family.text(folder / "tokenizer"),
                                        preferred(arguments, family, type(scheduler).__name__), dtypes)
    for role in ROLES:
        dtype = getattr(torch, manifest.DTYPES[dtypes[role]])
        progress(f"loading {role} as {manifest.DTYPES[dtypes[role]]}")
        part = family.part(role, load_model(family, role, dtype), dtype)
        if part.sites:
            document["denoiser"]["adapter_rules"] = manifest_rules(part.sites, family.adapter_rules)
        selfcheck.write_checked(role, part, folder / f"{role}.pt", dtype, progress)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        document["files"][str(path.relative_to(folder))] = manifest.file_entry(path)
    (folder / "bundle.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def flush(folder):
    """Data on disk before the folder gets its name."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def export(arguments, progress):
    """Writes to a temporary folder beside the target and renames it: a failure leaves nothing behind."""
    target = arguments.bundle
    if target.exists() or target.is_symlink():
        raise ExportError(f"{target} exists already: remove it or give another name")
    if not target.parent.is_dir():
        raise ExportError(f"{target.parent} is not a folder: make it first")
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
        temporary.chmod(0o755)
        write_bundle(arguments, temporary, progress)
        flush(temporary)
        temporary.rename(target)
        temporary = None
    except OSError as error:
        raise ExportError(f"{error.filename or target}: {error.strerror or one_line(error)}: nothing was written to {target}") from error
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)


def main(argv=None):
    arguments = parse(argv)
    started = time.monotonic()

    def progress(text):
        print(f"[{time.monotonic() - started:6.1f} s] {text}", file=sys.stderr, flush=True)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))   # as Ctrl-C: the temporary folder goes
    progress("starting")
    try:
        export(arguments, progress)
    except ExportError as error:
        print(f"export_backbone: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"export_backbone: interrupted; {arguments.bundle} was not written", file=sys.stderr)
        return 130
    progress("done")
    print(arguments.bundle)
    return 0


if __name__ == "__main__":
    sys.exit(main())
