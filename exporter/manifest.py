"""bundle.json: everything the C++ side must know about a backbone, as data."""

import hashlib
import inspect

from .failure import ExportError

DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def schedule(scheduler):
    """The scheduler's constants, with the defaults of its own class made explicit. Keys that its class lacks get DDIM's
    neutral value."""
    name = type(scheduler).__name__
    known = {
        key: parameter.default for key, parameter in inspect.signature(type(scheduler).__init__).parameters.items()
    }
    config = {key: scheduler.config.get(key, known[key]) for key in known if key not in ("self", "kwargs")}

    def refuse(key, value, reason):
        raise ExportError(f"scheduler {name}: {key} = {value} {reason}")

    if config.get("trained_betas") is not None:
        refuse(
            "trained_betas", "a list", "is not supported: expected betas from beta_schedule, beta_start and beta_end"
        )
    if config.get("thresholding"):
        refuse("thresholding", True, "is not supported: set it to false in scheduler_config.json")
    if config["beta_schedule"] not in ("linear", "scaled_linear", "squaredcos_cap_v2"):
        refuse(
            "beta_schedule",
            config["beta_schedule"],
            "is not supported: expected linear, scaled_linear or squaredcos_cap_v2",
        )
    if config.get("prediction_type", "epsilon") not in ("epsilon", "v_prediction"):
        refuse("prediction_type", config["prediction_type"], "is not supported: expected epsilon or v_prediction")
    if config.get("timestep_spacing", "leading") not in ("leading", "trailing", "linspace"):
        refuse(
            "timestep_spacing", config["timestep_spacing"], "is not supported: expected leading, trailing or linspace"
        )
    return {
        "train_timesteps": config["num_train_timesteps"],
        "beta_schedule": config["beta_schedule"],
        "beta_start": config["beta_start"],
        "beta_end": config["beta_end"],
        "prediction_type": config.get("prediction_type", "epsilon"),
        "rescale_zero_snr": bool(config.get("rescale_betas_zero_snr", False)),
        "snr_shift": float(config.get("snr_shift_scale", 1.0)),
        "timestep_spacing": config.get("timestep_spacing", "leading"),
        "steps_offset": config.get("steps_offset", 0),
        # PNDM spells set_alpha_to_one as DDIM does; solvers without the key end at the first training step's alpha
        "final_alpha_one": bool(config.get("set_alpha_to_one", False)),
        # CogVideoX' schedulers have the key, by default on, and never clip
        "clip_sample": bool(config.get("clip_sample", False)) and not name.startswith("CogVideoX"),
        "clip_sample_range": float(config.get("clip_sample_range", 1.0)),
        "default_sampler": {"DPMSolverMultistepScheduler": "dpmpp_2m", "CogVideoXDPMScheduler": "dpmpp_2m_sde"}.get(
            name, "ddim"
        ),
    }


def file_entry(path):
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return {"sha256": digest.hexdigest(), "bytes": path.stat().st_size}


def bundle_manifest(family, pipeline_class, source_name, scheduler, text, preferred, dtypes):
    """bundle.json without `files` and adapter_rules, which need the written files. dtypes: by role."""
    import diffusers
    import torch
    import transformers

    return {
        "format": "jointtuner-bundle",
        "version": 2,
        "family": family.name,
        "source": {"class": pipeline_class, "name": source_name},
        "files": {},
        "exporter": {
            "torch": torch.__version__.split("+")[0],
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        },
        "denoiser": {
            "file": "denoiser.pt",
            "dtype": DTYPES[dtypes["denoiser"]],
            **family.denoiser(),
            "module_root": family.root,
            "adapter_rules": [],
            "gate_init": family.gate_init,
            "segments": list(family.segments),
        },
        "schedule": schedule(scheduler),
        "latents": family.latents(),
        "autoencoder": {"file": "autoencoder.pt", "dtype": DTYPES[dtypes["autoencoder"]], **family.autoencoder()},
        "text": {"file": "text_encoder.pt", "dtype": DTYPES[dtypes["text_encoder"]], **text},
        "preferred": preferred,
    }
