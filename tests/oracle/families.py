"""What the oracles must know of each kind of backbone, and nothing else: the rest of this folder is the same for all.

A family is a thin layer over the real diffusers pipeline of a local folder, in fp32 on the CPU. Latents are [B,C,F,h,w]
here, whatever the pipeline takes."""

import functools
import json
import os
import sys
import warnings
from pathlib import Path

os.environ.update(
    HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error", DIFFUSERS_VERBOSITY="error"
)
warnings.simplefilter("ignore")
import torch  # noqa: E402  (the libraries' first import reads the environment)

from .named_random import generator, normal  # noqa: E402


class Family:
    pipeline = None  # name of the pipeline's class
    adapter_rules = ()  # (class of an ancestor, names on the path below it, group), in the published order of the sites
    gate_init = None  # distribution of the first gates: glora.initialize
    schedulers = {}  # sampler -> name of diffusers' class
    layout = (0, 1, 2, 3, 4)  # the axes of [B,C,F,h,w] in the pipeline's order (a swap, so it is its own inverse)
    text_options = {}  # further arguments of encode_prompt

    def __init__(self, pipe):
        pipe.set_progress_bar_config(disable=True)
        self.pipe, self.vae = pipe, pipe.vae
        for model in (self.denoiser, pipe.vae, pipe.text_encoder):
            model.eval().requires_grad_(False)

    @torch.no_grad()
    def prompt_embedding(self, text):
        """[1,L,D]"""
        return self.pipe.encode_prompt(text, do_classifier_free_guidance=False, **self.text_options)[0]

    @torch.no_grad()
    def posterior(self, frames):
        """uint8 [N,H,W,3] of one clip -> mean, std [F,C,h,w] of the unscaled latents."""
        return self.encoded(torch.as_tensor(frames).permute(0, 3, 1, 2).float() / 127.5 - 1)

    @torch.no_grad()
    def frames(self, latents):
        """[1,C,F,h,w] without padding -> uint8 [N,H,W,3], by the pipeline's decode_latents."""
        pixels = self.pipe.decode_latents(latents.permute(self.layout))[0]
        return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0).contiguous()

    def latent_frames(self, frames):
        return frames

    def missing_frames(self, latent_frames):
        """Frames of padding that the denoiser wants in front."""
        return 0

    def latents_shape(self, size):
        """[1,C,F,h,w], padding included, of a video's (frames, height, width)."""
        frames, side = self.latent_frames(size[0]), 2 ** (len(self.vae.config.block_out_channels) - 1)
        return (
            1,
            self.denoiser.config.in_channels,
            frames + self.missing_frames(frames),
            size[1] // side,
            size[2] // side,
        )

    def padded(self, latents):
        """With copies of the first frame in front where the denoiser wants padding."""
        return torch.cat([latents[:, :, :1]] * self.missing_frames(latents.shape[2]) + [latents], 2)

    @torch.no_grad()
    def sample(self, latents, size, prompts, sampler, seed, **options):
        """The real pipeline's latents [1,C,F,h,w], without padding. latents: where it starts; prompts: negative,
        prompt; options: of its __call__."""
        import diffusers

        if sampler not in self.schedulers:
            raise SystemExit(f"{self.pipeline} is sampled with {' or '.join(self.schedulers)}, not {sampler}")
        self.pipe.scheduler = getattr(diffusers, self.schedulers[sampler]).from_config(self.pipe.scheduler.config)
        name_noise(self.pipe.scheduler, seed, latents.shape)
        found = self.pipe(
            prompt=prompts[1],
            negative_prompt=prompts[0],
            num_frames=size[0],
            height=size[1],
            width=size[2],
            output_type="latent",
            latents=latents.permute(self.layout),
            return_dict=False,
            **options,
        )[0]
        return found.permute(self.layout)[:, :, -self.latent_frames(size[0]) :].contiguous()


