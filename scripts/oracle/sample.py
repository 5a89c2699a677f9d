#!/usr/bin/env python
"""Samples one video with diffusers' DDIMScheduler, the real UNet and GLoRA in plain PyTorch.

    sample.py DIFFUSERS_DIR --prompt "a dog runs" --initial-latents START.safetensors --adapter LIST.pt --output OUT.safetensors

--adapter is a published list (torch.save) or an adapter.safetensors; --initial-latents holds `latents` [1,C,F,h,w], or --seed and --shape
draw them from generator(seed, 0, "latents"). OUT holds `latents` [1,C,F,h,w] and `frames` uint8 [F,H,W,3].
"""
import argparse
from pathlib import Path

import torch

import glora
from design_random import generator, normal
from pipeline import Pipeline


def load_adapter(path, unet, settings):
    """Rank and gating follow from the file."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file
        tensors = load_file(path)
        rank = next(t for name, t in tensors.items() if name.endswith("lora_down")).shape[0]
        gated = any(name.endswith("lora_gate") for name in tensors)
        glora.load_named(glora.inject(unet, rank, gated, settings), tensors)
    else:
        tensors = torch.load(path, weights_only=True)
        gated = len(tensors) == 3 * len(glora.site_paths(unet))
        glora.load_published_list(glora.inject(unet, tensors[0].shape[1], gated, settings), tensors)


@torch.no_grad()
def sample(pipeline, settings, latents, prompts, steps, guidance):
    """prompts: (negative, prompt). Both halves in one batch, the unconditional first, as the published pipeline runs them."""
    embeddings = torch.cat([pipeline.prompt_embedding(p) for p in prompts])
    settings.batch = 2
    pipeline.scheduler.set_timesteps(steps)
    latents = latents * pipeline.scheduler.init_noise_sigma
    for t in pipeline.scheduler.timesteps:
        both = pipeline.unet(torch.cat([latents] * 2), t, embeddings, return_dict=False)[0]
        unconditional, conditional = both.chunk(2)
        prediction = unconditional + guidance * (conditional - unconditional)
        latents = pipeline.scheduler.step(prediction, t, latents, eta=0.0, return_dict=False)[0]
    return latents


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--negative-prompt", default="")
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--initial-latents", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shape", type=int, nargs=3, metavar=("F", "h", "w"), help="latent size when the initial latents are drawn")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=12.0)
    parser.add_argument("--gate-pooling", choices=("sample", "batch"), default="sample")
    parser.add_argument("--adapter-scale", type=float, default=1.0)
    parser.add_argument("--spatial-scale", type=float, default=1.0)
    parser.add_argument("--temporal-scale", type=float, default=1.0)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    from safetensors.torch import load_file, save_file
    pipeline = Pipeline(arguments.pipeline)
    settings = glora.Settings(arguments.adapter_scale, {"spatial": arguments.spatial_scale, "temporal": arguments.temporal_scale}, arguments.gate_pooling)
    if arguments.adapter:
        load_adapter(arguments.adapter, pipeline.unet, settings)
    if arguments.initial_latents:
        start = load_file(arguments.initial_latents)["latents"].float()
    elif arguments.shape:
        start = normal((1, pipeline.unet.config.in_channels, *arguments.shape), generator(arguments.seed, 0, "latents"))
    else:
        parser.error("give --initial-latents, or --seed with --shape")
    latents = sample(pipeline, settings, start, (arguments.negative_prompt, arguments.prompt), arguments.steps, arguments.guidance)
    save_file({"latents": latents.contiguous(), "frames": pipeline.frames(latents)}, arguments.output)


if __name__ == "__main__":
    main()
