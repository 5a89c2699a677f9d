"""CogVideoX text-to-video: CogVideoXTransformer3DModel with positions from outside, AutoencoderKLCogVideoX, a T5
encoder.

2B adds a table of sines and cosines to its tokens, 5B rotates queries and keys, 1.5 rotates too and joins two latent
frames to a patch."""

import torch

from .adapter_sites import all_sites
from .causal_autoencoder import causal_autoencoder_part, chunk_rules
from .failure import ExportError
from .family import Family
from .part import Case, Part, Traced, method, random, text_encoder_part
from .tokenizer_files import sentencepiece_tokenizer


class TablePatchEmbed(Traced):
    """The patch embedding without its own table, which has one size; the table comes from outside, for the tokens of
    the clip alone."""

    def __init__(self, patch_embed):
        super().__init__()
        patch_embed.use_positional_embeddings = False
        del patch_embed.pos_embedding  # as large as the largest clip
        self.patch_embed = patch_embed
        self.table = None

    def forward(self, text, latents):
        tokens = self.patch_embed(text, latents)
        length = text.shape[1]
        return torch.cat([tokens[:, :length], tokens[:, length:] + self.table.to(tokens.dtype)], 1)


class TableDenoiser(Traced):
    """latents [B,F,C,h,w], timestep [B] int64, prompt_embedding [B,L,D], positional_table [S,width] fp32 -> prediction
    like latents."""

    def __init__(self, transformer):
        super().__init__()
        transformer.patch_embed = TablePatchEmbed(transformer.patch_embed)
        self.transformer = transformer

    def forward(self, latents, timestep, prompt_embedding, positional_table):
        self.transformer.patch_embed.table = positional_table
        return self.transformer(latents, prompt_embedding, timestep, return_dict=False)[0]


class RotaryDenoiser(Traced):
    """latents [B,F,C,h,w], timestep [B] int64, prompt_embedding [B,L,D], rope_cos and rope_sin [S,head_dim] fp32 ->
    prediction like latents."""

    def __init__(self, transformer):
        super().__init__()
        self.transformer = transformer

    def forward(self, latents, timestep, prompt_embedding, rope_cos, rope_sin):
        return self.transformer(
            latents, prompt_embedding, timestep, image_rotary_emb=(rope_cos, rope_sin), return_dict=False
        )[0]


