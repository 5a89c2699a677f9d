"""Exports a local diffusers text-to-video folder, such as ZeroScope's or CogVideoX's, to a jointtuner bundle.

    scripts/export_backbone.sh ~/models/zeroscope_v2_576w bundles/zeroscope --dtype fp16
    scripts/export_backbone.sh ~/models/text-to-video-ms-1.7b bundles/modelscope --dtype bf16 --height 256 --width 256
    scripts/export_backbone.sh ~/models/CogVideoX-2b bundles/cogvideox-2b --dtype fp16 --text-dtype bf16

Nothing is downloaded. The bundle appears under its name only when every part was written and checked. Memory: the
weights of the largest part."""

import argparse
import signal
import sys
import time
from pathlib import Path

from .bundle import export
from .failure import ExportError


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="export_backbone", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="DIFFUSERS_DIR",
        help="local folder with model_index.json; safetensors or .bin, sharded or not",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder to make; must not exist")
    kinds = ("fp32", "fp16", "bf16")
    parser.add_argument(
        "--dtype",
        choices=kinds,
        default="fp32",
        help="dtype of the three models' weights, inputs and outputs (default fp32)",
    )
    parser.add_argument("--autoencoder-dtype", choices=kinds, help="of the autoencoder (default: --dtype)")
    parser.add_argument("--text-dtype", choices=kinds, help="of the text encoder (default: --dtype)")
    parser.add_argument("--height", type=int, help="preferred height in pixels (default: what the folder says)")
    parser.add_argument("--width", type=int, help="preferred width in pixels (default: what the folder says)")
    parser.add_argument(
        "--frames", type=int, help="preferred number of frames (default: what the folder says, else the family's)"
    )
    parser.add_argument("--fps", type=int, help="preferred frame rate (default: the family's)")
    parser.add_argument("--steps", type=int, help="preferred sampling steps (default: the family's)")
    parser.add_argument("--guidance", type=float, help="preferred guidance scale (default: the family's)")
    parser.add_argument(
        "--guidance-schedule",
        choices=("constant", "dynamic"),
        help="how the guidance goes over the steps (default: the family's)",
    )
    return parser.parse_args(argv)


def main(argv=None):
    arguments = parse(argv)
    started = time.monotonic()

    def progress(text):
        print(f"[{time.monotonic() - started:6.1f} s] {text}", file=sys.stderr, flush=True)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: the temporary folder goes
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
