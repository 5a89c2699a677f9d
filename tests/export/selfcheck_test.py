#!/usr/bin/env python
"""The exporter's self-check, on small modules that are wrong in one way each. Exits non-zero on a failure."""
import sys
import tempfile
import unittest
import warnings
from pathlib import Path
from unittest import mock

warnings.simplefilter("ignore")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import torch  # noqa: E402

from export import fake_cuda, selfcheck, wrappers  # noqa: E402
from export.failure import ExportError  # noqa: E402
from make_tiny_pipelines import VAE, give_weights  # noqa: E402


class BrokenDecode(wrappers.Autoencoder):
    def decode(self, latents):
        return super().decode(latents) * (1.0 if torch.jit.is_tracing() else 1.001)


class SelfCheck(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.TemporaryDirectory()
        self.addCleanup(self.work.cleanup)
        self.path = Path(self.work.name) / "module.pt"

    def traced(self, module, *inputs):
        return torch.jit.trace(module, inputs, check_trace=False)

    def test_a_cpu_constant_is_found(self):
        table = torch.arange(4.0)

        class Mixed(torch.nn.Module):
            def forward(self, x):
                return x + table   # a constant of the graph, not a buffer: fake CUDA sees it as a tensor of the file

        class Made(torch.nn.Module):
            def forward(self, x):
                return x + torch.arange(4.0)   # device constant "cpu": rewritten

        fake_cuda.check_devices(m := self.traced(Made(), torch.ones(4)), m.inlined_graph, [torch.ones(4)])
        with self.assertRaisesRegex(ExportError, "on CUDA, aten::add"):
            fake_cuda.FakeCudaRun(m := self.traced(Made(), torch.ones(4)), m.inlined_graph, [torch.ones(4)], rewrite=False).outputs()
        with self.assertRaisesRegex(ExportError, "on CUDA, aten::add"):
            fake_cuda.check_devices(m := self.traced(Mixed(), torch.ones(4)), m.inlined_graph, [torch.ones(4)])

    def test_a_traced_count_is_found(self):
        class Repeat(torch.nn.Module):
            def forward(self, x):
                return x.repeat_interleave(x.shape[0], dim=0)

        module = self.traced(Repeat(), torch.ones(3, 2))
        fake_cuda.check_devices(module, module.inlined_graph, [torch.ones(3, 2)])
        with self.assertRaisesRegex(ExportError, "on CUDA, aten::repeat_interleave"):
            fake_cuda.FakeCudaRun(module, module.inlined_graph, [torch.ones(3, 2)], rewrite=False).outputs()

    def test_dropout_that_is_on(self):
        class Drop(torch.nn.Module):
            def forward(self, x):
                return torch.nn.functional.dropout(x, 0.1, True)

        with self.assertRaisesRegex(ExportError, "a dropout is switched on"):
            selfcheck.check_graph(m := self.traced(Drop(), torch.ones(3)), m.inlined_graph, "forward", [torch.ones(3)], lambda text: None)

    def test_a_value_read_from_the_device(self):
        class Value(torch.nn.Module):
            def forward(self, x):
                return x[: x.sum().long()]

        with self.assertRaisesRegex(ExportError, "would read a number from the device"):
            fake_cuda.check_devices(m := self.traced(Value(), torch.ones(3)), m.inlined_graph, [torch.ones(3)])

    def test_control_flow(self):
        @torch.jit.script
        def branch(x):
            return x if x.sum() > 0 else -x

        class Branch(torch.nn.Module):
            def forward(self, x):
                return branch(x)

        with self.assertRaisesRegex(ExportError, "control flow"):
            selfcheck.check_graph(m := self.traced(Branch(), torch.ones(3)), m.inlined_graph, "forward", [torch.ones(3)], lambda text: None)

    def test_values(self):
        one = torch.ones(1000)
        selfcheck.compare("x", one + 1e-7, one, torch.float32)
        for found, expected, dtype, words in ((one * 1.0001, one, torch.float32, "differs from the model"), (one[:5], one, torch.float32, "a size was baked"),
                                              (one.half(), one.half(), torch.float32, "expected torch.float32"), (one, one * float("inf"), torch.float32, "non-finite"),
                                              (one * float("nan"), one, torch.float32, "differs from the model")):
            with self.assertRaisesRegex(ExportError, words):
                selfcheck.compare("x", found, expected, dtype)

    def test_trainable_and_changed_weights(self):
        linear = torch.nn.Linear(3, 3)
        path = self.path
        torch.jit.save(self.traced(linear, torch.ones(3)), path)
        with self.assertRaisesRegex(ExportError, "would be trainable"):
            selfcheck.load(path, linear)
        linear.requires_grad_(False)
        torch.jit.save(self.traced(linear, torch.ones(3)), path)
        selfcheck.load(path, linear)
        linear.weight.add_(1e-6)
        with self.assertRaisesRegex(ExportError, "weight weight is missing or changed"):
            selfcheck.load(path, linear)
        path.write_bytes(path.read_bytes()[:-100])
        with self.assertRaisesRegex(ExportError, "module.pt cannot be read back"):
            selfcheck.load(path, linear)

    def test_a_different_autoencoder(self):
        from diffusers import AutoencoderKL
        vae = give_weights(AutoencoderKL(**VAE["nano"], down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
                                         latent_channels=4, layers_per_block=1)).requires_grad_(False)
        with mock.patch.object(wrappers, "Autoencoder", BrokenDecode):
            eager, traced = wrappers.trace_autoencoder(vae, torch.float32)
        path = self.path
        torch.jit.save(traced, path)
        document = {"latents": {"spatial_compression": 2, "channels": 4}}
        with self.assertRaisesRegex(ExportError, "autoencoder.decode at .* differs from the model by 0.001"):
            selfcheck.check("autoencoder", path, eager, torch.float32, document, lambda text: None)


if __name__ == "__main__":
    unittest.main(verbosity=2)
