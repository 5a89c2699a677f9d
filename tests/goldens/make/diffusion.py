"""Goldens of tests/diffusion, from the real diffusers schedulers (diffusers 0.42.1, torch 2.11.0).

    python -m tests.goldens.make.diffusion tests/goldens/diffusion

Writes schedulers.safetensors and cogvideox.safetensors. Inputs follow index formulas that the C++ tests repeat:
wave(phase)[i] = sin(1.7 i + phase) in float64, cast to float32; the "denoiser" is 0.7 sin(x) + 0.2 cos(0.01 t + 0.37 i
+ shift), shift 0 for the conditional and 0.4 for the unconditional half. The schedulers run as shipped, in float32; the
noise of sampler step n is wave(100 + n)."""

import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXPipeline,
    DDIMInverseScheduler,
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
)
from diffusers.schedulers import scheduling_dpm_cogvideox
from safetensors.torch import save_file

SHAPE = (1, 2, 3, 4, 5)
COUNT = 120

ZEROSCOPE = dict(
    beta_schedule="scaled_linear",
    beta_start=0.00085,
    beta_end=0.012,
    prediction_type="epsilon",
    timestep_spacing="leading",
    steps_offset=1,
)
LINEAR = dict(
    beta_schedule="linear",
    beta_start=1e-4,
    beta_end=0.02,
    prediction_type="epsilon",
    timestep_spacing="linspace",
    steps_offset=0,
)
COSINE = dict(
    beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", timestep_spacing="leading", steps_offset=0
)
ZERO_SNR = dict(
    beta_schedule="scaled_linear",
    beta_start=0.00085,
    beta_end=0.012,
    prediction_type="v_prediction",
    timestep_spacing="trailing",
    rescale_betas_zero_snr=True,
)


def wave(phase, shape=SHAPE):
    count = 1
    for size in shape:
        count *= size
    return torch.sin(torch.arange(count, dtype=torch.float64) * 1.7 + phase).reshape(shape).float()


def one_prediction(x, t, shift):
    index = torch.arange(COUNT, dtype=torch.float64).reshape(SHAPE)
    return (0.7 * torch.sin(x.double()) + 0.2 * torch.cos(0.01 * float(t) + 0.37 * index + shift)).float()


def denoise(x, t, guidance):
    if guidance == 1:
        return one_prediction(x, t, 0.0)
    unconditional, conditional = one_prediction(x, t, 0.4), one_prediction(x, t, 0.0)
    return unconditional + guidance * (conditional - unconditional)


def run(scheduler, steps, guidance, eta=None):
    scheduler.set_timesteps(steps)
    x = wave(0.5)
    for n, t in enumerate(scheduler.timesteps):
        prediction = denoise(x, t, guidance)
        if eta is None:
            x = scheduler.step(prediction, t, x, return_dict=False)[0]
        else:
            x = scheduler.step(prediction, t, x, eta=eta, variance_noise=wave(float(n)), return_dict=False)[0]
    return x


def fingerprints(scheduler):
    """sum of (i + 1) * timestep_i for each number of steps; -1 where a timestep leaves the table or there are not
    `steps` of them."""
    result = []
    for steps in range(1, 1001):
        scheduler.set_timesteps(steps)
        t = torch.as_tensor(scheduler.timesteps).long()
        valid = len(t) == steps and int(t.min()) >= 0 and int(t.max()) < 1000
        result.append(int((t * torch.arange(1, len(t) + 1)).sum()) if valid else -1)
    return torch.tensor(result)