class UNet3D(Family):
    """ZeroScope and ModelScope: attention over space and over time, a 2-D autoencoder, CLIP."""

    pipeline = "TextToVideoSDPipeline"
    adapter_rules = (
        ("Transformer2DModel", ("attn1", "ff"), "spatial"),
        ("TransformerTemporalModel", ("attn1", "attn2", "ff"), "temporal"),
    )
    gate_init = "uniform"
    schedulers = {"ddim": "DDIMScheduler"}
    text_options = {"device": "cpu", "num_images_per_prompt": 1}

    @property
    def denoiser(self):
        return self.pipe.unet

    def predict(self, latents, timestep, embedding):
        return self.denoiser(latents, timestep, embedding, return_dict=False)[0]

    def encoded(self, pixels):
        found = self.vae.encode(pixels).latent_dist
        return found.mean, found.std


class CogVideoX(Family):
    """A transformer over all tokens of a clip, told their places by a table or by rotations; a causal 3-D autoencoder;
    T5."""

    pipeline = "CogVideoXPipeline"
    adapter_rules = (("CogVideoXBlock", ("attn1", "ff"), "joint"),)
    gate_init = "normal"
    schedulers = {"ddim": "CogVideoXDDIMScheduler", "dpmpp_2m_sde": "CogVideoXDPMScheduler"}
    layout = (0, 2, 1, 3, 4)

    @property
    def denoiser(self):
        return self.pipe.transformer

    @property
    def text_options(self):
        return {"max_sequence_length": self.denoiser.config.max_text_seq_length}

    def sample(self, *arguments, **options):
        return super().sample(*arguments, **self.text_options, **options)

    def predict(self, latents, timestep, embedding):
        side, rotary = self.pipe.vae_scale_factor_spatial, None
        if self.denoiser.config.use_rotary_positional_embeddings:
            rotary = self.pipe._prepare_rotary_positional_embeddings(
                latents.shape[3] * side, latents.shape[4] * side, latents.shape[2], "cpu"
            )
        found = self.denoiser(
            latents.permute(self.layout), embedding, timestep, image_rotary_emb=rotary, return_dict=False
        )[0]
        return found.permute(self.layout)

    def encoded(self, pixels):
        found = self.vae.encode(pixels.transpose(0, 1)[None]).latent_dist
        return found.mean[0].transpose(0, 1), found.std[0].transpose(0, 1)

    def latent_frames(self, frames):
        return (frames - 1) // self.pipe.vae_scale_factor_temporal + 1

    def missing_frames(self, latent_frames):
        return -latent_frames % (self.denoiser.config.patch_size_t or 1)


def open_pipeline(folder):
    """The family of a diffusers folder, loaded."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
    name = read_json(Path(folder) / "model_index.json")["_class_name"]
    known = {family.pipeline: family for family in subclasses(Family)}
    if name not in known:
        raise SystemExit(f"{folder}: a {name}; the oracles know {', '.join(known)}")
    return known[name](getattr(diffusers, name).from_pretrained(folder, dtype=torch.float32))


def subclasses(kind):
    """All classes that derive from `kind`, directly or not."""
    return [one for child in kind.__subclasses__() for one in (child, *subclasses(child))]


def name_noise(scheduler, seed, shape):
    """From now on the scheduler's step n draws generator(seed, 0, "sampler/n") of shape [B,C,F,h,w], however often it
    draws: CogVideoXDPMScheduler draws twice in a second-order step and drops the first."""
    take_step, current = scheduler.step, -1

    @functools.wraps(take_step)  # pipelines look at its signature
    def counted(*arguments, **keywords):
        nonlocal current
        current += 1
        return take_step(*arguments, **keywords)

    def named(wanted, **_):
        return (
            normal(shape, generator(seed, 0, f"sampler/{current}")).transpose(1, 2).reshape(wanted)
        )  # both pipelines: frames first

    scheduler.step = counted
    sys.modules[type(scheduler).__module__].randn_tensor = named


def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))
