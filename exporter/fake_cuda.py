"""Runs a TorchScript file node by node on fake CUDA tensors: device mismatches show without a GPU.

The two rewrites that the C++ side applies before it runs a graph are applied here too: device constants become the
run's device, and repeat_interleave takes its count as an integer (traced as a 0-dim CPU tensor, its kernel would mix
devices)."""

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes

from .failure import ExportError

CUDA = torch.device("cuda:0")
# On a CUDA build without a driver these ask the run time for a backend: devices are compared by hand, shapes come from
# meta.
ASK_DRIVER = ("aten::_convolution", "aten::scaled_dot_product_attention", "aten::native_group_norm", "aten::group_norm")


def host_value(value):
    """The number behind a 0-dim CPU tensor."""
    return value.constant if isinstance(value, FakeTensor) and value.constant is not None else value


def flat(values):
    """The values with lists and tuples among them opened."""
    return [inner for v in values for inner in (flat(v) if isinstance(v, (list, tuple)) else [v])]


def is_host_number(value):
    return isinstance(value, torch.Tensor) and value.device.type == "cpu" and value.dim() == 0


class FakeCudaRun:
    """One pass over an inlined graph; values by debug name."""

    def __init__(self, module, graph, inputs, rewrite=True):
        self.rewrite = rewrite
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.fakes = {}
        self.values = {}
        names = [value.debugName() for value in graph.inputs()]
        self.values[names[0]] = module
        for name, value in zip(names[1:], inputs, strict=True):
            self.values[name] = [self.fake(t) for t in value] if isinstance(value, (list, tuple)) else self.fake(value)
        self.graph = graph

    def fake(self, tensor):
        """A CUDA tensor of the same shape and dtype without data; one for each real tensor."""
        if id(tensor) not in self.fakes:
            with self.mode:
                self.fakes[id(tensor)] = (tensor, torch.empty(tensor.shape, dtype=tensor.dtype, device=CUDA))
        return self.fakes[id(tensor)][1]

    def outputs(self):
        with self.mode, torch.no_grad():
            for node in self.graph.nodes():
                self.step(node)
        return [self.values[value.debugName()] for value in self.graph.outputs()]

    def step(self, node):
        kind = node.kind()
        inputs = [self.values[value.debugName()] for value in node.inputs()]
        if kind in ("prim::TupleUnpack", "prim::ListUnpack"):
            results = list(inputs[0])
        elif kind == "prim::Constant":
            value = None if node.mustBeNone() else node.output().toIValue()
            results = [CUDA if self.rewrite and isinstance(value, torch.device) else value]
        elif kind == "prim::GetAttr":
            value = getattr(inputs[0], node.s("name"))
            results = [self.fake(value) if isinstance(value, torch.Tensor) else value]
        elif kind == "prim::ListConstruct":
            results = [list(inputs)]
        elif kind == "prim::TupleConstruct":
            results = [tuple(inputs)]
        elif kind in (
            "prim::NumToTensor",
            "aten::Int",
            "aten::IntImplicit",
            "aten::ScalarImplicit",
            "aten::Bool",
            "aten::Float",
        ):
            results = [self.host_conversion(kind, inputs[0])]
        else:
            results = self.call(node, inputs)
        for output, value in zip(node.outputs(), results, strict=True):
            self.values[output.debugName()] = value

    @staticmethod
    def host_conversion(kind, value):
        if isinstance(value, torch.Tensor) and not is_host_number(value):
            raise ExportError(
                f"on CUDA, {kind} would read a number from the device: the traced graph depends on values, not on "
                "sizes alone"
            )
        with _disable_current_modes():
            if kind == "prim::NumToTensor":
                return torch.tensor(value)
            return {"aten::Bool": bool, "aten::Float": float}.get(kind, int)(host_value(value))

    def call(self, node, inputs):
        kind = node.kind()
        schema = torch._C.parse_schema(node.schema())
        packet = getattr(getattr(torch.ops, kind.split("::")[0]), kind.split("::")[1])
        function = getattr(packet, schema.overload_name or "default")
        arguments = [v for a, v in zip(schema.arguments, inputs) if not a.kwarg_only]
        keywords = {a.name: v for a, v in zip(schema.arguments, inputs) if a.kwarg_only}
        tensors = [v for v in inputs if isinstance(v, torch.Tensor)]
        try:
            if tensors and all(map(is_host_number, tensors)) and not any(isinstance(v, torch.device) for v in inputs):
                with _disable_current_modes():  # sizes are computed on the host: keep their values
                    result = function(*map(host_value, arguments), **keywords)
            elif self.rewrite and kind == "aten::repeat_interleave" and is_host_number(arguments[1]):
                with _disable_current_modes():
                    count = int(host_value(arguments[1]))
                result = torch.ops.aten.repeat_interleave.self_int(arguments[0], count, *arguments[2:], **keywords)
            elif kind in ASK_DRIVER:
                result = self.shape_from_meta(kind, function, arguments, keywords)
            else:
                result = function(*arguments, **keywords)
        except ExportError:
            raise
        except Exception as error:
            shown = [f"{v.device} {tuple(v.shape)}" for v in flat(inputs) if isinstance(v, torch.Tensor)]
            raise ExportError(
                f"on CUDA, {kind} on {', '.join(shown)} would fail: {str(error).splitlines()[0][:200]}"
            ) from error
        return [result] if len(list(node.outputs())) == 1 else list(result)

    @staticmethod
    def shape_from_meta(kind, function, arguments, keywords):
        devices = {v.device for v in arguments if isinstance(v, torch.Tensor)}
        if len(devices) != 1:
            raise ExportError(f"on CUDA, {kind} would get tensors on {sorted(map(str, devices))}")
        with _disable_current_modes():
            meta = [
                torch.empty(v.shape, dtype=v.dtype, device="meta") if isinstance(v, torch.Tensor) else v
                for v in arguments
            ]
            if kind == "aten::_convolution":
                result = torch.ops.aten.convolution.default(*meta[:9])
            else:
                result = function(*meta, **keywords)
        return torch.empty(result.shape, dtype=result.dtype, device=devices.pop())


def check_devices(module, graph, inputs):
    """Raises ExportError unless every node runs with all its tensors on one CUDA device, outputs included."""
    for output in flat(FakeCudaRun(module, graph, inputs).outputs()):
        if output.device != CUDA:
            raise ExportError(f"on CUDA, an output would stay on {output.device}")
