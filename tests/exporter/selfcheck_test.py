"""The exporter's self-check, on small modules that are wrong in one way each. Exits non-zero on a failure."""

import tempfile
import unittest
import warnings
import weakref
from pathlib import Path
from unittest import mock

warnings.simplefilter("ignore")
import torch  # noqa: E402

from exporter import fake_cuda, selfcheck  # noqa: E402
from exporter.failure import ExportError  # noqa: E402
from exporter.part import Part, same_method  # noqa: E402


class Halves(torch.nn.Module):
    """A model with two methods and a weight."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 3).requires_grad_(False)

    def encode(self, x):
        return self.linear(x), x + 1

    def decode(self, x):
        return self.linear(x) * x.mean()


class BrokenDecode(Halves):
    def decode(self, x):
        return super().decode(x) * (1.001 if torch.jit.is_tracing() else 1.0)


class BakedSize(Halves):
    def decode(self, x):
        return super().decode(x) + torch.zeros(int(x.shape[0]), 3)


class Rounded(Halves):
    def decode(self, x):
        return super().decode(x).half().float() if torch.jit.is_tracing() else super().decode(x)


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
                return x + table  # a constant of the graph, not a buffer: fake CUDA sees it as a tensor of the file

        class Made(torch.nn.Module):
            def forward(self, x):
                return x + torch.arange(4.0)  # device constant "cpu": rewritten

        fake_cuda.check_devices(m := self.traced(Made(), torch.ones(4)), m.inlined_graph, [torch.ones(4)])
        with self.assertRaisesRegex(ExportError, "on CUDA, aten::add"):
            fake_cuda.FakeCudaRun(
                m := self.traced(Made(), torch.ones(4)), m.inlined_graph, [torch.ones(4)], rewrite=False
            ).outputs()
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
            selfcheck.check_graph(
                m := self.traced(Drop(), torch.ones(3)), m.inlined_graph, "forward", [torch.ones(3)], lambda text: None
            )

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
            selfcheck.check_graph(
                m := self.traced(Branch(), torch.ones(3)),
                m.inlined_graph,
                "forward",
                [torch.ones(3)],
                lambda text: None,
            )

    def test_values(self):
        one = torch.ones(1000)
        selfcheck.compare("x", one + 1e-7, one, torch.float32)
        for found, expected, dtype, words in (
            (one * 1.0001, one, torch.float32, "differs from the model"),
            (one[:5], one, torch.float32, "a size was baked"),
            (one.half(), one.half(), torch.float32, "expected torch.float32"),
            (one, one * float("inf"), torch.float32, "non-finite"),
            (one * float("nan"), one, torch.float32, "differs from the model"),
        ):
            with self.assertRaisesRegex(ExportError, words):
                selfcheck.compare("x", found, expected, dtype)

    def test_trainable_and_changed_weights(self):
        linear = torch.nn.Linear(3, 3)
        path, weights = self.path, selfcheck.digests(linear.named_parameters())
        torch.jit.save(self.traced(linear, torch.ones(3)), path)
        with self.assertRaisesRegex(ExportError, "would be trainable"):
            selfcheck.load(path, weights)
        linear.requires_grad_(False)
        torch.jit.save(self.traced(linear, torch.ones(3)), path)
        selfcheck.load(path, weights)
        linear.weight[0, 0] += 1e-6
        with self.assertRaisesRegex(ExportError, "weight weight is missing or changed"):
            selfcheck.load(path, selfcheck.digests(linear.named_parameters()))
        path.write_bytes(path.read_bytes()[:-100])
        with self.assertRaisesRegex(ExportError, "module.pt cannot be read back"):
            selfcheck.load(path, weights)

    def write(self, models, gradient=False):
        """The whole way of a part through tracing, writing and comparing; takes the model out of its list, and returns
        the progress lines."""
        x, lines = torch.arange(6.0).reshape(2, 3), []
        cases = {
            name: same_method(name, lambda model: model, [("2 rows", (x,)), ("5 rows", (torch.ones(5, 3),))])
            for name in ("encode", "decode")
        }
        part = Part(
            models.pop(),
            lambda model: model,
            lambda wrapped: {"encode": (x,), "decode": (x,)},
            cases,
            gradient=cases["decode"][1] if gradient else None,
        )
        selfcheck.write_checked("halves", part, self.path, torch.float32, lines.append)
        return part, lines

    def test_a_part_that_agrees(self):
        part, lines = self.write([Halves()], gradient=True)
        self.assertIsNone(part.model)
        self.assertIn("  decode: 2 shapes agree with the model to 0.0e+00", lines)
        self.assertIn("  gradient by the latents agrees to 0.0e+00", lines)

    def test_parts_that_disagree(self):
        for module, words in (
            (BrokenDecode(), "halves.decode at 2 rows: the file differs from the model by 0.001"),
            (BakedSize(), "halves.decode at 5 rows: .*a size was baked into the trace"),
            (Rounded(), "halves.decode at 2 rows: the file differs from the model"),
        ):
            with self.assertRaisesRegex(ExportError, words):
                self.write([module])

    def test_a_gradient_that_is_cut(self):
        class Cut(Halves):
            def decode(self, x):
                return super().decode(x) if not torch.jit.is_tracing() else self.linear(x) * x.detach().mean()

        with self.assertRaisesRegex(ExportError, "gradient by the latents: the file differs"):
            self.write([Cut()], gradient=True)

    def test_one_copy_of_the_weights(self):
        """The model is gone before its file is loaded."""
        models, load = [Halves()], selfcheck.load
        alive = weakref.ref(models[0])

        def watched(*arguments):
            self.assertIsNone(alive())
            return load(*arguments)

        with mock.patch.object(selfcheck, "load", watched):
            self.write(models)


if __name__ == "__main__":
    unittest.main(verbosity=2)
