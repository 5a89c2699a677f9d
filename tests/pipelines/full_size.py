"""A diffusers folder with the real shapes of ZeroScope or CogVideoX and random weights: for measuring memory and time,
never for pictures.

    python -m tests.pipelines.full_size OUTPUT zeroscope|cogvideox_2b|cogvideox_5b [--dtype bf16] [--text small]

Writes the folder OUTPUT (new), which the exporter takes like a downloaded one. No model is ever built: shapes come from
the meta device, weights are drawn and written shard by shard, so that memory holds one shard (1 GB) whatever the
model's size.

What is not real besides the weights: the tokenizer, which knows only the words of tokenizers.py (the text encoder has
its full vocabulary), and with --text small the text encoder, two layers of the right width instead of 24: T5-XXL takes
9.5 GB in bf16."""

import argparse
import json
import os
import sys
import warnings
import zlib
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.simplefilter("ignore")
from tests.pipelines.tiny import COG_BETAS_2B, COG_BETAS_5B, SCALED_LINEAR, write_index  # noqa: E402
from tests.pipelines.tokenizers import write_t5_tokenizer, write_tokenizer  # noqa: E402

SHARD_BYTES = 1_000_000_000
COG_VAE = dict(
    down_block_types=("CogVideoXDownBlock3D",) * 4,
    up_block_types=("CogVideoXUpBlock3D",) * 4,
    block_out_channels=(128, 256, 256, 512),
    latent_channels=16,
    layers_per_block=3,
)
T5_XXL = dict(
    vocab_size=32128,
    d_model=4096,
    d_kv=64,
    d_ff=10240,
    num_layers=24,
    num_heads=64,
    feed_forward_proj="gated-gelu",
    is_encoder_decoder=False,
    use_cache=False,
    tie_word_embeddings=False,
)
COG_2B = dict(num_attention_heads=30, num_layers=30, sample_height=60, sample_width=90, sample_frames=49)
# name -> part -> (library, class, config); the numbers are those of the published config.json files
PIPELINES = {
    "zeroscope": dict(
        unet=(
            "diffusers",
            "UNet3DConditionModel",
            dict(sample_size=72, cross_attention_dim=1024, attention_head_dim=64),
        ),
        vae=(
            "diffusers",
            "AutoencoderKL",
            dict(
                block_out_channels=(128, 256, 512, 512),
                layers_per_block=2,
                latent_channels=4,
                sample_size=512,
                scaling_factor=0.18215,
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
            ),
        ),
        text_encoder=(
            "transformers",
            "CLIPTextModel",
            dict(
                vocab_size=49408,
                hidden_size=1024,
                intermediate_size=4096,
                num_hidden_layers=23,
                num_attention_heads=16,
                hidden_act="gelu",
                max_position_embeddings=77,
                projection_dim=512,
            ),
        ),
        scheduler=("DDIMScheduler", SCALED_LINEAR),
    ),
    "cogvideox_2b": dict(
        transformer=("diffusers", "CogVideoXTransformer3DModel", COG_2B),
        vae=("diffusers", "AutoencoderKLCogVideoX", dict(COG_VAE, scaling_factor=1.15258426)),
        text_encoder=("transformers", "T5EncoderModel", T5_XXL),
        scheduler=("CogVideoXDDIMScheduler", COG_BETAS_2B),
    ),
    "cogvideox_5b": dict(
        transformer=(
            "diffusers",
            "CogVideoXTransformer3DModel",
            dict(COG_2B, num_attention_heads=48, num_layers=42, use_rotary_positional_embeddings=True),
        ),
        vae=("diffusers", "AutoencoderKLCogVideoX", dict(COG_VAE, scaling_factor=0.7)),
        text_encoder=("transformers", "T5EncoderModel", T5_XXL),
        scheduler=("CogVideoXDPMScheduler", COG_BETAS_5B),
    ),
}
SMALL_TEXT = dict(num_layers=2, num_hidden_layers=2, d_ff=256, intermediate_size=256)


