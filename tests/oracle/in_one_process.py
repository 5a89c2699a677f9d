"""Runs Python commands one after the other in one process, because importing diffusers takes longer than any of them.

    python -m tests.oracle.in_one_process <<'END'
    tests.oracle.sample DIFFUSERS_DIR --prompt "a dog" --frames 9 --height 32 --width 48 --output OUT.safetensors
    tests.oracle.compare sampling LATENTS OUT.safetensors
    END

A line is a module and its arguments, quoted as in a shell. The first that fails ends it with its exit code.
"""

import runpy
import shlex
import sys


def main():
    for line in sys.stdin.read().splitlines():
        words = shlex.split(line)
        if not words:
            continue
        sys.argv = words
        try:
            runpy.run_module(words[0], run_name="__main__")
        except SystemExit as end:
            if end.code not in (None, 0):
                print(f"failed: {line}", file=sys.stderr)
                raise


if __name__ == "__main__":
    main()
