"""Goldens of tests/diffusion, from the real diffusers schedulers (diffusers 0.42.1, torch 2.11.0).

    python scripts/goldens/diffusion.py tests/goldens/diffusion/schedulers.safetensors

Inputs follow index formulas that the C++ tests repeat: wave(phase)[i] = sin(1.7 i + phase) in float64, cast to float32; the "denoiser" is
0.7 sin(x) + 0.2 cos(0.01 t + 0.37 i + shift), shift 0 for the conditional and 0.4 for the unconditional half. The schedulers run as
shipped, in float32.
"""

import sys

import torch
from diffusers import CogVideoXDDIMScheduler, DDIMInverseScheduler, DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from safetensors.torch import save_file

SHAPE = (1, 2, 3, 4, 5)
COUNT = 120

ZEROSCOPE = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="epsilon", timestep_spacing="leading", steps_offset=1)
LINEAR = dict(beta_schedule="linear", beta_start=1e-4, beta_end=0.02, prediction_type="epsilon", timestep_spacing="linspace", steps_offset=0)
COSINE = dict(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", timestep_spacing="leading", steps_offset=0)
ZERO_SNR = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction", timestep_spacing="trailing",
                rescale_betas_zero_snr=True)


def wave(phase, shape=SHAPE):
    count = 1
    for size in shape:
        count *= size
    return torch.sin(torch.arange(count, dtype=torch.float64) * 1.7 + phase).reshape(shape).float()


def denoise(x, t, guidance):
    index = torch.arange(COUNT, dtype=torch.float64).reshape(SHAPE)

    def one(shift):
        return (0.7 * torch.sin(x.double()) + 0.2 * torch.cos(0.01 * float(t) + 0.37 * index + shift)).float()

    if guidance == 1:
        return one(0.0)
    unconditional, conditional = one(0.4), one(0.0)
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
    """sum of (i + 1) * timestep_i for each number of steps; -1 where a timestep leaves the table or there are not `steps` of them."""
    result = []
    for steps in range(1, 1001):
        scheduler.set_timesteps(steps)
        t = torch.as_tensor(scheduler.timesteps).long()
        valid = len(t) == steps and int(t.min()) >= 0 and int(t.max()) < 1000
        result.append(int((t * torch.arange(1, len(t) + 1)).sum()) if valid else -1)
    return torch.tensor(result)


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
    out["ddim/cogvideox_2b_15_6"] = run(CogVideoXDDIMScheduler(**ZERO_SNR, snr_shift_scale=3.0, clip_sample=False), 15, 6)

    for name, config, steps, guidance in (("zeroscope_20_12", ZEROSCOPE, 20, 12), ("zeroscope_2_3", ZEROSCOPE, 2, 3), ("zeroscope_1_1", ZEROSCOPE, 1, 1),
                                          ("linear_9_3", LINEAR, 9, 3), ("cosine_16_3", COSINE, 16, 3), ("zero_snr_25_6", ZERO_SNR, 25, 6)):
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
    save_file({name: tensor.contiguous() for name, tensor in out.items()}, sys.argv[1])
    for name, tensor in out.items():
        print(name, tuple(tensor.shape), float(tensor.double().abs().max()), bool(torch.isfinite(tensor.double()).all()))


main()
