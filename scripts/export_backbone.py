#!/usr/bin/env python
"""Exports a local diffusers text-to-video folder (UNet3D, AutoencoderKL, CLIP text model) to a jointtuner bundle.

    export_backbone.py ~/models/zeroscope_v2_576w bundles/zeroscope --dtype fp16
    export_backbone.py ~/models/text-to-video-ms-1.7b bundles/modelscope --dtype bf16 --frames 16 --height 256 --width 256

Nothing is downloaded. The bundle appears under its name only when every part was written and checked.
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
    parser.add_argument("--dtype", choices=("fp32", "fp16", "bf16"), default="fp32", help="dtype of the three models' weights, inputs and outputs (default fp32)")
    parser.add_argument("--height", type=int, help="preferred height in pixels (default: the UNet's sample_size, else 384)")
    parser.add_argument("--width", type=int, help="preferred width in pixels (default: the height)")
    parser.add_argument("--frames", type=int, default=16, help="preferred number of frames (default 16)")
    parser.add_argument("--fps", type=int, default=8, help="preferred frame rate (default 8)")
    return parser.parse_args(argv)


def preferred_size(arguments, parts):
    from export.wrappers import spatial_compression
    compression = spatial_compression(parts.vae)
    sample = parts.unet.config.sample_size
    sample = (sample, sample) if isinstance(sample, int) else (sample or (None, None))
    height = arguments.height or (sample[0] * compression if sample[0] else 384)
    width = arguments.width or arguments.height or (sample[1] * compression if sample[1] else 384)
    for name, value in (("height", height), ("width", width)):
        if value <= 0 or value % compression:
            raise ExportError(f"--{name} {value}: expected a positive multiple of {compression}, the autoencoder's compression")
    if arguments.frames < 1 or arguments.fps < 1:
        raise ExportError(f"--frames {arguments.frames} --fps {arguments.fps}: expected at least 1")
    return {"height": height, "width": width, "frames": arguments.frames, "fps": arguments.fps}


def quiet_libraries():
    """The exporter's own progress lines say what happens; the libraries' bars and advice would hide them."""
    import diffusers
    import transformers
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()


def write_bundle(arguments, folder, progress):
    """Everything of the bundle into `folder`, self-checks included; bundle.json last."""
    import torch
    from export import manifest, selfcheck, tokenizer_files, torchscript_file, wrappers
    from export.diffusers_folder import load_parts
    quiet_libraries()
    dtype = getattr(torch, manifest.DTYPES[arguments.dtype])
    parts = load_parts(arguments.source, dtype, progress)
    text = tokenizer_files.write_tokenizer(parts.tokenizer_folder, folder / "tokenizer", parts.text_encoder)
    document = manifest.bundle_manifest(parts, arguments.source.resolve().name, arguments.dtype, preferred_size(arguments, parts), text)
    if text["embedding_width"] != parts.unet.config.cross_attention_dim:
        raise ExportError(f"the text encoder is {text['embedding_width']} wide and the UNet expects {parts.unet.config.cross_attention_dim}: the parts belong to different models")
    for name, trace in (("denoiser", lambda: wrappers.trace_denoiser(parts.unet, dtype)),
                        ("autoencoder", lambda: wrappers.trace_autoencoder(parts.vae, dtype)),
                        ("text_encoder", lambda: wrappers.trace_text_encoder(parts.text_encoder))):
        progress(f"tracing {name}")
        eager, traced = trace()
        path = folder / f"{name}.pt"
        torchscript_file.save(traced, path)
        del traced
        progress(f"checking {name} ({path.stat().st_size / 1e6:.1f} MB)")
        selfcheck.check(name, path, eager, dtype, document, progress)
    for name in ("denoiser.pt", "autoencoder.pt", "text_encoder.pt", "tokenizer/vocab.json", "tokenizer/merges.txt"):
        document["files"][name] = manifest.file_entry(folder / name)
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
