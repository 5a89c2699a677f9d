"""A bundle with the real architecture of ZeroScope or CogVideoX and no weights: for forecasting memory (jointtuner
check), never for running.

    python -m tests.pipelines.skeleton OUTPUT zeroscope|cogvideox_2b|cogvideox_5b [--dtype fp16] [--text-dtype bf16]

Writes the folder OUTPUT (new), of about a megabyte. It is traced as the exporter traces, from models whose every weight
is one zero, seen in its full shape through strides of 0: the files state all shapes and dtypes and hold next to
nothing. Its manifest is called skeleton.json, and jointtuner refuses to train or sample with it. Nothing is checked
against the original, there being no numbers; the tokenizer is a small stand-in."""

import argparse
import importlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

from exporter import manifest
from exporter.bundle import preferred, quiet_libraries
from exporter.family import ROLES
from tests.pipelines.full_size import PIPELINES, write_pipeline

DTYPES = {
    "zeroscope": ("fp16", "fp16"),
    "cogvideox_2b": ("fp16", "bf16"),
    "cogvideox_5b": ("bf16", "bf16"),
}  # as README.md and docs/cogvideox.md export them


def hollow(model, dtype):
    """Every parameter and buffer of a model on the meta device becomes one zero of `dtype` (integers keep theirs), seen
    in its shape; ties stay."""
    import torch

    made = {}

    def seen(tensor):
        if id(tensor) not in made:
            own = dtype if tensor.is_floating_point() else tensor.dtype
            zero = torch.zeros(1, dtype=own).expand(tensor.shape)
            made[id(tensor)] = (
                tensor,
                torch.nn.Parameter(zero, requires_grad=False) if isinstance(tensor, torch.nn.Parameter) else zero,
            )
        return made[id(tensor)][1]

    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = seen(tensor)
    return model.eval().requires_grad_(False)


def hollow_model(name, folder, dtype):
    import torch

    library, cls, config = PIPELINES[name][folder]
    model_class = getattr(importlib.import_module(library), cls)
    with torch.device("meta"):
        model = model_class(**config) if library == "diffusers" else model_class(model_class.config_class(**config))
    return hollow(model, dtype)


def without_products():
    """While the result lives, products of matrices on the CPU are zeros of the right shape: in half types the real ones
    take an hour. A kernel is replaced, below what a trace sees, so that the trace stays the same; a TorchDispatchMode
    would lose sizes from it."""
    import torch

    library = torch.library.Library("aten", "IMPL", "CPU")
    library.impl("mm", lambda a, b: a.new_zeros(a.shape[0], b.shape[1]))
    library.impl("addmm", lambda bias, a, b, *, beta=1, alpha=1: a.new_zeros(a.shape[0], b.shape[1]))
    return library


def write_part(role, part, dtype, path):
    """In half types the autoencoder's trace takes an hour on a CPU: it is traced in fp32, and its weights change their
    dtype afterwards (it casts nowhere, so that no dtype stands in its trace)."""
    import torch

    from exporter import torchscript_file

    wrapped = part.wrap(part.model).eval()
    with torch.no_grad():
        traced = torch.jit.trace_module(wrapped, part.examples(wrapped), check_trace=False, strict=False)
    if role == "autoencoder":
        for parameter in traced.parameters():
            parameter.data = torch.zeros(1, dtype=dtype).expand(parameter.shape)
    torchscript_file.save(traced, path)


def write_skeleton(arguments, source, folder):
    import torch

    from exporter.adapter_sites import manifest_rules
    from exporter.diffusers_folder import load_scheduler
    from exporter.families import open_folder

    quiet_libraries()
    write_pipeline(arguments.name, source, None)
    family, pipeline_class = open_folder(source)
    scheduler = load_scheduler(source)
    replaced = without_products()  # noqa: F841, in place for as long as it is held
    arguments.height = arguments.width = arguments.frames = arguments.fps = arguments.steps = arguments.guidance = (
        arguments.guidance_schedule
    ) = None
    dtypes = {"denoiser": arguments.dtype, "autoencoder": arguments.dtype, "text_encoder": arguments.text_dtype}
    document = manifest.bundle_manifest(
        family,
        pipeline_class,
        arguments.name + " (skeleton)",
        scheduler,
        family.text(folder / "tokenizer"),
        preferred(arguments, family, type(scheduler).__name__),
        dtypes,
    )
    for role in ROLES:
        print(f"{arguments.name}: {role}", file=sys.stderr, flush=True)
        dtype = getattr(torch, manifest.DTYPES[dtypes[role]])
        traced_in = torch.float32 if role == "autoencoder" else dtype
        part = family.part(role, hollow_model(arguments.name, family.parts[role][0], traced_in), traced_in)
        if part.sites:
            document["denoiser"]["adapter_rules"] = manifest_rules(part.sites, family.adapter_rules)
        write_part(role, part, dtype, folder / f"{role}.pt")
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        document["files"][str(path.relative_to(folder))] = manifest.file_entry(path)
    (folder / "skeleton.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUTPUT")
    parser.add_argument("name", choices=list(PIPELINES))
    kinds = ("fp32", "fp16", "bf16")
    parser.add_argument("--dtype", choices=kinds, help="of denoiser and autoencoder (default: fp16, for 5B bf16)")
    parser.add_argument("--text-dtype", choices=kinds, help="of the text encoder (default: bf16, for ZeroScope fp16)")
    arguments = parser.parse_args()
    arguments.dtype = arguments.dtype or DTYPES[arguments.name][0]
    arguments.text_dtype = arguments.text_dtype or DTYPES[arguments.name][1]
    if arguments.output.exists():
        sys.exit(f"{arguments.output} exists already: remove it or give another name")
    temporary = Path(tempfile.mkdtemp(prefix=f".{arguments.output.name}.", suffix=".tmp", dir=arguments.output.parent))
    try:
        (temporary / "bundle").mkdir()
        write_skeleton(arguments, temporary / arguments.name, temporary / "bundle")
        (temporary / "bundle").rename(arguments.output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    print(arguments.output)


if __name__ == "__main__":
    main()
