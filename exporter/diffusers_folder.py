"""Reads a local diffusers folder strictly: the parts of the right classes, every weight present, nothing downloaded."""

import json

from .failure import ExportError, one_line

STEMS = {"diffusers": ("diffusion_pytorch_model",), "transformers": ("model", "pytorch_model")}  # of weight files


def read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ExportError(
            f"{path} is missing: expected a diffusers folder with model_index.json and one folder for each part"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ExportError(f"{path} is not valid JSON ({one_line(error)}): copy the file again") from None


def read_index(folder):
    if not folder.is_dir():
        raise ExportError(f"{folder} is not a folder: give the local folder of a diffusers text-to-video pipeline")
    return read_json(folder / "model_index.json")


def check_folder(folder, index, family):
    """model_index.json names every part of the family with its class, and each has its folder; returns the classes by
    role."""
    import diffusers
    import transformers

    expected = {
        **{name: cls for name, _, cls in family.parts.values()},
        "tokenizer": family.tokenizer,
        "scheduler": None,
    }
    for part, known in expected.items():
        found = index.get(part)
        if not (isinstance(found, list) and len(found) == 2 and found[1]):
            raise ExportError(f"{folder}/model_index.json names no {part}: this exporter needs {', '.join(expected)}")
        if known and found[1] not in (known, known + "Fast"):
            raise ExportError(
                f"{folder}: {part} is a {found[1]}, and this exporter knows only {known} there, as in {family.shown}"
            )
        if part == "scheduler" and found[1] not in family.schedulers:
            raise ExportError(f"{folder}: scheduler is a {found[1]}; known are {', '.join(family.schedulers)}")
        if not (folder / part).is_dir():
            raise ExportError(
                f"{folder}/{part} is missing though model_index.json names it: copy the whole diffusers folder"
            )
    for part, _, known in family.parts.values():
        declared = read_json(folder / part / "config.json")
        name = declared.get("_class_name") or (declared.get("architectures") or [None])[0]
        if name not in (None, known):
            raise ExportError(f"{folder}/{part}/config.json is of class {name}, expected {known}")
    return {
        role: getattr({"diffusers": diffusers, "transformers": transformers}[library], cls)
        for role, (_, library, cls) in family.parts.items()
    }


def load_scheduler(folder):
    import diffusers

    name = read_index(folder)["scheduler"][1]
    try:
        return getattr(diffusers, name).from_pretrained(folder / "scheduler", local_files_only=True)
    except Exception as error:
        raise ExportError(f"{folder}/scheduler: {one_line(error)}") from error


def weight_variant(folder, stems):
    """None when plain weight files exist, else the one variant present ("fp16" of model.fp16.safetensors)."""
    variants = set()
    for file in folder.iterdir():
        for stem in stems:
            if not file.name.startswith(stem + ".") and not file.name.startswith(stem + "-"):
                continue
            pieces = [p for p in file.name[len(stem) :].split(".") if p and not p.startswith("-")]
            if pieces[-1:] == ["json"] and "index" not in pieces:
                continue
            rest = [p for p in pieces if p not in ("safetensors", "bin", "index", "json")]
            variants.add(rest[0].split("-")[0] if rest else None)
    if not variants:
        raise ExportError(
            f"{folder} holds no weights: expected {stems[0]}.safetensors or .bin, in one file or in shards with their "
            "index"
        )
    if None in variants:
        return None
    if len(variants) > 1:
        raise ExportError(f"{folder} holds only variants {sorted(variants)}: keep one of them")
    return variants.pop()


def load_model(family, role, dtype):
    """Strict from_pretrained: an absent, foreign or misshapen weight is an error, never a random initialisation. Eval
    mode, parameters frozen."""
    import diffusers
    import transformers

    part, library, cls = family.parts[role]
    folder = family.folder / part
    variant = weight_variant(folder, STEMS[library])
    model_class = getattr({"diffusers": diffusers, "transformers": transformers}[library], cls)
    try:
        model, info = model_class.from_pretrained(
            folder,
            local_files_only=True,
            output_loading_info=True,
            variant=variant,
            **{"torch_dtype" if library == "diffusers" else "dtype": dtype},
        )
    except Exception as error:  # any library's failure to read a user's file ends the same way
        raise ExportError(
            f"{folder}: the weights cannot be loaded ({one_line(error)}): the files are truncated, of another model, "
            "or incomplete"
        ) from error
    for kind in ("missing_keys", "mismatched_keys"):
        names = sorted(str(n) for n in info.get(kind) or [])
        if names:
            raise ExportError(
                f"{folder}: {len(names)} {kind.replace('_', ' ')} in the weights, the first is {names[0]}: the files "
                "do not belong to this config.json"
            )
    model.eval().requires_grad_(False)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ExportError(
                f"{folder}: {name} holds a non-finite number in {dtype}: damaged weights, or too large for this dtype "
                "(try --dtype fp32 or bf16)"
            )
    return model