def positions(config, frames, height, width):
    """The fp32 inputs behind the prompt embedding, for a clip in latents, as diffusers computes them."""
    from diffusers.models.embeddings import get_3d_rotary_pos_embed, get_3d_sincos_pos_embed
    from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid

    p, p_t = config.patch_size, config.patch_size_t
    grid, base = (height // p, width // p), (config.sample_height // p, config.sample_width // p)
    if not config.use_rotary_positional_embeddings:
        table = get_3d_sincos_pos_embed(
            config.num_attention_heads * config.attention_head_dim,
            grid[::-1],
            frames,
            config.spatial_interpolation_scale,
            config.temporal_interpolation_scale,
            output_type="pt",
        )
        return (table.flatten(0, 1).float(),)
    if p_t is None:
        found = get_3d_rotary_pos_embed(
            config.attention_head_dim, get_resize_crop_region_for_grid(grid, base[1], base[0]), grid, frames
        )
    else:
        found = get_3d_rotary_pos_embed(
            config.attention_head_dim, None, grid, frames // p_t, grid_type="slice", max_size=base
        )
    return tuple(t.float().contiguous() for t in found)


def own_positions(transformer, latents, timestep, prompt_embedding, *outside):
    """The untouched model: with a table it computes its own, for any size and text length; rotations are the caller's
    in any case."""
    if outside[1:]:
        return transformer(latents, prompt_embedding, timestep, image_rotary_emb=outside, return_dict=False)[0]
    embed = transformer.patch_embed
    embed.max_text_seq_length, embed.sample_frames = prompt_embedding.shape[1], 0  # 0: never the stored table
    return transformer(latents, prompt_embedding, timestep, return_dict=False)[0]


class CogVideoX(Family):
    name = "cogvideox"
    shown = "CogVideoX text-to-video pipelines (2B, 5B, 1.5)"
    parts = {
        "denoiser": ("transformer", "diffusers", "CogVideoXTransformer3DModel"),
        "autoencoder": ("vae", "diffusers", "AutoencoderKLCogVideoX"),
        "text_encoder": ("text_encoder", "transformers", "T5EncoderModel"),
    }
    tokenizer = "T5Tokenizer"
    schedulers = ("CogVideoXDDIMScheduler", "CogVideoXDPMScheduler")
    root = "transformer"
    adapter_rules = (("CogVideoXBlock", ("attn1", "ff"), "joint"),)
    segments = (r"transformer_blocks\.[0-9]+",)
    gate_init = "normal"

    def check(self):
        c, vae, text = (self.configs[role] for role in ("denoiser", "autoencoder", "text_encoder"))
        where = f"{self.folder}/transformer"
        for found, what in (
            (c.ofs_embed_dim, f"ofs_embed_dim {c.ofs_embed_dim}"),
            (c.use_learned_positional_embeddings, "learned positional embeddings"),
            (c.in_channels != c.out_channels, f"{c.in_channels} channels in and {c.out_channels} out"),
        ):
            if found:
                raise ExportError(
                    f"{where} has {what}: an image-to-video or control model, and only text-to-video models can be "
                    "exported: "
                    "take CogVideoX-2b, CogVideoX-5b or CogVideoX1.5-5B"
                )
        self.refuse_vae("shift_factor", "latents_mean", "latents_std", "use_quant_conv", "use_post_quant_conv")
        if vae.latent_channels != c.in_channels:
            raise ExportError(
                f"the autoencoder has {vae.latent_channels} latent channels and the transformer {c.in_channels}: the "
                "parts belong to different models"
            )
        if text.d_model != c.text_embed_dim:
            raise ExportError(
                f"the text encoder is {text.d_model} wide and the transformer expects {c.text_embed_dim}: the parts "
                "belong to different models"
            )
        if c.use_rotary_positional_embeddings and c.attention_head_dim % 16:
            raise ExportError(
                f"{where}: attention_head_dim {c.attention_head_dim} is no multiple of 16, which rotations over three "
                "axes need"
            )

    @property
    def period(self):
        """Frames per latent frame."""
        return int(self.configs["autoencoder"].temporal_compression_ratio)

    def denoiser(self):
        c = self.configs["denoiser"]
        p = c.patch_size
        if c.use_rotary_positional_embeddings:
            inputs = ["rope_cos", "rope_sin"]
            positional = {
                "kind": "rope_3d",
                "head_dim": c.attention_head_dim,
                "theta": 10000.0,
                "patch": p,
                "patch_frames": c.patch_size_t or 1,
                "grid": "slice" if c.patch_size_t else "resize",
                "base_height": c.sample_height // p,
                "base_width": c.sample_width // p,
            }
        else:
            inputs = ["positional_table"]
            positional = {
                "kind": "sincos_3d",
                "width": c.num_attention_heads * c.attention_head_dim,
                "patch": p,
                "spatial_scale": c.spatial_interpolation_scale,
                "temporal_scale": c.temporal_interpolation_scale,
            }
        return {
            "inputs": ["latents", "timestep", "prompt_embedding", *inputs],
            "layout": "BFCHW",
            "in_channels": c.in_channels,
            "height_multiple": p,
            "width_multiple": p,
            "frames_multiple": c.patch_size_t or 1,
            "positional": positional,
        }

    def latents(self):
        vae = self.configs["autoencoder"]
        return {
            "channels": vae.latent_channels,
            "spatial_compression": self.compression,
            "temporal_compression": self.period,
            "scaling_factor": vae.scaling_factor,
        }

    def autoencoder(self):
        return {"kind": "causal_3d", **chunk_rules(self.period)}

    def text(self, target):
        config = self.configs["text_encoder"]
        return {
            "max_length": self.configs["denoiser"].max_text_seq_length,
            "attention_mask": False,
            "embedding_width": config.d_model,
            "tokenizer": sentencepiece_tokenizer(self.folder / "tokenizer", target, config.vocab_size),
        }

    def preferred(self, scheduler):
        c = self.configs["denoiser"]
        height, width, fps = c.sample_height, c.sample_width, 8
        if (
            c.patch_size_t
        ):  # 1.5 names its largest grid, 300 x 300 latents; published videos are 96 x 170 at 16 frames a second
            height, width, fps = min(height, 96), min(width, 170), 16
        return {
            "height": height * self.compression,
            "width": width * self.compression,
            "frames": c.sample_frames,
            "fps": fps,
            "steps": 50,
            "guidance": 6.0,
            "guidance_schedule": "dynamic" if scheduler == "CogVideoXDPMScheduler" else "constant",
        }

    def check_size(self, height, width, frames):
        c = self.configs["denoiser"]
        multiple = self.compression * c.patch_size
        for name, value, most in (("height", height, c.sample_height), ("width", width, c.sample_width)):
            if value <= 0 or value % multiple:
                raise ExportError(
                    f"--{name} {value}: expected a positive multiple of {multiple}, the autoencoder's compression by "
                    "the patch size"
                )
            if c.patch_size_t and value > most * self.compression:
                raise ExportError(f"--{name} {value}: this model's positions end at {most * self.compression}")
        if frames % self.period != 1 % self.period:
            below = frames - (frames - 1) % self.period
            raise ExportError(
                f"--frames {frames}: expected 1 more than a multiple of {self.period}, such as {below} or "
                f"{below + self.period}"
            )

    def part(self, role, model, dtype):
        if role == "denoiser":
            return self.denoiser_part(model, dtype)
        if role == "autoencoder":
            return causal_autoencoder_part(model, chunk_rules(self.period), self.compression, dtype)
        return text_encoder_part(model, self.configs["denoiser"].max_text_seq_length)

    def denoiser_part(self, transformer, dtype):
        c = self.configs["denoiser"]
        p, p_t, tokens = c.patch_size, c.patch_size_t or 1, c.max_text_seq_length
        wrap = RotaryDenoiser if c.use_rotary_positional_embeddings else TableDenoiser

        def inputs(generator, batch, frames, height, width, tokens):
            return (
                random(generator, (batch, frames, c.in_channels, height, width), dtype),
                torch.randint(0, 1000, (batch,), generator=generator),
                random(generator, (batch, tokens, c.text_embed_dim), dtype),
                *positions(c, frames, height, width),
            )

        shapes = [(1, p_t, p, p, tokens), (2, 2 * p_t, 3 * p, 2 * p, 7), (1, 4 * p_t, 2 * p, 5 * p, tokens)]
        if dtype == torch.float32:  # sizes do not depend on the dtype, and full-size models in half types are slow
            shapes += [(3, p_t, 4 * p, p, 1), (1, 5 * p_t, p, 3 * p, 5), (2, p_t, 5 * p, 4 * p, 3)]
        generator = torch.Generator().manual_seed(3)
        cases = [
            Case(
                "batch {}, {} frames, {}x{} latents, {} tokens".format(*s),
                inputs(generator, *s),
                own_positions,
                method("forward"),
            )
            for s in shapes
        ]
        example = inputs(torch.Generator().manual_seed(1), 2, 3 * p_t, 2 * p, 3 * p, 9)
        return Part(
            transformer,
            wrap,
            lambda module: {"forward": example},
            {"forward": cases},
            gradient=cases[1],
            sites=all_sites(transformer, self.adapter_rules),
            segments=self.segments,
            root=self.root,
        )
