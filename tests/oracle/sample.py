"""Samples one video with the real diffusers pipeline and GLoRA in plain PyTorch, drawing what `jointtuner sample`
draws.

    python -m tests.oracle.sample DIFFUSERS_DIR --prompt "a dog runs" --frames 9 --height 32 --width 48
                                  --adapter LIST.pt --output OUT.safetensors

--adapter is a published list (torch.save) or an adapter.safetensors; --initial-latents holds `latents` [1,C,F,h,w],
otherwise they are drawn from generator(seed, 0, "latents"). OUT holds `latents` [1,C,F,h,w] and `frames` uint8
[N,H,W,3]. With --decode LATENTS nothing is sampled: only these latents are decoded."""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from . import glora
from .families import open_pipeline
from .named_random import generator, normal


def load_adapter(path, family, settings):
    """Rank and gating follow from the file."""
    if path.suffix == ".safetensors":
        tensors = load_file(path)
        rank = next(t for name, t in tensors.items() if name.endswith("lora_down")).shape[0]
        gated = any(name.endswith("lora_gate") for name in tensors)
        glora.load_named(glora.inject(family, rank, gated, settings), tensors)
    else:
        tensors = torch.load(path, weights_only=True)
        gated = len(tensors) == 3 * len(glora.site_paths(family))
        glora.load_published_list(glora.inject(family, tensors[0].shape[1], gated, settings), tensors)


def sampled(family, arguments):
    settings = glora.Settings(
        arguments.adapter_scale,
        {"spatial": arguments.spatial_scale, "temporal": arguments.temporal_scale},
        arguments.gate_pooling,
    )
    settings.batch = 2 if arguments.guidance > 1 else 1  # the unconditional half first, as the pipelines run them
    if arguments.adapter:
        load_adapter(arguments.adapter, family, settings)
    size = (arguments.frames, arguments.height, arguments.width)
    if arguments.initial_latents:
        start = load_file(arguments.initial_latents)["latents"].float()
    else:
        start = normal(family.latents_shape(size), generator(arguments.seed, 0, "latents"))
    options = {"use_dynamic_cfg": True} if arguments.guidance_schedule == "dynamic" else {}
    return family.sample(
        start,
        size,
        (arguments.negative_prompt, arguments.prompt),
        arguments.sampler,
        arguments.seed,
        num_inference_steps=arguments.steps,
        guidance_scale=arguments.guidance,
        **options,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("--prompt", default="")
    parser.add_argument("--negative-prompt", default="")
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--initial-latents", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--height", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--sampler", default="ddim")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=12.0)
    parser.add_argument("--guidance-schedule", choices=("constant", "dynamic"), default="constant")
    parser.add_argument("--gate-pooling", choices=("sample", "batch"), default="sample")
    parser.add_argument("--adapter-scale", type=float, default=1.0)
    parser.add_argument("--spatial-scale", type=float, default=1.0)
    parser.add_argument("--temporal-scale", type=float, default=1.0)
    parser.add_argument("--decode", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    if not arguments.decode and None in (arguments.frames, arguments.height, arguments.width):
        parser.error("give --frames, --height and --width, or --decode")
    family = open_pipeline(arguments.pipeline)
    latents = load_file(arguments.decode)["latents"].float() if arguments.decode else sampled(family, arguments)
    save_file({"latents": latents.contiguous(), "frames": family.frames(latents)}, arguments.output)


if __name__ == "__main__":
    main()
