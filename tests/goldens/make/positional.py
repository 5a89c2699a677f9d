"""Goldens of tests/backbone/positional_test.cpp: position inputs from diffusers' own classes (diffusers 0.42.1, torch
2.11.0, one thread).

    python -m tests.goldens.make.positional tests/goldens/backbone/positional.safetensors

sincos_3d: what CogVideoXPatchEmbed adds to tokens that are 0, at each size. rope_3d:
CogVideoXPipeline._prepare_rotary_positional_embeddings. Small models' tables are stored whole, as
MODEL/FRAMESxHEIGHTxWIDTH/ROLE (latents). Of the published models' tables: 8 rows, row i (S - 1) // 7, as .../ROLE/rows,
and each column's sum over all rows weighted with sin(1.7 row + 0.5), in float64, as .../ROLE/sums."""

import sys
from types import SimpleNamespace

import torch
from diffusers import CogVideoXPipeline
from diffusers.models.embeddings import CogVideoXPatchEmbed
from safetensors.torch import save_file

# Latent frames, height, width; the first is the model's own size.
SIZES = [
    (3, 8, 12),
    (1, 8, 12),
    (5, 12, 8),
    (13, 10, 10),
    (3, 6, 20),
    (1, 16, 10),
    (5, 8, 10),
    (1, 16, 14),
    (3, 8, 6),
    (1, 2, 30),
    (1, 24, 36),
]
SLICES = [(2, 24, 36), (4, 8, 12), (6, 12, 8), (14, 10, 10), (2, 6, 20), (4, 2, 2), (2, 24, 2), (6, 4, 36)]
FULL = [(13, 60, 90), (5, 48, 86), (1, 96, 60)]
FULL_SLICES = [(22, 96, 170), (2, 300, 300)]

SINCOS = {
    "sincos": (
        dict(embed_dim=32, patch_size=2, spatial_interpolation_scale=1.875, temporal_interpolation_scale=1.0),
        SIZES,
    ),
    "sincos_scaled": (
        dict(embed_dim=16, patch_size=1, spatial_interpolation_scale=0.7, temporal_interpolation_scale=3.0),
        [(3, 4, 6), (5, 3, 7)],
    ),
    "sincos_2b": (
        dict(embed_dim=1920, patch_size=2, spatial_interpolation_scale=1.875, temporal_interpolation_scale=1.0),
        FULL,
    ),
}
ROPE = {
    "rope": (dict(attention_head_dim=16, patch_size=2, patch_size_t=None, sample_height=8, sample_width=12), SIZES),
    "rope_slice": (
        dict(attention_head_dim=16, patch_size=2, patch_size_t=2, sample_height=24, sample_width=36),
        SLICES,
    ),
    "rope_5b": (dict(attention_head_dim=64, patch_size=2, patch_size_t=None, sample_height=60, sample_width=90), FULL),
    "rope_15": (
        dict(attention_head_dim=64, patch_size=2, patch_size_t=2, sample_height=300, sample_width=300),
        FULL_SLICES,
    ),
}


def sincos_table(options, own_size, size):
    frames, height, width = own_size
    embed = CogVideoXPatchEmbed(
        in_channels=1,
        text_embed_dim=1,
        bias=False,
        sample_width=width,
        sample_height=height,
        sample_frames=4 * frames - 3,
        max_text_seq_length=2,
        use_positional_embeddings=True,
        use_learned_positional_embeddings=False,
        **options,
    )
    torch.nn.init.zeros_(embed.text_proj.weight)
    torch.nn.init.zeros_(embed.text_proj.bias)
    frames, height, width = size
    with torch.no_grad():
        return embed(torch.zeros(1, 2, 1), torch.zeros(1, frames, 1, height, width))[0, 2:]


def rope_tables(config, size):
    pipeline = SimpleNamespace(
        vae_scale_factor_spatial=8, transformer=SimpleNamespace(config=SimpleNamespace(**config))
    )
    frames, height, width = size
    return CogVideoXPipeline._prepare_rotary_positional_embeddings(
        pipeline, 8 * height, 8 * width, frames, torch.device("cpu")
    )


def main():
    torch.set_num_threads(1)
    out = {}

    def keep(model, size, role, table):
        assert table.dtype == torch.float32
        key = "/".join((model, "x".join(map(str, size)), role))
        if not model.endswith(("2b", "5b", "15")):
            out[key] = table.contiguous()
            return
        rows = torch.arange(len(table), dtype=torch.float64)
        out[key + "/rows"] = table[torch.arange(8) * (len(table) - 1) // 7].contiguous()
        out[key + "/sums"] = (torch.sin(rows * 1.7 + 0.5)[None] @ table.double())[0]

    for model, (options, sizes) in SINCOS.items():
        for size in sizes:
            keep(model, size, "positional_table", sincos_table(options, sizes[0], size))
    for model, (config, sizes) in ROPE.items():
        for size in sizes:
            cosines, sines = rope_tables(config, size)
            keep(model, size, "rope_cos", cosines)
            keep(model, size, "rope_sin", sines)
    save_file(out, sys.argv[1])
    for name, tensor in out.items():
        print(name, tuple(tensor.shape), float(tensor.double().abs().max()))


main()
