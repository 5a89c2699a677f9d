"""bundle.json: everything the C++ side must know about a backbone, as data."""
import hashlib
import inspect

from torch import nn

from .failure import ExportError
from .wrappers import spatial_compression

DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
# (ancestor class, names, group): a linear counts when a name is one of the dot-separated parts of its path below the ancestor
ADAPTER_RULES = (("Transformer2DModel", ("attn1", "ff"), "spatial"), ("TransformerTemporalModel", ("attn1", "attn2", "ff"), "temporal"))
# Units of activation checkpointing, as the published UNet checkpoints them: each resnet, temporal convolution, spatial and temporal transformer.
SEGMENTS = (r"(down_blocks\.[0-9]+|up_blocks\.[0-9]+|mid_block)\.(resnets|temp_convs|attentions|temp_attentions)\.[0-9]+", r"transformer_in")


def adapter_sites(unet, ancestor_class, names):
    """Paths of the linears of one rule, in named_modules order (the order of the published adapter lists)."""
    sites = []
    for path, module in unet.named_modules():
        if type(module).__name__ != ancestor_class:
            continue
        for below, linear in module.named_modules():
            if isinstance(linear, nn.Linear) and set(names) & set(below.split(".")):
                sites.append(f"{path}.{below}")
    return sites


def adapter_rules(unet):
    rules = []
    for ancestor, names, group in ADAPTER_RULES:
        sites = adapter_sites(unet, ancestor, names)
        if not sites:
            raise ExportError(f"the UNet holds no linear layer under {ancestor} named {' or '.join(names)}: this UNet has nothing to adapt there")
        rules.append({"ancestor_class": ancestor, "names": list(names), "group": group, "sites": len(sites)})
    return rules


def schedule(scheduler):
    """The scheduler's constants, with the defaults of its own class made explicit. Keys that its class lacks get DDIM's neutral value."""
    name = type(scheduler).__name__
    known = {key: parameter.default for key, parameter in inspect.signature(type(scheduler).__init__).parameters.items()}
    config = {key: scheduler.config.get(key, known[key]) for key in known if key not in ("self", "kwargs")}

    def refuse(key, value, reason):
        raise ExportError(f"scheduler {name}: {key} = {value} {reason}")

    if config.get("trained_betas") is not None:
        refuse("trained_betas", "a list", "is not supported: expected betas from beta_schedule, beta_start and beta_end")
    if config.get("thresholding"):
        refuse("thresholding", True, "is not supported: set it to false in scheduler_config.json")
    if config["beta_schedule"] not in ("linear", "scaled_linear", "squaredcos_cap_v2"):
        refuse("beta_schedule", config["beta_schedule"], "is not supported: expected linear, scaled_linear or squaredcos_cap_v2")
    if config.get("prediction_type", "epsilon") not in ("epsilon", "v_prediction"):
        refuse("prediction_type", config["prediction_type"], "is not supported: expected epsilon or v_prediction")
    if config.get("timestep_spacing", "leading") not in ("leading", "trailing", "linspace"):
        refuse("timestep_spacing", config["timestep_spacing"], "is not supported: expected leading, trailing or linspace")
    return {
        "train_timesteps": config["num_train_timesteps"], "beta_schedule": config["beta_schedule"],
        "beta_start": config["beta_start"], "beta_end": config["beta_end"],
        "prediction_type": config.get("prediction_type", "epsilon"), "rescale_zero_snr": bool(config.get("rescale_betas_zero_snr", False)),
        "snr_shift": 1.0, "timestep_spacing": config.get("timestep_spacing", "leading"), "steps_offset": config.get("steps_offset", 0),
        # PNDM spells set_alpha_to_one as DDIM does; solvers without the key end at the first training step's alpha
        "final_alpha_one": bool(config.get("set_alpha_to_one", False)),
        "clip_sample": bool(config.get("clip_sample", False)), "clip_sample_range": float(config.get("clip_sample_range", 1.0)),
        "default_sampler": "dpmpp_2m" if name == "DPMSolverMultistepScheduler" else "ddim",
    }


def check_vae(vae):
    for key in ("shift_factor", "latents_mean", "latents_std"):
        if vae.config.get(key) is not None:
            raise ExportError(f"vae: {key} is set, and UNet3D pipelines scale latents by scaling_factor alone: this VAE belongs to another kind of model")


def file_entry(path):
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return {"sha256": digest.hexdigest(), "bytes": path.stat().st_size}


def bundle_manifest(parts, source_name, dtype, preferred, text):
    """bundle.json without `files`, which need the written files."""
    import diffusers
    import torch
    import transformers
    check_vae(parts.vae)
    return {
        "format": "jointtuner-bundle", "version": 1, "family": "unet3d",
        "source": {"class": parts.pipeline_class, "name": source_name}, "dtype": DTYPES[dtype], "files": {},
        "exporter": {"torch": torch.__version__.split("+")[0], "diffusers": diffusers.__version__, "transformers": transformers.__version__},
        "denoiser": {"file": "denoiser.pt", "inputs": ["latents", "timestep", "prompt_embedding"], "layout": "BCFHW", "module_root": "unet",
                     "in_channels": parts.unet.config.in_channels, "height_multiple": 1, "width_multiple": 1,
                     "frames_minimum": 1, "frames_multiple": 1, "frames_remainder": 0,
                     "adapter_rules": adapter_rules(parts.unet), "gate_init": "uniform", "segments": list(SEGMENTS)},
        "schedule": schedule(parts.scheduler),
        "latents": {"channels": parts.vae.config.latent_channels, "spatial_compression": spatial_compression(parts.vae), "temporal_compression": 1,
                    "scaling_factor": parts.vae.config.scaling_factor},
        "autoencoder": {"file": "autoencoder.pt", "kind": "2d"}, "text": text, "preferred": preferred,
    }
