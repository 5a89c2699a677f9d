"""One TorchScript file of a bundle, between the loaded model and its check: what is traced, and what the file must
agree with."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass
class Case:
    """One comparison. `expected` gets the model and the inputs, `found` the loaded file and the inputs; neither holds
    on to a module, so that the model can be freed in between. Both return a tensor or a tuple of tensors."""

    label: str
    inputs: tuple
    expected: Callable
    found: Callable


@dataclass
class Part:
    model: nn.Module  # of diffusers or transformers; None once it is freed
    wrap: Callable[
        [nn.Module], nn.Module
    ]  # model -> the module that is traced; called after the last expected value, it may change the model
    examples: Callable[[nn.Module], dict]  # wrapped module -> {method: example inputs}
    cases: dict  # what is compared, by name: [Case, ...]
    gradient: Case | None = None  # first input: what the gradient is taken by
    sites: list = field(default_factory=list)  # paths in the traced module of linears that adapters will replace
    segments: list = field(default_factory=list)  # regular expressions that name modules below `root`
    root: str = ""


def method(name):
    """Calls the method of whatever module it gets."""
    return lambda module, *inputs: getattr(module, name)(*inputs)


def same_method(name, wrap, cases):
    """Cases, given as (label, inputs), that call the same method of the wrapped model and of the file."""
    call = method(name)
    return [Case(label, inputs, lambda model, *given: call(wrap(model), *given), call) for label, inputs in cases]


def random(generator, shape, dtype):
    return torch.randn(shape, generator=generator).to(dtype)


class Traced(nn.Module):
    """What a file of the bundle is traced from. The file states the names of these classes and their modules, and an
    adapter knows its denoiser by the SHA-256 of the file: the names stay those of `export`, the package's first name,
    so that the same weights give the same bundle."""

    def __init_subclass__(cls):
        super().__init_subclass__()
        cls.__module__ = cls.__module__.replace("exporter.", "export.", 1)


class TextEncoder(Traced):
    """ids [B,L] int64 -> last hidden state [B,L,D]; no padding mask, as the pipelines call it."""

    def __init__(self, text_encoder):
        super().__init__()
        self.text_encoder = text_encoder

    def forward(self, ids):
        return self.text_encoder(ids, return_dict=False)[0]


def text_encoder_part(model, max_length):
    generator = torch.Generator().manual_seed(6)
    lengths = sorted({1, 2, 7, max_length - 1, max_length} & set(range(1, max_length + 1)))
    cases = [
        (f"batch {b}, {n} tokens", (torch.randint(0, model.config.vocab_size, (b, n), generator=generator),))
        for b, n in zip((1, 3, 2, 1, 2), lengths)
    ]
    return Part(
        model,
        TextEncoder,
        lambda module: {"forward": (torch.arange(2 * 9).reshape(2, 9) % module.text_encoder.config.vocab_size,)},
        {"forward": same_method("forward", TextEncoder, cases)},
    )
