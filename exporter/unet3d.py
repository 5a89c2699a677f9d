"""UNet3D pipelines (ZeroScope, ModelScope): UNet3DConditionModel, AutoencoderKL image by image, a CLIP text model."""

import torch

from .adapter_sites import all_sites
from .failure import ExportError
from .family import Family
from .part import Part, Traced, random, same_method, text_encoder_part
from .tokenizer_files import clip_tokenizer


class Denoiser(Traced):
    """latents [B,C,F,h,w], timestep [B] int64, prompt_embedding [B,L,D] -> prediction like latents. Module paths start
    with `unet`."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, latents, timestep, prompt_embedding):
        return self.unet(latents, timestep, prompt_embedding, return_dict=False)[0]


class Autoencoder(Traced):
    """encode: pixels [N,3,H,W] in [-1,1] -> posterior mean and standard deviation [N,C,h,w]; decode: unscaled latents
    [N,C,h,w] -> pixels."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def encode(self, pixels):
        posterior = self.vae.encode(pixels, return_dict=False)[0]
        return posterior.mean, posterior.std

    def decode(self, latents):
        return self.vae.decode(latents, return_dict=False)[0]


def denoiser_inputs(config, dtype, generator, batch, frames, height, width, tokens):
    """Example inputs of Denoiser.forward."""
    return (
        random(generator, (batch, config.in_channels, frames, height, width), dtype),
        torch.randint(0, 1000, (batch,), generator=generator),
        random(generator, (batch, tokens, config.cross_attention_dim), dtype),
    )


