"""Goldens of module train, independent of the C++ code: one training micro-step written from the documented random
draws and the paper's formulas (torch autograd, plain GLoRA), and five steps of torch.optim.AdamW.

    python -m tests.goldens.make.train [OUT_DIR]   (default tests/goldens/train)"""

import pathlib
import sys

import torch
from safetensors.torch import save_file

from tests.oracle.named_random import generator

out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/goldens/train")
out.mkdir(parents=True, exist_ok=True)

SEED, MICRO_STEP, SCALING_FACTOR = 17, 7, 0.18215
IMAGE, VIDEO = "image", "video"
KINDS = [IMAGE, IMAGE, VIDEO, VIDEO]  # of the items
BATCH = [2, 0, 3, 1]  # items in the order of drawing
CHANNELS, FRAMES, HEIGHT, WIDTH, RANK, TOKENS = 4, 6, 3, 5, 2, 3
WEIGHT = {IMAGE: 1.0, VIDEO: 10.0}
STRENGTH = 0.75


def formula(shape, offset):
    """Values in [-0.5, 0.5) that any language can make: element i is ((37 i + 101 offset) mod 211) / 211 - 0.5."""
    count = torch.Size(shape).numel()
    return (((torch.arange(count) * 37 + offset * 101) % 211).double() / 211 - 0.5).float().reshape(shape)


def posterior(item):
    frames = 1 if KINDS[item] == IMAGE else FRAMES
    shape = (frames, CHANNELS, HEIGHT, WIDTH)
    return formula(shape, item), formula(shape, 10 + item) + 0.75  # mean, std [F,C,h,w]


def embedding(item):
    return formula((1, TOKENS, 2), 20 + item)


def denoise(adapter, latents, timestep, prompt):
    """A linear with its gated low-rank update over the channels of every latent, one gate a sample."""
    down, gate, up = adapter
    batch, _, frames, height, width = latents.shape
    x = latents.permute(0, 2, 3, 4, 1).reshape(batch, -1, CHANNELS)
    g = torch.sigmoid(x @ gate.T).mean(dim=1, keepdim=True)
    y = x @ formula((CHANNELS, CHANNELS), 40).T + g * (x @ down.T @ up.T)
    y = y.reshape(batch, frames, height, width, CHANNELS).permute(0, 4, 1, 2, 3)
    factor = 1 - timestep.float() / 1000
    return y * factor.reshape(-1, 1, 1, 1, 1) + prompt.mean(dim=(1, 2)).reshape(-1, 1, 1, 1, 1), g


def micro_step(prediction_type, video_loss):
    adapter = [
        formula(s, o).requires_grad_() for s, o in [((RANK, CHANNELS), 31), ((1, CHANNELS), 32), ((CHANNELS, RANK), 33)]
    ]
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas_cumprod = torch.cumprod(1 - betas, 0).float()
    timestep = torch.randint(0, 1000, (len(BATCH),), generator=generator(SEED, MICRO_STEP, "timestep"))
    seed = torch.randint(0, 2**63 - 1, (1,), generator=generator(SEED, MICRO_STEP, "dropout"))
    draws = {name: generator(SEED, MICRO_STEP, name) for name in ("posterior", "noise", "prediction_shift")}
    losses, gates, total = torch.zeros(len(BATCH)), torch.zeros(len(BATCH)), 0
    for kind in (IMAGE, VIDEO):
        places = [p for p, item in enumerate(BATCH) if KINDS[item] == kind]
        mean, std = (torch.stack([posterior(BATCH[p])[i] for p in places]).transpose(1, 2) for i in (0, 1))
        x0 = (mean + std * torch.randn(mean.shape, generator=draws["posterior"])) * SCALING_FACTOR
        noise = torch.randn(x0.shape, generator=draws["noise"])
        a = alphas_cumprod[timestep[places]].reshape(-1, 1, 1, 1, 1)
        noisy = a.sqrt() * x0 + (1 - a).sqrt() * noise
        target = noise if prediction_type == "epsilon" else a.sqrt() * noise - (1 - a).sqrt() * x0
        prediction, g = denoise(adapter, noisy, timestep[places], torch.cat([embedding(BATCH[p]) for p in places]))
        residual = prediction - target
        if kind == VIDEO and video_loss == "ait":
            residual = residual + STRENGTH * torch.randn(
                len(places), 1, 1, HEIGHT, WIDTH, generator=draws["prediction_shift"]
            )
        for i, p in enumerate(places):
            item_loss = (residual[i] ** 2).mean()
            losses[p], gates[p] = item_loss.detach(), g[i].detach()
            total = total + WEIGHT[kind] * item_loss / len(BATCH)
    total.backward()
    name = f"{prediction_type}_{video_loss}."
    return {
        name + "timestep": timestep,
        name + "dropout_seed": seed,
        name + "losses": losses,
        name + "loss": total.detach(),
        name + "gradient": torch.cat([p.grad.flatten() for p in adapter]),
        name + "mean_gate": gates.mean(),
    }


save_file(
    {**micro_step("epsilon", "ait"), **micro_step("epsilon", "diffusion"), **micro_step("v_prediction", "ait")},
    out / "step.safetensors",
    metadata={"torch": torch.__version__},
)

parameter = torch.nn.Parameter(formula((37,), 1))
adamw = torch.optim.AdamW([parameter], lr=1e-2, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1)
after = []
for step in range(5):
    parameter.grad = formula((37,), 50 + step)
    adamw.param_groups[0]["lr"] = 1e-2 * (step + 1)
    adamw.step()
    after.append(parameter.detach().clone())
state = adamw.state[parameter]
save_file(
    {"parameters": torch.stack(after), "exp_avg": state["exp_avg"], "exp_avg_sq": state["exp_avg_sq"]},
    out / "adamw.safetensors",
    metadata={"torch": torch.__version__},
)
