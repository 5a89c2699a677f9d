#!/usr/bin/env python
"""Runs Python commands one after the other in one process, because importing diffusers takes longer than any of them.

    in_one_process.py <<'END'
    sample.py DIFFUSERS_DIR --prompt "a dog" --frames 9 --height 32 --width 48 --output OUT.safetensors
    compare.py sampling LATENTS OUT.safetensors
    END

A line is a script, relative to this folder, and its arguments, quoted as in a shell. The first that fails ends it with its exit code.
"""
import runpy
import shlex
import sys
from pathlib import Path


def main():
    for line in sys.stdin.read().splitlines():
        words = shlex.split(line)
        if not words:
            continue
        sys.argv = words
        try:
            runpy.run_path(str(Path(__file__).parent / words[0]), run_name="__main__")
        except SystemExit as end:
            if end.code not in (None, 0):
                print(f"failed: {line}", file=sys.stderr)
                raise


if __name__ == "__main__":
    main()
