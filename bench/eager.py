"""What jointtuner is measured against: the same work in Python, eager, with the diffusers model and GLoRA as torch
modules.

usage: eager.py MODE PIPELINE_DIR FRAMES HEIGHT WIDTH     MODE: train | train-checkpointed | frozen | sample | run
       eager.py decode VIDEO
Prints `ready`, then for every line on standard input does one unit of work and prints the seconds it took
(bench/README.md). `run` prints `ready` and takes three checkpointed training steps at once.
"""

import sys
import time

mode, source = sys.argv[1], sys.argv[2]
RANK, SAMPLING_STEPS, RUN_STEPS = 32, 4, 3
DECODE_FRAMES, DECODE_FPS, DECODE_SIZE = 16, 8, 256


def serve(unit):
    unit()  # warm-up
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        count = unit() or 1
        print((time.perf_counter() - began) / count, flush=True)


def decode():
    import av
    import cv2
    import numpy as np

    def unit():
        with av.open(source) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            wanted, picked, before = 0, [], None
            start = None
            for frame in container.decode(stream):
                start = frame.time if start is None else start
                while (
                    len(picked) < DECODE_FRAMES
                    and before is not None
                    and frame.time - start > wanted / DECODE_FPS + 1e-3
                ):
                    picked.append(before)
                    wanted += 1
                if len(picked) == DECODE_FRAMES:
                    break
                before = frame
            while len(picked) < DECODE_FRAMES:
                picked.append(before)
            out = []
            for frame in picked:
                image = frame.to_ndarray(format="rgb24")
                height, width = image.shape[:2]
                scale = max(DECODE_SIZE / height, DECODE_SIZE / width)
                size = (max(DECODE_SIZE, round(width * scale)), max(DECODE_SIZE, round(height * scale)))
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
                top, left = (size[1] - DECODE_SIZE) // 2, (size[0] - DECODE_SIZE) // 2
                out.append(image[top : top + DECODE_SIZE, left : left + DECODE_SIZE])
            return len(np.stack(out)) and 1

    serve(unit)


if mode == "decode":
    decode()
    sys.exit()

import math
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(2)
frames, height, width = (int(n) for n in sys.argv[3:6])


