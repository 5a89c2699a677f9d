"""What jointtuner is measured against: the same work in Python, eager, with the diffusers model and GLoRA as torch modules.

usage: eager.py MODE PIPELINE_DIR [VIDEO]
MODE: train | train-checkpointed | frozen | sample | decode | run STEPS   (see bench/README.md)
Prints `ready`, then for every line on standard input does one unit of work and prints the seconds it took.
`run STEPS` prints `ready` and takes STEPS checkpointed training steps at once.
"""
import sys
import time

mode, source = sys.argv[1], sys.argv[2]
FRAMES, LATENT, TOKENS, RANK, SAMPLING_STEPS = 8, 32, 77, 32, 4
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
        with av.open(sys.argv[3]) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            wanted, picked, before = 0, [], None
            start = None
            for frame in container.decode(stream):
                start = frame.time if start is None else start
                while len(picked) < DECODE_FRAMES and before is not None and frame.time - start > wanted / DECODE_FPS + 1e-3:
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
                out.append(image[top:top + DECODE_SIZE, left:left + DECODE_SIZE])
            return len(np.stack(out)) and 1

    serve(unit)


if mode == "decode":
    decode()
    sys.exit()

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet3DConditionModel

torch.set_num_threads(2)


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


def inject(unet):
    rules = {"Transformer2DModel": ("attn1", "ff"), "TransformerTemporalModel": ("attn1", "attn2", "ff")}
    paths = []
    for name, module in unet.named_modules():
        names = rules.get(type(module).__name__)
        if names:
            paths += [f"{name}.{below}" for below, linear in module.named_modules()
                      if isinstance(linear, nn.Linear) and any(part in names for part in below.split("."))]
    adapters = []
    for path in paths:
        parent, _, leaf = path.rpartition(".")
        glora = GLoRA(unet.get_submodule(path))
        setattr(unet.get_submodule(parent), leaf, glora)
        adapters.append(glora)
    return adapters


def checkpoint_segments(unet):
    """The published trainer's segments: each resnet, temporal convolution, spatial and temporal transformer."""
    from torch.utils.checkpoint import checkpoint
    kinds = ("ResnetBlock2D", "TemporalConvLayer", "Transformer2DModel", "TransformerTemporalModel")
    for module in unet.modules():
        if type(module).__name__ in kinds:
            plain = module.forward
            module.forward = lambda *a, _plain=plain, **k: checkpoint(_plain, *a, use_reentrant=False, **k)


unet = UNet3DConditionModel.from_pretrained(source, subfolder="unet").eval().requires_grad_(False)
torch.manual_seed(0)
latents = torch.randn(1, 4, FRAMES, LATENT, LATENT)
prompt = torch.randn(1, TOKENS, unet.config.cross_attention_dim)
scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1)
alphas = scheduler.alphas_cumprod

if mode == "frozen":
    def unit():
        x = latents.clone().requires_grad_(True)
        unet(x, torch.tensor([500]), prompt).sample.sum().backward()
    serve(unit)
    sys.exit()

adapters = inject(unet)
if mode == "sample":
    @torch.no_grad()
    def unit():
        scheduler.set_timesteps(SAMPLING_STEPS)
        x, embeddings = latents, torch.cat([prompt, prompt])
        for t in scheduler.timesteps:
            pair = unet(torch.cat([x, x]), t, encoder_hidden_states=embeddings, return_dict=False)[0]
            unconditional, conditional = pair.chunk(2)
            prediction = unconditional + 12 * (conditional - unconditional)
            # as the pipeline does: the scheduler works on frames as a batch
            b, c, f, h, w = x.shape
            flat = x.permute(0, 2, 1, 3, 4).reshape(b * f, c, h, w)
            step = prediction.permute(0, 2, 1, 3, 4).reshape(b * f, c, h, w)
            x = scheduler.step(step, t, flat).prev_sample[None].reshape(b, f, c, h, w).permute(0, 2, 1, 3, 4)
        return SAMPLING_STEPS
    serve(unit)
    sys.exit()

if mode in ("train-checkpointed", "run"):
    checkpoint_segments(unet)
for glora in adapters:
    glora.train()
parameters = [p for glora in adapters for p in glora.parameters(recurse=False)]
optimizer = torch.optim.AdamW(parameters, lr=5e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-4)


def training_step():
    timestep = torch.randint(0, 1000, (1,))
    noise = torch.randn_like(latents)
    a = alphas[timestep].view(-1, 1, 1, 1, 1)
    prediction = unet(a.sqrt() * latents + (1 - a).sqrt() * noise, timestep, prompt).sample
    shift = torch.randn(1, 1, 1, LATENT, LATENT)
    loss = 10 * F.mse_loss(prediction + shift, noise)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


if mode == "run":
    print("ready", flush=True)
    for _ in range(int(sys.argv[3])):
        training_step()
else:
    serve(training_step)