class UNet3D(Family):
    name = "unet3d"
    shown = "UNet3D pipelines (ZeroScope, ModelScope)"
    parts = {
        "denoiser": ("unet", "diffusers", "UNet3DConditionModel"),
        "autoencoder": ("vae", "diffusers", "AutoencoderKL"),
        "text_encoder": ("text_encoder", "transformers", "CLIPTextModel"),
    }
    tokenizer = "CLIPTokenizer"
    # The scheduler only supplies constants: these classes name the same betas by the same keys.
    schedulers = (
        "DDIMScheduler",
        "DDPMScheduler",
        "PNDMScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "UniPCMultistepScheduler",
        "DEISMultistepScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "HeunDiscreteScheduler",
        "LMSDiscreteScheduler",
    )
    root = "unet"
    adapter_rules = (
        ("Transformer2DModel", ("attn1", "ff"), "spatial"),
        ("TransformerTemporalModel", ("attn1", "attn2", "ff"), "temporal"),
    )
    # As the published UNet is checkpointed: each resnet, temporal convolution, spatial and temporal transformer.
    segments = (
        r"(down_blocks\.[0-9]+|up_blocks\.[0-9]+|mid_block)\.(resnets|temp_convs|attentions|temp_attentions)\.[0-9]+",
        r"transformer_in",
    )
    gate_init = "uniform"

    def check(self):
        self.refuse_vae("shift_factor", "latents_mean", "latents_std")
        unet, text = self.configs["denoiser"], self.configs["text_encoder"]
        if text.hidden_size != unet.cross_attention_dim:
            raise ExportError(
                f"the text encoder is {text.hidden_size} wide and the UNet expects {unet.cross_attention_dim}: the "
                "parts belong to different models"
            )

    def denoiser(self):
        return {
            "inputs": ["latents", "timestep", "prompt_embedding"],
            "layout": "BCFHW",
            "in_channels": self.configs["denoiser"].in_channels,
            "height_multiple": 1,
            "width_multiple": 1,
            "frames_multiple": 1,
            "positional": {"kind": "none"},
        }

    def latents(self):
        vae = self.configs["autoencoder"]
        return {
            "channels": vae.latent_channels,
            "spatial_compression": self.compression,
            "temporal_compression": 1,
            "scaling_factor": vae.scaling_factor,
        }

    def autoencoder(self):
        return {"kind": "2d"}

    def text(self, target):
        config = self.configs["text_encoder"]
        limit, tokenizer = clip_tokenizer(self.folder / "tokenizer", target, config.vocab_size)
        return {
            "max_length": min(config.max_position_embeddings, limit),
            "attention_mask": False,
            "embedding_width": config.hidden_size,
            "tokenizer": tokenizer,
        }

    def preferred(self, scheduler):
        sample = self.configs["denoiser"].sample_size
        height, width = (sample, sample) if isinstance(sample, int) else (sample or (384 // self.compression,) * 2)
        return {
            "height": height * self.compression,
            "width": width * self.compression,
            "frames": 16,
            "fps": 8,
            "steps": 30,
            "guidance": 12.0,
            "guidance_schedule": "constant",
        }

    def check_size(self, height, width, frames):
        for name, value in (("height", height), ("width", width)):
            if value <= 0 or value % self.compression:
                raise ExportError(
                    f"--{name} {value}: expected a positive multiple of {self.compression}, the autoencoder's "
                    "compression"
                )

    def part(self, role, model, dtype):
        if role == "text_encoder":
            return text_encoder_part(model, self.configs[role].max_position_embeddings)
        return {"denoiser": self.denoiser_part, "autoencoder": self.autoencoder_part}[role](model, dtype)

    def denoiser_part(self, unet, dtype):
        """Odd latent sizes make the trace take the symbolic up-sampling branch, which serves every size."""
        config = self.configs["denoiser"]
        down = 2 ** (len(config.block_out_channels) - 1)
        tokens = self.configs["text_encoder"].max_position_embeddings
        generator = torch.Generator().manual_seed(3)
        if dtype == torch.float32:
            shapes = [
                (1, 1, down, down, tokens),
                (2, 3, down + 1, 2 * down + 1, 7),
                (1, 4, 2 * down, 3 * down, tokens),
                (3, 2, down + 2, down, 1),
                (1, 7, 2 * down + 3, down + 1, 5),
                (2, 1, down, 2 * down, 3),
            ]
        # sizes do not depend on the dtype, and processors without half arithmetic take minutes for one pass of a
        # full-size model
        else:
            shapes = [(1, 1, down, down, tokens), (2, 2, down + 1, down, 3), (1, 3, down + 2, 2 * down, 5)]
        cases = [
            ("batch {}, {} frames, {}x{} latents, {} tokens".format(*s), denoiser_inputs(config, dtype, generator, *s))
            for s in shapes
        ]
        forward = same_method("forward", Denoiser, cases)
        example = denoiser_inputs(config, dtype, torch.Generator().manual_seed(1), 2, 3, down + 1, down + 2, 7)
        return Part(
            unet,
            Denoiser,
            lambda module: {"forward": example},
            {"forward": forward},
            gradient=forward[1],
            sites=all_sites(unet, self.adapter_rules),
            segments=self.segments,
            root=self.root,
        )

    def autoencoder_part(self, vae, dtype):
        scale, channels = self.compression, self.configs["autoencoder"].latent_channels
        generator = torch.Generator().manual_seed(4)
        sizes = [(1, 2, 2), (2, 3, 4), (5, 4, 3), (1, 6, 5)]
        pixels = [
            (
                f"{n} images of {h * scale}x{w * scale}",
                (random(generator, (n, 3, h * scale, w * scale), dtype).clamp(-1, 1),),
            )
            for n, h, w in sizes
        ]
        small = [(f"{n} latents of {h}x{w}", (random(generator, (n, channels, h, w), dtype),)) for n, h, w in sizes]
        generator = torch.Generator().manual_seed(2)
        example = {
            "encode": (random(generator, (2, 3, 3 * scale, 4 * scale), dtype).clamp(-1, 1),),
            "decode": (random(generator, (2, channels, 3, 4), dtype),),
        }
        return Part(
            vae,
            Autoencoder,
            lambda module: example,
            {"encode": same_method("encode", Autoencoder, pixels), "decode": same_method("decode", Autoencoder, small)},
        )
