"""Golden values for tests/backbone and tests/inject from the real diffusers and transformers classes, run eagerly.

    python -m tests.pipelines.tiny WORK --only nano
    scripts/export_backbone.sh WORK/nano_pipeline tests/goldens/bundles/nano_bundle
    python -m tests.goldens.make.backbone WORK/nano_pipeline tests/goldens
    python -m tests.goldens.make.backbone WORK/nano_2b_pipeline tests/goldens     (nano_5b alike)

Writes backbone/{autoencoder,text}.safetensors and inject/{denoiser,gradients}.safetensors; for a CogVideoX pipeline,
e.g. nano_2b_pipeline, backbone/autoencoder_nano_2b.safetensors only. Nothing here shares code with jointtuner: sites
are found with isinstance on the Python modules, adapters are modules of their own, gradients are computed in double
precision. Provenance: torch 2.11.0, diffusers 0.42.1, transformers 5.23.0, one thread."""

import json
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file

warnings.simplefilter("ignore")
RANK = 2
PROMPTS = ["", "a cat", "A Hat!"]
LONG_PROMPT = "a person rides a bicycle over the hills"
CASES = [
    (2, 3, 9, 10, 7),
    (1, 1, 8, 8, 5),
    (1, 5, 6, 12, 9),
    (3, 2, 7, 5, 4),
]  # batch, frames, latent height, latent width, tokens
FRAMES, TILED_FRAMES = [1, 5, 9, 13, 17, 49], [1, 9, 17]  # of the causal autoencoder's clips
RULES = {
    "Transformer2DModel": ("spatial", ("attn1", "ff")),
    "TransformerTemporalModel": ("temporal", ("attn1", "attn2", "ff")),
}