def shapes_of(library, name, config):
    """(config object, {weight name: shape}) of a model that exists on the meta device only. Tied weights count once, as
    in saved files."""
    import importlib

    import torch

    model_class = getattr(importlib.import_module(library), name)
    with torch.device("meta"):
        model = model_class(**config) if library == "diffusers" else model_class(model_class.config_class(**config))
    known, shapes = set(), {}
    for key, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in known:
            known.add(id(tensor))
            shapes[key] = tuple(tensor.shape)
    return model, shapes


def draw(name, shape, dtype):
    """Activations of about one everywhere: weights with variance 1 / inputs, factors of norms near 1, offsets near 0.
    Depends on the name alone."""
    import torch

    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    values = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        values *= (shape[0] / values.numel()) ** 0.5
    else:
        values = values.mul_(0.02).add_(0.0 if name.endswith("bias") else 1.0)
    return values.to(dtype)


def write_weights(folder, stem, shapes, dtype):
    """Safetensors shards with their index, each drawn, written and forgotten."""
    from safetensors.torch import save_file

    shards, size = [[]], 0
    for name, shape in shapes.items():
        count = dtype.itemsize
        for n in shape:
            count *= n
        if shards[-1] and size + count > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += count
    where, total = {}, 0
    for i, names in enumerate(shards):
        file = f"{stem}-{i + 1:05}-of-{len(shards):05}.safetensors" if len(shards) > 1 else f"{stem}.safetensors"
        tensors = {name: draw(name, shapes[name], dtype) for name in names}
        save_file(tensors, folder / file, {"format": "pt"})
        total += sum(t.numel() * t.element_size() for t in tensors.values())
        where.update(dict.fromkeys(names, file))
        print(f"{folder / file}: {len(names)} tensors", file=sys.stderr, flush=True)
    if len(shards) > 1:
        (folder / f"{stem}.safetensors.index.json").write_text(
            json.dumps({"metadata": {"total_size": total}, "weight_map": where}), encoding="utf-8"
        )


def write_pipeline(name, folder, dtype, small_text=False):
    """dtype None: everything but the weight files."""
    import diffusers

    classes = {}
    parts = dict(PIPELINES[name])
    scheduler_class, constants = parts.pop("scheduler")
    folder.mkdir(parents=True)
    for part, (library, cls, config) in parts.items():
        if part == "text_encoder" and small_text:
            config = {key: SMALL_TEXT.get(key, value) for key, value in config.items()}
        model, shapes = shapes_of(library, cls, config)
        if library == "diffusers":
            model.save_config(folder / part)
        else:
            model.config.architectures = [cls]
            model.config.save_pretrained(folder / part)
        if dtype:
            write_weights(
                folder / part, "diffusion_pytorch_model" if library == "diffusers" else "model", shapes, dtype
            )
        classes[part] = [library, cls]
    getattr(diffusers, scheduler_class)(**constants).save_pretrained(folder / "scheduler")
    if "unet" in parts:
        write_tokenizer(folder / "tokenizer", merge_count=400, max_length=77, pad_token="!")
    else:
        write_t5_tokenizer(folder / "tokenizer", 226, "nmt_nfkc")
    write_index(
        folder,
        "TextToVideoSDPipeline" if "unet" in parts else "CogVideoXPipeline",
        scheduler=["diffusers", scheduler_class],
        tokenizer=["transformers", "CLIPTokenizer" if "unet" in parts else "T5Tokenizer"],
        **classes,
    )


def main():
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUTPUT")
    parser.add_argument("name", choices=list(PIPELINES))
    parser.add_argument(
        "--dtype", choices=("fp32", "fp16", "bf16"), default="bf16", help="of the weight files (default bf16)"
    )
    parser.add_argument(
        "--text",
        choices=("full", "small"),
        default="full",
        help="small: a text encoder of two narrow layers instead of the real one",
    )
    arguments = parser.parse_args()
    if arguments.output.exists():
        sys.exit(f"{arguments.output} exists already: remove it or give another name")
    write_pipeline(
        arguments.name,
        arguments.output,
        {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[arguments.dtype],
        arguments.text == "small",
    )
    print(arguments.output)


if __name__ == "__main__":
    main()
