"""Goldens of module adapter: lists of tensors as torch.save writes them (the published adapter format), files that must
be refused, and initial adapter values drawn by name. Values by index formula, so that the test can state them again.

    python -m tests.goldens.make.published_list [OUT_DIR]        (default tests/goldens/adapter)
    python -m tests.goldens.make.published_list --check FILE

The second reads FILE with weights_only=True and fails unless it is the list of below."""

import collections
import math
import os
import pathlib
import sys

import torch
from safetensors.torch import save_file

from tests.oracle.named_random import generator

RANK = 3
SITES = [("down_blocks.0.attn1.to_q", 6, 8), ("mid_block.ff.net.2", 4, 10)]  # path, K, M


def tensor(index, rows, columns):
    """Element n of tensor `index` is ((7 n + 3 index) mod 23 - 11) / 16: exact in fp32, fp16 and bf16."""
    n = torch.arange(rows * columns)
    return (((7 * n + 3 * index) % 23 - 11).float() / 16).reshape(rows, columns)


def tensors(gated=True):
    found = []
    for _, k, m in SITES:
        found += [tensor(len(found), m, RANK), tensor(len(found) + 1, RANK, k)]
        if gated:
            found += [tensor(len(found), 1, k)]
    return found


class Attack:
    """Unpickling it runs a command."""

    def __reduce__(self):
        return os.system, ("touch JOINTTUNER_WAS_ATTACKED",)


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    published = [torch.nn.Parameter(t) for t in tensors()]
    torch.save(published, out / "published_list.pt")
    torch.save(tuple(published), out / "published_protocol4.pt", pickle_protocol=4)
    torch.save([t.half() if i % 2 else t.bfloat16() for i, t in enumerate(tensors())], out / "published_half.pt")
    flat = torch.cat([t.t().flatten() for t in tensors()])
    views = list(flat.split([t.numel() for t in tensors()]))
    torch.save([v.reshape(t.shape[1], t.shape[0]).t() for v, t in zip(views, tensors())], out / "strided_views.pt")
    torch.save([torch.nn.Parameter(t) for t in tensors(gated=False)], out / "published_ungated.pt")
    bad = tensors()
    bad[4][1, 2] = math.nan
    torch.save(bad, out / "nan.pt")
    torch.save([*published, Attack()], out / "attack.pt")
    torch.save(published, out / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(collections.OrderedDict(weight=published[0]), out / "state_dict.pt")
    torch.save([published], out / "nested.pt")
    torch.save([t.double() for t in tensors()], out / "double.pt")

    draws = {}
    for path, k, _ in SITES:
        for gate_init in ["normal", "uniform"]:
            made = generator(1234, 0, f"adapter/{path}")
            draws[f"{gate_init}/{path}.lora_down"] = torch.randn(RANK, k, generator=made) / RANK
            gate = (
                torch.randn(1, k, generator=made) / RANK
                if gate_init == "normal"
                else (2 * torch.rand(1, k, generator=made) - 1) / math.sqrt(k)
            )
            draws[f"{gate_init}/{path}.lora_gate"] = gate
    save_file(draws, out / "initialize.safetensors", metadata={"torch": torch.__version__})


def check(path):
    found = torch.load(path, weights_only=True)
    assert isinstance(found, list) and len(found) == len(tensors()), type(found)
    for ours, theirs in zip(tensors(), found):
        assert isinstance(theirs, torch.nn.Parameter) and theirs.requires_grad and theirs.dtype == torch.float32
        assert ours.shape == theirs.shape and torch.equal(ours, theirs)
    print("equal")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        check(sys.argv[2])
    else:
        main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/goldens/adapter"))