class UNet3D:
    """What differs between the backbones, here and in CogVideoX. Latents are as the pipeline holds them."""

    folder = "unet"
    rules = {"Transformer2DModel": ("attn1", "ff"), "TransformerTemporalModel": ("attn1", "attn2", "ff")}
    # the published trainer's segments: each resnet, temporal convolution, spatial and temporal transformer
    segments = ("ResnetBlock2D", "TemporalConvLayer", "Transformer2DModel", "TransformerTemporalModel")
    guidance, video_weight = 12, 10

    def __init__(self):
        from diffusers import DDIMScheduler, UNet3DConditionModel

        self.model = UNet3DConditionModel.from_pretrained(source, subfolder="unet")
        self.scheduler = DDIMScheduler.from_pretrained(source, subfolder="scheduler")
        self.latents = torch.randn(1, 4, frames, height // 8, width // 8)
        self.prompt = torch.randn(1, 77, self.model.config.cross_attention_dim)
        self.shift_shape = (1, 1, 1, height // 8, width // 8)

    def predict(self, x, t, prompt):
        return self.model(x, t, encoder_hidden_states=prompt, return_dict=False)[0]

    def target(self, x0, noise, a):
        return noise

    def step(self, prediction, n, x):
        """As the pipeline does: the scheduler works on frames as a batch."""
        b, c, f, h, w = x.shape
        flat = (z.permute(0, 2, 1, 3, 4).reshape(b * f, c, h, w) for z in (prediction, x))
        found = self.scheduler.step(next(flat), self.scheduler.timesteps[n], next(flat)).prev_sample
        return found[None].reshape(b, f, c, h, w).permute(0, 2, 1, 3, 4)


class CogVideoX:
    folder = "transformer"
    rules = {"CogVideoXBlock": ("attn1", "ff")}
    segments = ("CogVideoXBlock",)
    guidance, video_weight = 6, 1

    def __init__(self):
        from diffusers import CogVideoXDPMScheduler, CogVideoXTransformer3DModel
        from diffusers.models.embeddings import get_3d_rotary_pos_embed

        self.model = CogVideoXTransformer3DModel.from_pretrained(source, subfolder="transformer")
        self.scheduler = CogVideoXDPMScheduler.from_pretrained(source, subfolder="scheduler")
        c = self.model.config
        self.latents = torch.randn(1, (frames - 1) // 4 + 1, c.in_channels, height // 8, width // 8)
        self.prompt = torch.randn(1, c.max_text_seq_length, c.text_embed_dim)
        self.shift_shape = (1, 1, 1, height // 8, width // 8)
        grid = (height // 16, width // 16)
        self.rotary = get_3d_rotary_pos_embed(c.attention_head_dim, ((0, 0), grid), grid, self.latents.shape[1])

    def predict(self, x, t, prompt):
        return self.model(x, prompt, t.expand(len(x)), image_rotary_emb=self.rotary, return_dict=False)[0]

    def target(self, x0, noise, a):
        return a.sqrt() * noise - (1 - a).sqrt() * x0

    def step(self, prediction, n, x):
        timesteps = self.scheduler.timesteps
        found, self.x0 = self.scheduler.step(
            prediction, self.x0 if n else None, timesteps[n], timesteps[n - 1] if n else None, x, return_dict=False
        )
        return found


class GLoRA(nn.Module):
    """The published module: gate pooled over batch and tokens, dropout after lora_up."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear
        self.down = nn.Parameter(torch.randn(RANK, linear.in_features) / RANK)
        self.up = nn.Parameter(torch.randn(linear.out_features, RANK) * 0.01)
        bound = 1 / math.sqrt(linear.in_features)
        self.gate = nn.Parameter(torch.empty(1, linear.in_features).uniform_(-bound, bound))

    def forward(self, x):
        gate = torch.sigmoid(F.linear(x, self.gate)).mean(0).mean(0)
        update = F.dropout(F.linear(F.linear(x, self.down), self.up), 0.1, self.training)
        return self.linear(x) + update * gate


def inject(model, rules):
    paths = []
    for name, module in model.named_modules():
        names = rules.get(type(module).__name__)
        if names:
            paths += [
                f"{name}.{below}"
                for below, linear in module.named_modules()
                if isinstance(linear, nn.Linear) and any(part in names for part in below.split("."))
            ]
    adapters = []
    for path in paths:
        parent, _, leaf = path.rpartition(".")
        glora = GLoRA(model.get_submodule(path))
        setattr(model.get_submodule(parent), leaf, glora)
        adapters.append(glora)
    return adapters


def checkpoint_segments(model, kinds):
    from torch.utils.checkpoint import checkpoint

    for module in model.modules():
        if type(module).__name__ in kinds:
            plain = module.forward
            module.forward = lambda *a, _plain=plain, **k: checkpoint(_plain, *a, use_reentrant=False, **k)


torch.manual_seed(0)
backbone = next(kind for kind in (UNet3D, CogVideoX) if (Path(source) / kind.folder).is_dir())()
model, latents, prompt = backbone.model.eval().requires_grad_(False), backbone.latents, backbone.prompt
alphas = backbone.scheduler.alphas_cumprod.float()

if mode == "frozen":

    def unit():
        x = latents.clone().requires_grad_(True)
        backbone.predict(x, torch.tensor([500]), prompt).sum().backward()

    serve(unit)
    sys.exit()

adapters = inject(model, backbone.rules)
if mode == "sample":

    @torch.no_grad()
    def unit():
        backbone.scheduler.set_timesteps(SAMPLING_STEPS)
        x, embeddings = latents, torch.cat([prompt, prompt])
        for n, t in enumerate(backbone.scheduler.timesteps):
            unconditional, conditional = backbone.predict(torch.cat([x, x]), t, embeddings).chunk(2)
            x = backbone.step(unconditional + backbone.guidance * (conditional - unconditional), n, x)
        return SAMPLING_STEPS

    serve(unit)
    sys.exit()

if mode in ("train-checkpointed", "run"):
    checkpoint_segments(model, backbone.segments)
for glora in adapters:
    glora.train()
parameters = [p for glora in adapters for p in glora.parameters(recurse=False)]
optimizer = torch.optim.AdamW(parameters, lr=5e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-4)


def training_step():
    timestep = torch.randint(0, 1000, (1,))
    noise = torch.randn_like(latents)
    a = alphas[timestep].view(-1, 1, 1, 1, 1)
    prediction = backbone.predict(a.sqrt() * latents + (1 - a).sqrt() * noise, timestep, prompt)
    shift = torch.randn(backbone.shift_shape)
    loss = backbone.video_weight * F.mse_loss(prediction + shift, backbone.target(latents, noise, a))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


if mode == "run":
    print("ready", flush=True)
    for _ in range(RUN_STEPS):
        training_step()
else:
    serve(training_step)
