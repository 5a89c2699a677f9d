"""GLoRA in plain PyTorch on a real diffusers denoiser, written from the formula and independent of the C++ graph
rewrite:

    y = x W^T + b + scale * g(x) * Dropout_p((x D^T) U^T),   g(x) = mean over the pooled tokens of sigmoid(x G^T)

Which linears are adapted, their published order and the gates' first values are facts of a family (families.py).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .named_random import dropout_factors, generator, normal, uniform


class Settings:
    """What all sites of one forward pass share; change it between passes."""

    def __init__(self, scale=1.0, group_scale=None, pooling="sample", dropout=0.0):
        self.scale, self.group_scale, self.pooling, self.dropout = scale, group_scale or {}, pooling, dropout
        self.batch, self.dropout_seed = 1, 0  # samples in this pass; seed of its dropout masks


class GLoRA(nn.Module):
    def __init__(self, linear, path, group, index, rank, gate_init, settings):
        super().__init__()
        self.linear, self.path, self.group, self.index, self.gate_init, self.settings = (
            linear,
            path,
            group,
            index,
            gate_init,
            settings,
        )
        self.lora_down = nn.Parameter(torch.zeros(rank, linear.in_features))
        self.lora_up = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.lora_gate = nn.Parameter(torch.zeros(1, linear.in_features)) if gate_init else None

    def gate(self, x):
        """One scalar for each pooling group, shaped to multiply [*,N,M]: dim 0 of x is batch-major."""
        value = torch.sigmoid(F.linear(x, self.lora_gate))
        if self.settings.pooling == "batch":
            return value.mean()
        each = value.reshape(self.settings.batch, -1).mean(1)
        return each.repeat_interleave(x.shape[0] // self.settings.batch).reshape(-1, *[1] * (x.dim() - 1))

    def forward(self, x):
        s = self.settings
        y = self.linear(x)
        wide = x.float()
        update = F.linear(F.linear(wide, self.lora_down), self.lora_up)
        if s.dropout > 0:
            update = update * dropout_factors(tuple(update.shape), s.dropout, s.dropout_seed, self.index)
        if self.lora_gate is not None:
            update = update * self.gate(wide)
        return y + (s.scale * s.group_scale.get(self.group, 1.0) * update).to(y.dtype)


def site_paths(family):
    """(path, group) of every adapted linear, in the published order."""
    found = []
    for ancestor, names, group in family.adapter_rules:
        for path, module in family.denoiser.named_modules():
            if type(module).__name__ == ancestor:
                found += [
                    (f"{path}.{below}", group)
                    for below, linear in module.named_modules()
                    if isinstance(linear, nn.Linear) and set(names) & set(below.split("."))
                ]
    return found


def inject(family, rank, gated=True, settings=None):
    """Replaces the adapted linears; returns the adapters in the published order. All other parameters are frozen."""
    denoiser = family.denoiser.eval().requires_grad_(False)
    settings = settings or Settings()
    adapters = []
    for index, (path, group) in enumerate(site_paths(family)):
        parent, _, name = path.rpartition(".")
        owner = denoiser.get_submodule(parent)
        adapter = GLoRA(
            denoiser.get_submodule(path), path, group, index, rank, family.gate_init if gated else None, settings
        )
        setattr(owner, name, adapter) if not name.isdigit() else owner.__setitem__(int(name), adapter)
        adapters.append(adapter)
    return adapters


@torch.no_grad()
def initialize(adapters, seed):
    """D ~ N(0, (1/R)^2), U = 0, G ~ N(0, (1/R)^2) ("normal") or U(-1/sqrt(K), 1/sqrt(K)) ("uniform"): down, then gate
    from generator(seed, 0, "adapter/<path>")."""
    for a in adapters:
        rank, width = a.lora_down.shape
        draws = generator(seed, 0, f"adapter/{a.path}")
        a.lora_down.copy_(normal((rank, width), draws) / rank)
        a.lora_up.zero_()
        if a.gate_init == "normal":
            a.lora_gate.copy_(normal((1, width), draws) / rank)
        elif a.gate_init == "uniform":
            a.lora_gate.copy_((uniform((1, width), draws) * 2 - 1) / math.sqrt(width))


def parameters(adapters):
    """down, up, gate of every site, in order."""
    return [p for a in adapters for p in (a.lora_down, a.lora_up, a.lora_gate) if p is not None]


def named_tensors(adapters):
    return {
        f"{a.path}.lora_{kind}": getattr(a, f"lora_{kind}").detach().clone().contiguous()
        for a in adapters
        for kind in ("down", "up", "gate")
        if getattr(a, f"lora_{kind}") is not None
    }


@torch.no_grad()
def load_named(adapters, tensors):
    wanted = named_tensors(adapters)
    if set(wanted) != set(tensors):
        raise SystemExit(
            f"the adapter file's keys are not this model's sites: {sorted(set(wanted) ^ set(tensors))[:3]} ..."
        )
    for a in adapters:
        for kind in ("down", "up", "gate"):
            if getattr(a, f"lora_{kind}") is not None:
                getattr(a, f"lora_{kind}").copy_(tensors[f"{a.path}.lora_{kind}"])


def published_list(adapters):
    """Flat list as the published code saves it: (up, down, gate) a site; plain LoRA: (up, down)."""
    return [
        nn.Parameter(p.detach().clone())
        for a in adapters
        for p in (a.lora_up, a.lora_down, a.lora_gate)
        if p is not None
    ]


@torch.no_grad()
def load_published_list(adapters, tensors):
    slots = [p for a in adapters for p in (a.lora_up, a.lora_down, a.lora_gate) if p is not None]
    if [tuple(t.shape) for t in tensors] != [tuple(p.shape) for p in slots]:
        raise SystemExit(f"the list's {len(tensors)} tensors do not fit the {len(slots)} of this model's sites")
    for slot, tensor in zip(slots, tensors):
        slot.copy_(tensor)