class Glora(torch.nn.Module):
    """y = Wx + b + scale * mean(sigmoid(G x)) * U D x, the mean over the tokens of a sample or of the whole batch."""

    def __init__(self, linear, group, state):
        super().__init__()
        self.linear, self.group, self.state = linear, group, state
        k, m = linear.in_features, linear.out_features
        self.down = torch.nn.Parameter(torch.randn(RANK, k) / k**0.5)
        self.up = torch.nn.Parameter(torch.randn(m, RANK) * 0.3)
        self.gate = torch.nn.Parameter(torch.randn(1, k) * 0.3)

    def forward(self, x):
        gate = torch.sigmoid(x @ self.gate.T).reshape(self.state["groups"], -1).mean(1)
        update = (x @ self.down.T) @ self.up.T
        gate = gate.repeat_interleave(x.shape[0] // self.state["groups"]).reshape(-1, 1, 1)
        if not self.state["gated"]:
            gate = torch.ones_like(gate)
        return self.linear(x) + self.state["scale"][self.group] * gate * update


def published_sites(unet):
    sites = []
    for cls, (group, names) in RULES.items():
        for path, module in unet.named_modules():
            if type(module).__name__ != cls:
                continue
            for below, linear in module.named_modules():
                if isinstance(linear, torch.nn.Linear) and set(names) & set(below.split(".")):
                    sites.append((f"{path}.{below}", group))
    return sites


def inject(unet, state):
    adapters = []
    for path, group in published_sites(unet):
        parent, _, name = path.rpartition(".")
        parent = unet.get_submodule(parent)
        adapters.append(Glora(getattr(parent, name), group, state))
        setattr(parent, name, adapters[-1])
    return adapters


def denoiser(pipe, out):
    unet = pipe.unet.eval().requires_grad_(False)
    sites = published_sites(unet)
    width = unet.config.cross_attention_dim
    torch.manual_seed(1)
    inputs = [
        (torch.randn(b, 4, f, h, w), torch.randint(0, 1000, (b,)), torch.randn(b, n, width)) for b, f, h, w, n in CASES
    ]
    tensors = {}
    with torch.no_grad():
        for i, case in enumerate(inputs):
            tensors.update(
                {
                    f"{i}.latents": case[0],
                    f"{i}.timestep": case[1],
                    f"{i}.embedding": case[2],
                    f"{i}.frozen": unet(*case).sample,
                }
            )
    state = dict(groups=1, scale=dict(spatial=1.0, temporal=1.0), gated=True)
    adapters = inject(unet, state)

    def run(name, case, **changes):
        state.update(dict(groups=1, scale=dict(spatial=1.0, temporal=1.0), gated=True), **changes)
        with torch.no_grad():
            tensors[name] = unet(*case).sample

    for i, case in enumerate(inputs):
        run(f"{i}.sample", case, groups=len(case[1]))
        run(f"{i}.batch", case, groups=1)
    run("0.scaled", inputs[0], groups=2, scale=dict(spatial=0.5 * 0.7, temporal=-1.5 * 0.7))
    run("0.ungated", inputs[0], groups=2, gated=False)
    for i, adapter in enumerate(adapters):
        tensors.update(
            {
                f"adapter.{i}.down": adapter.down.data,
                f"adapter.{i}.up": adapter.up.data,
                f"adapter.{i}.gate": adapter.gate.data,
            }
        )
    save(
        out / "inject/denoiser.safetensors",
        tensors,
        {"sites": json.dumps(sites), "cases": str(len(CASES)), "rank": str(RANK)},
    )

    unet.double()
    state.update(groups=2, scale=dict(spatial=1.0, temporal=1.0), gated=True)
    latents, timestep, embedding = inputs[0]
    latents = latents.double().requires_grad_()
    output = unet(latents, timestep, embedding.double()).sample
    output.square().mean().backward()
    gradients = {"latents": latents.grad}
    for i, adapter in enumerate(adapters):
        gradients.update({f"{i}.down": adapter.down.grad, f"{i}.up": adapter.up.grad, f"{i}.gate": adapter.gate.grad})
    save(
        out / "inject/gradients.safetensors",
        {name: value.float() for name, value in gradients.items()},
        {"loss": repr(output.square().mean().item())},
    )


def autoencoder(pipe, out):
    vae = pipe.vae.eval()
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    scale = vae.config.scaling_factor
    torch.manual_seed(2)
    pixels = torch.rand(3, 3, 7 * factor, 5 * factor) * 2 - 1
    latents = torch.randn(2, 4, 3, 11, 9) * scale
    with torch.no_grad():
        posterior = vae.encode(pixels).latent_dist
        frames = (latents / scale).permute(0, 2, 1, 3, 4).flatten(0, 1)
        decoded = vae.decode(frames).sample
        vae.tile_latent_min_size, vae.tile_sample_min_size = (
            8,
            8 * factor,
        )  # 8 * (1 - 0.25) is whole: else diffusers gives a wrong size
        vae.enable_tiling()
        tiled = vae.decode(frames).sample
        wide = torch.rand(2, 3, 11 * factor, 9 * factor) * 2 - 1
        tiled_posterior = vae.encode(wide).latent_dist

    def clip(x):
        return x.unflatten(0, (2, 3)).transpose(1, 2).contiguous()

    save(
        out / "backbone/autoencoder.safetensors",
        dict(
            pixels=pixels,
            mean=posterior.mean,
            std=posterior.std,
            latents=latents,
            decoded=clip(decoded),
            tiled=clip(tiled),
            wide=wide,
            tiled_mean=tiled_posterior.mean,
            tiled_std=tiled_posterior.std,
        ),
        {"tile_px": str(8 * factor)},
    )


def formula(*shape):
    """The i-th value is ((7919 i) mod 2003) / 1001.5 - 1: anybody can make this input."""
    index = torch.arange(torch.Size(shape).numel()) * 7919 % 2003
    return (index.float() / 1001.5 - 1).reshape(shape)


def causal_autoencoder(vae, path):
    """Untiled results of FRAMES frames (latents of 5 x 7) and tiled ones of TILED_FRAMES (11 x 9, tiles of 8). Pixels
    are many: every 37th value of [F,3,H,W], and the sum of each frame's channel. Latents of an even number of frames
    decode to 3 frames more than the clip has; they are left out."""
    vae = vae.eval()
    factor, scale = 2 ** (len(vae.config.block_out_channels) - 1), vae.config.scaling_factor
    time = vae.config.temporal_compression_ratio
    tensors = {}

    def case(name, frames, height, width):
        clip = formula(frames, 3, height * factor, width * factor)
        latents = formula(1, vae.config.latent_channels, (frames - 1) // time + 1, height, width) * 2 * scale
        with torch.no_grad():
            posterior = vae.encode(clip.transpose(0, 1)[None]).latent_dist
            pixels = vae.decode(latents / scale).sample[0].transpose(0, 1)[-frames:]
        assert pixels.shape == clip.shape and posterior.mean.shape == latents.shape
        tensors.update(
            {
                f"{name}.mean": posterior.mean[0].transpose(0, 1),
                f"{name}.std": posterior.std[0].transpose(0, 1),
                f"{name}.pixels": pixels.flatten()[::37],
                f"{name}.sums": pixels.double().sum((2, 3)),
            }
        )

    for frames in FRAMES:
        case(f"{frames}", frames, 5, 7)
    vae.enable_tiling(8 * factor, 8 * factor, 0.25, 0.25)  # 8 * 0.25 is whole: else diffusers gives a wrong size
    for frames in TILED_FRAMES:
        case(f"tiled.{frames}", frames, 11, 9)
    save(
        path,
        tensors,
        {"frames": json.dumps(FRAMES), "tiled_frames": json.dumps(TILED_FRAMES), "tile_px": str(8 * factor)},
    )


def text(pipe, out):
    def embedding(prompts, **more):
        ids = pipe.tokenizer(
            prompts, padding="max_length", max_length=pipe.tokenizer.model_max_length, return_tensors="pt", **more
        ).input_ids
        with torch.no_grad():
            return pipe.text_encoder.eval()(ids)[0]

    save(
        out / "backbone/text.safetensors",
        dict(embedding=embedding(PROMPTS), truncated=embedding([LONG_PROMPT], truncation=True)),
        {"prompts": json.dumps(PROMPTS), "long_prompt": LONG_PROMPT},
    )


def save(path, tensors, metadata):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata)
    print(path, path.stat().st_size, "bytes")


def main():
    from diffusers import AutoencoderKLCogVideoX, TextToVideoSDPipeline

    torch.set_num_threads(1)
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    if json.loads((folder / "model_index.json").read_text())["vae"][1] == "AutoencoderKLCogVideoX":
        vae = AutoencoderKLCogVideoX.from_pretrained(folder, subfolder="vae")
        causal_autoencoder(vae, out / f"backbone/autoencoder_{folder.name.removesuffix('_pipeline')}.safetensors")
        return
    pipe = TextToVideoSDPipeline.from_pretrained(folder)
    autoencoder(pipe, out)
    text(pipe, out)
    denoiser(pipe, out)


if __name__ == "__main__":
    main()
