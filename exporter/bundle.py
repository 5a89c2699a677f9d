"""The bundle's folder: every part traced, checked and written, then the manifest; it gets its name only when all of it
is right."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from . import manifest
from .failure import ExportError, one_line
from .family import ROLES


def preferred(arguments, family, scheduler):
    """What the folder says, and the command line over it. One side alone makes a square."""
    found = family.preferred(scheduler)
    if arguments.height or arguments.width:
        found.update(height=arguments.height or arguments.width, width=arguments.width or arguments.height)
    found.update(
        {
            name: getattr(arguments, name)
            for name in ("frames", "fps", "steps", "guidance", "guidance_schedule")
            if getattr(arguments, name) is not None
        }
    )
    for name in ("frames", "fps", "steps", "guidance"):
        if found[name] < 1:
            raise ExportError(f"--{name} {found[name]}: expected at least 1")
    family.check_size(found["height"], found["width"], found["frames"])
    return found


def quiet_libraries():
    """The exporter's own progress lines say what happens; the libraries' bars and advice would hide them."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()


def write_bundle(arguments, folder, progress):
    """Everything of the bundle into `folder`, self-checks included; bundle.json last. One part's weights are in memory
    at a time."""
    import torch

    from . import selfcheck
    from .adapter_sites import manifest_rules
    from .diffusers_folder import load_model, load_scheduler
    from .families import open_folder

    quiet_libraries()
    family, pipeline_class = open_folder(arguments.source)
    scheduler = load_scheduler(arguments.source)
    dtypes = {
        "denoiser": arguments.dtype,
        "autoencoder": arguments.autoencoder_dtype or arguments.dtype,
        "text_encoder": arguments.text_dtype or arguments.dtype,
    }
    document = manifest.bundle_manifest(
        family,
        pipeline_class,
        arguments.source.resolve().name,
        scheduler,
        family.text(folder / "tokenizer"),
        preferred(arguments, family, type(scheduler).__name__),
        dtypes,
    )
    for role in ROLES:
        dtype = getattr(torch, manifest.DTYPES[dtypes[role]])
        progress(f"loading {role} as {manifest.DTYPES[dtypes[role]]}")
        part = family.part(role, load_model(family, role, dtype), dtype)
        if part.sites:
            document["denoiser"]["adapter_rules"] = manifest_rules(part.sites, family.adapter_rules)
        selfcheck.write_checked(role, part, folder / f"{role}.pt", dtype, progress)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        document["files"][str(path.relative_to(folder))] = manifest.file_entry(path)
    (folder / "bundle.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def flush(folder):
    """Data on disk before the folder gets its name."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def export(arguments, progress):
    """Writes to a temporary folder beside the target and renames it: a failure leaves nothing behind."""
    target = arguments.bundle
    if target.exists() or target.is_symlink():
        raise ExportError(f"{target} exists already: remove it or give another name")
    if not target.parent.is_dir():
        raise ExportError(f"{target.parent} is not a folder: make it first")
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
        temporary.chmod(0o755)
        write_bundle(arguments, temporary, progress)
        flush(temporary)
        temporary.rename(target)
        temporary = None
    except OSError as error:
        raise ExportError(
            f"{error.filename or target}: {error.strerror or one_line(error)}: nothing was written to {target}"
        ) from error
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
