"""Reads a local diffusers folder strictly: the four parts of the right classes, every weight present, nothing downloaded."""
import json
from dataclasses import dataclass

from .failure import ExportError, one_line

# part -> (library, class) that this exporter knows; what C++ expects of each is written in wrappers.py
CLASSES = {
    "unet": ("diffusers", "UNet3DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
}
# The scheduler only supplies constants: these classes name the same betas by the same keys.
SCHEDULERS = ("DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "UniPCMultistepScheduler",
              "DEISMultistepScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "LMSDiscreteScheduler")
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": ("model", "pytorch_model")}


@dataclass
class Parts:
    """The loaded pipeline: eval mode, parameters frozen, weights in the dtype asked for."""
    pipeline_class: str
    unet: object
    vae: object
    text_encoder: object
    tokenizer_folder: object
    scheduler: object


def read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ExportError(f"{path} is missing: expected a diffusers folder with model_index.json and one folder for each part") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ExportError(f"{path} is not valid JSON ({one_line(error)}): copy the file again") from None


def check_index(folder):
    """model_index.json names every part with a class that this exporter knows; returns the pipeline's class name."""
    if not folder.is_dir():
        raise ExportError(f"{folder} is not a folder: give the local folder of a diffusers text-to-video pipeline")
    index = read_json(folder / "model_index.json")
    for part, (_, known) in {**CLASSES, "scheduler": ("diffusers", None)}.items():
        found = index.get(part)
        if not (isinstance(found, list) and len(found) == 2 and found[1]):
            raise ExportError(f"{folder}/model_index.json names no {part}: this exporter needs {', '.join(CLASSES)} and scheduler")
        name = {"CLIPTokenizerFast": "CLIPTokenizer"}.get(found[1], found[1])
        if known and name != known:
            raise ExportError(f"{folder}: {part} is a {found[1]}, and this exporter knows only {known} there: only UNet3D pipelines (ZeroScope, ModelScope) can be exported")
        if part == "scheduler" and name not in SCHEDULERS:
            raise ExportError(f"{folder}: scheduler is a {name}; known are {', '.join(SCHEDULERS)}")
        if not (folder / part).is_dir():
            raise ExportError(f"{folder}/{part} is missing though model_index.json names it: copy the whole diffusers folder")
    for part in WEIGHTS:
        declared = read_json(folder / part / "config.json")
        name = declared.get("_class_name") or (declared.get("architectures") or [None])[0]
        if name not in (None, CLASSES[part][1]):
            raise ExportError(f"{folder}/{part}/config.json is of class {name}, expected {CLASSES[part][1]}")
    return index.get("_class_name", "unknown")


def weight_variant(folder, part):
    """None when plain weight files exist, else the one variant present ("fp16" of model.fp16.safetensors)."""
    stems = WEIGHTS[part] if isinstance(WEIGHTS[part], tuple) else (WEIGHTS[part],)
    variants = set()
    for file in (folder / part).iterdir():
        for stem in stems:
            if not file.name.startswith(stem + ".") and not file.name.startswith(stem + "-"):
                continue
            pieces = [p for p in file.name[len(stem):].split(".") if p and not p.startswith("-")]
            if pieces[-1:] == ["json"] and "index" not in pieces:
                continue
            rest = [p for p in pieces if p not in ("safetensors", "bin", "index", "json")]
            variants.add(rest[0].split("-")[0] if rest else None)
    if not variants:
        raise ExportError(f"{folder}/{part} holds no weights: expected {stems[0]}.safetensors or .bin, in one file or in shards with their index")
    if None in variants:
        return None
    if len(variants) > 1:
        raise ExportError(f"{folder}/{part} holds only variants {sorted(variants)}: keep one of them")
    return variants.pop()


def load_model(model_class, folder, part, dtype):
    """Strict from_pretrained: an absent, foreign or misshapen weight is an error, never a random initialisation."""
    variant = weight_variant(folder, part)
    dtype_key = "dtype" if part == "text_encoder" else "torch_dtype"
    try:
        model, info = model_class.from_pretrained(folder / part, local_files_only=True, output_loading_info=True, variant=variant, **{dtype_key: dtype})
    except Exception as error:   # any library's failure to read a user's file ends the same way
        raise ExportError(f"{folder}/{part}: the weights cannot be loaded ({one_line(error)}): the files are truncated, of another model, or incomplete") from error
    for kind in ("missing_keys", "mismatched_keys"):
        names = sorted(str(n) for n in info.get(kind) or [])
        if names:
            raise ExportError(f"{folder}/{part}: {len(names)} {kind.replace('_', ' ')} in the weights, the first is {names[0]}: the files do not belong to this config.json")
    model.eval().requires_grad_(False)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ExportError(f"{folder}/{part}: {name} holds a non-finite number in {dtype}: damaged weights, or too large for this dtype (try --dtype fp32 or bf16)")
    return model


def load_parts(folder, dtype, progress):
    """All parts of a checked folder, in memory."""
    pipeline_class = check_index(folder)
    import diffusers
    from diffusers import AutoencoderKL, UNet3DConditionModel
    from transformers import CLIPTextModel
    parts = {}
    for part, model_class in (("unet", UNet3DConditionModel), ("vae", AutoencoderKL), ("text_encoder", CLIPTextModel)):
        progress(f"loading {part} as {str(dtype).removeprefix('torch.')}")
        parts[part] = load_model(model_class, folder, part, dtype)
    name = read_json(folder / "model_index.json")["scheduler"][1]
    try:
        scheduler = getattr(diffusers, name).from_pretrained(folder / "scheduler", local_files_only=True)
    except Exception as error:
        raise ExportError(f"{folder}/scheduler: {one_line(error)}") from error
    return Parts(pipeline_class=pipeline_class, tokenizer_folder=folder / "tokenizer", scheduler=scheduler, **parts)
