"""Writes a traced module as C++ reads it: without the Python line tables, which are more than half of a small file, and
without what depends on them or on the example inputs, so that the same weights give the same bytes."""

import os
import shutil
import struct
import zipfile

import torch

from .failure import ExportError

ALIGNMENT = 64  # of tensor records, as torch.save writes them: a mapped file can then be used in place


def save_in_child(traced, path):
    """torch.jit.save in a forked child: LibTorch's writer ends the whole process when the disk is full."""
    child = os.fork()
    if child == 0:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 2)
        try:
            torch.jit.save(traced, str(path))
        except BaseException:
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        free = shutil.disk_usage(path.parent).free
        raise ExportError(f"{path.parent} cannot be written ({free / 1e6:.0f} MB are free there): is the disk full?")


def save(traced, path):
    full = path.with_suffix(".full")
    save_in_child(traced, full)
    with zipfile.ZipFile(full) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            if entry.filename.endswith((".debug_pkl", "/.data/serialization_id")) or "/traced_inputs" in entry.filename:
                continue
            copy = zipfile.ZipInfo(entry.filename)  # with a fixed date
            copy.compress_type = (
                zipfile.ZIP_DEFLATED if entry.filename.endswith(("/data.pkl", ".py")) else zipfile.ZIP_STORED
            )
            if copy.compress_type == zipfile.ZIP_STORED:
                header = 30 + len(entry.filename.encode()) + 4
                padding = -(target.fp.tell() + header) % ALIGNMENT
                copy.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
            copy.file_size = entry.file_size
            with (
                source.open(entry) as stream,
                target.open(copy, "w") as record,
            ):  # never a second copy of the weights in memory
                shutil.copyfileobj(stream, record, 1 << 24)
    full.unlink()
