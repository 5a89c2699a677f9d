"""Writes a published adapter list with weights that matter (up is not zero), for tests of import and sampling.

python -m tests.oracle.random_adapter DIFFUSERS_DIR OUT.pt [--rank 4] [--seed 7] [--up 0.05] [--plain]
"""

import argparse
from pathlib import Path

import torch

from . import glora
from .families import open_pipeline
from .named_random import generator, normal


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--up", type=float, default=0.05, help="standard deviation of lora_up")
    parser.add_argument("--plain", action="store_true", help="plain LoRA: pairs (up, down) without gates")
    arguments = parser.parse_args()
    adapters = glora.inject(open_pipeline(arguments.pipeline), arguments.rank, not arguments.plain)
    glora.initialize(adapters, arguments.seed)
    with torch.no_grad():
        for a in adapters:
            a.lora_up.copy_(normal(a.lora_up.shape, generator(arguments.seed, 0, f"up/{a.path}")) * arguments.up)
    torch.save(glora.published_list(adapters), arguments.output)


if __name__ == "__main__":
    main()
