"""Writes a traced module as C++ reads it: without the Python line tables, which are more than half of a small file."""
import struct
import zipfile

import torch

ALIGNMENT = 64   # of tensor records, as torch.save writes them: a mapped file can then be used in place


def save(traced, path):
    full = path.with_suffix(".full")
    torch.jit.save(traced, str(full))
    with zipfile.ZipFile(full) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            if entry.filename.endswith(".debug_pkl"):
                continue
            copy = zipfile.ZipInfo(entry.filename)   # a fixed date: the same weights give the same bytes
            copy.compress_type = zipfile.ZIP_DEFLATED if entry.filename.endswith(("/data.pkl", ".py")) else zipfile.ZIP_STORED
            if copy.compress_type == zipfile.ZIP_STORED:
                header = 30 + len(entry.filename.encode()) + 4
                padding = -(target.fp.tell() + header) % ALIGNMENT
                copy.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
            target.writestr(copy, source.read(entry))
    full.unlink()