class StandIn(torch.nn.Module):
    """The formula above as the pipeline's transformer: latents [B,F,C,H,W], unconditional first."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(
            patch_size=1, patch_size_t=None, in_channels=SHAPE[1], use_rotary_positional_embeddings=False
        )
        self.dtype, self.device = torch.float32, torch.device("cpu")

    def cache_context(self, name):
        return nullcontext()

    def forward(self, hidden_states, encoder_hidden_states, timestep, **_):
        shifts = (0.4, 0.0) if len(hidden_states) == 2 else (0.0,)
        halves = [
            one_prediction(x[None].transpose(1, 2), t, shift) for x, t, shift in zip(hidden_states, timestep, shifts)
        ]
        return (torch.cat(halves).transpose(1, 2),)


def pipeline_run(scheduler, steps, guidance, dynamic):
    """Latents after each step and each step's guidance scale, from CogVideoXPipeline itself. Its scheduler draws twice
    in a second-order step and drops the first draw, so both draws of a step give the same noise."""
    state = SimpleNamespace(step=0, latents=[], guidance=[])
    scheduling_dpm_cogvideox.randn_tensor = lambda shape, **_: wave(100.0 + state.step).transpose(1, 2).reshape(shape)

    def after_step(pipe, n, t, tensors):
        state.step = n + 1
        state.latents.append(tensors["latents"].transpose(1, 2))
        state.guidance.append(pipe.guidance_scale)
        return {}

    pipe = CogVideoXPipeline(tokenizer=None, text_encoder=None, vae=None, transformer=StandIn(), scheduler=scheduler)
    pipe.set_progress_bar_config(disable=True)
    embeds = torch.zeros(1, 1, 1)
    pipe(
        prompt_embeds=embeds,
        negative_prompt_embeds=embeds,
        height=8 * SHAPE[3],
        width=8 * SHAPE[4],
        num_frames=4 * SHAPE[2] - 3,
        num_inference_steps=steps,
        guidance_scale=guidance,
        use_dynamic_cfg=dynamic,
        latents=wave(0.5).transpose(1, 2),
        output_type="latent",
        callback_on_step_end=after_step,
        callback_on_step_end_tensor_inputs=["latents"],
    )
    return torch.cat(state.latents), torch.tensor(state.guidance, dtype=torch.float64)


def published_loss(scheduler, timestep):
    """The published CogVideoX video loss: prediction + shift turned into x0, weighted with 1 / (1 - alphas_cumprod)."""
    clean, noise, prediction, t = wave(0.1), wave(0.2), wave(0.9), torch.tensor([timestep])
    shift = wave(0.3, (1, 1, 1) + SHAPE[3:])
    x0 = scheduler.get_velocity(prediction + shift, scheduler.add_noise(clean, noise, t), t)
    weight = 1 / (1 - scheduler.alphas_cumprod[t].view(1, 1, 1, 1, 1))
    return (weight * (x0 - clean) ** 2).mean().float()


LOSS_TIMESTEPS = (0, 1, 17, 250, 500, 750, 998, 999)


def cogvideox():
    out = {}
    for model, shift in (("2b", 3.0), ("5b", 1.0)):
        config = dict(ZERO_SNR, snr_shift_scale=shift, clip_sample=False)
        ddim, dpm = CogVideoXDDIMScheduler(**config), CogVideoXDPMScheduler(**config)
        assert torch.equal(ddim.alphas_cumprod, dpm.alphas_cumprod)
        out["alphas/" + model] = dpm.alphas_cumprod
        out["losses/" + model] = torch.stack([published_loss(dpm, t) for t in LOSS_TIMESTEPS])
        shape, timestep = (4, 2, 3, 2, 2), torch.tensor([0, 17, 998, 999])
        out["noisy/" + model] = dpm.add_noise(wave(0.1, shape), wave(0.2, shape), timestep)
        out["velocity/" + model] = dpm.get_velocity(wave(0.1, shape), wave(0.2, shape), timestep)
        # 15, 7 and 30 do not divide 1000; 15 and 7 end at timestep 0, not after it.
        for steps, guidance, dynamic in (
            (50, 6, True),
            (30, 6, False),
            (15, 6, True),
            (7, 1, True),
            (4, 0.5, True),
            (2, 6, False),
            (1, 3, True),
        ):
            case = f"{model}_{steps}_{guidance}_{'dynamic' if dynamic else 'constant'}"
            out["ddim/" + case], scales = pipeline_run(ddim, steps, guidance, dynamic)
            out["dpmpp_2m_sde/" + case], scales = pipeline_run(dpm, steps, guidance, dynamic)
            out["guidance/" + case] = scales
    # Another schedule through the same sampler: epsilon, no zero SNR, a last step to alphas_cumprod[0].
    out["dpmpp_2m_sde/leading_10_3_constant"], _ = pipeline_run(
        CogVideoXDPMScheduler(**ZEROSCOPE, set_alpha_to_one=False, clip_sample=False, snr_shift_scale=1.0), 10, 3, False
    )
    for spacing in ("leading", "trailing", "linspace"):
        config = dict(ZEROSCOPE, timestep_spacing=spacing)
        for kind in (CogVideoXDDIMScheduler, CogVideoXDPMScheduler):  # the lists are tested once, as DDIM's
            assert torch.equal(fingerprints(kind(**config)), fingerprints(DDIMScheduler(**config)))
    return out


def save(tensors, path):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    for name, tensor in tensors.items():
        print(
            name, tuple(tensor.shape), float(tensor.double().abs().max()), bool(torch.isfinite(tensor.double()).all())
        )


def main():
    out = {}
    ddim = dict(clip_sample=False)
    out["alphas/zeroscope"] = DDIMScheduler(**ZEROSCOPE, **ddim).alphas_cumprod
    out["alphas/linear"] = DDIMScheduler(**LINEAR, **ddim).alphas_cumprod
    out["alphas/cosine"] = DDIMScheduler(**COSINE, **ddim).alphas_cumprod
    out["alphas/zero_snr"] = DDIMScheduler(**ZERO_SNR, **ddim).alphas_cumprod
    out["alphas/cogvideox_2b"] = CogVideoXDDIMScheduler(**ZERO_SNR, snr_shift_scale=3.0).alphas_cumprod.float()
    out["alphas/cogvideox_5b"] = CogVideoXDDIMScheduler(**ZERO_SNR, snr_shift_scale=1.0).alphas_cumprod.float()

    out["ddim/zeroscope_30_12"] = run(DDIMScheduler(**ZEROSCOPE, set_alpha_to_one=False, **ddim), 30, 12)
    out["ddim/zeroscope_7_1"] = run(DDIMScheduler(**ZEROSCOPE, set_alpha_to_one=False, **ddim), 7, 1)
    out["ddim/zeroscope_10_3_eta"] = run(DDIMScheduler(**ZEROSCOPE, set_alpha_to_one=False, **ddim), 10, 3, eta=0.7)
    out["ddim/linear_20_3_clip"] = run(DDIMScheduler(**LINEAR, clip_sample=True, clip_sample_range=0.8), 20, 3)
    out["ddim/cosine_12_3"] = run(DDIMScheduler(**COSINE, **ddim), 12, 3)
    out["ddim/zero_snr_15_6"] = run(DDIMScheduler(**ZERO_SNR, **ddim), 15, 6)
    out["ddim/cogvideox_2b_15_6"] = run(
        CogVideoXDDIMScheduler(**ZERO_SNR, snr_shift_scale=3.0, clip_sample=False), 15, 6
    )

    for name, config, steps, guidance in (
        ("zeroscope_20_12", ZEROSCOPE, 20, 12),
        ("zeroscope_2_3", ZEROSCOPE, 2, 3),
        ("zeroscope_1_1", ZEROSCOPE, 1, 1),
        ("linear_9_3", LINEAR, 9, 3),
        ("cosine_16_3", COSINE, 16, 3),
        ("zero_snr_25_6", ZERO_SNR, 25, 6),
    ):
        out["dpmpp_2m/" + name] = run(DPMSolverMultistepScheduler(**config), steps, guidance)

    out["inversion/zeroscope_20_1"] = run(DDIMInverseScheduler(**ZEROSCOPE, set_alpha_to_one=False, **ddim), 20, 1)
    out["inversion/zero_snr_10_1"] = run(DDIMInverseScheduler(**ZERO_SNR, **ddim), 10, 1)

    for spacing in ("leading", "trailing", "linspace"):
        config = dict(ZEROSCOPE, timestep_spacing=spacing)
        out["timesteps/ddim_" + spacing] = fingerprints(DDIMScheduler(**config))
        out["timesteps/dpmpp_2m_" + spacing] = fingerprints(DPMSolverMultistepScheduler(**config))
        if spacing != "linspace":
            out["timesteps/inversion_" + spacing] = fingerprints(DDIMInverseScheduler(**config))

    ddpm = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    shape, timestep = (4, 2, 3, 2, 2), torch.tensor([0, 17, 500, 999])
    out["ddpm/noisy"] = ddpm.add_noise(wave(0.1, shape), wave(0.2, shape), timestep)
    out["ddpm/velocity"] = ddpm.get_velocity(wave(0.1, shape), wave(0.2, shape), timestep)
    save(out, Path(sys.argv[1]) / "schedulers.safetensors")
    save(cogvideox(), Path(sys.argv[1]) / "cogvideox.safetensors")


main()
