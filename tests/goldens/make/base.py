"""Goldens of module base: seeds and draws of named generators (hashlib, torch) and a safetensors file of the reference
implementation. usage: python -m tests.goldens.make.base [OUT_DIR]   (default tests/goldens/base)"""

import pathlib
import sys

import torch
from safetensors.torch import save_file

from tests.oracle.named_random import generator, generator_seed

out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/goldens/base")
out.mkdir(parents=True, exist_ok=True)


tensors = {
    "noise": torch.randn(1, 4, 2, 3, 3, generator=generator(7, 12, "noise")),
    "flip": torch.rand(1, generator=generator(0, 0, "flip")),
    "order": torch.randperm(10, generator=generator(18446744073709551615, 3, "order")),
    "timestep": torch.randint(0, 1000, (4,), generator=generator(7, 12, "timestep")),
}
save_file(tensors, out / "draws.safetensors", metadata={"torch": torch.__version__})

index = torch.arange(24)
save_file(
    {
        "f32": (index / 7).reshape(2, 3, 4),
        "f16": (index / 8).half(),
        "bf16": (index / 4).bfloat16(),
        "i64": index * 10**12,
        "u8": index.to(torch.uint8),
        "bool": index % 2 == 0,
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
    },
    out / "types.safetensors",
    metadata={"b": "two", "a": "one ü"},
)
print(
    {
        (s, t, n): generator_seed(s, t, n)
        for s, t, n in [(0, 0, "order"), (7, 12, "noise"), (18446744073709551615, 3, "order")]
    }
)
