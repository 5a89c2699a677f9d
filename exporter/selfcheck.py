"""Compares each written TorchScript file with the model it came from, before the manifest exists."""

import ctypes
import gc
import hashlib
import re
import time

import torch

from . import torchscript_file
from .failure import ExportError, one_line
from .fake_cuda import check_devices

# A trace runs the same operations in the same order, so fp32 differs by the last bits at most, where a sum is cut up
# differently between threads. Half types round each result to 11 and 8 bits: one such difference early on grows through
# some hundred layers.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}


def difference(found, expected):
    """Relative difference in L2."""
    return float((found.double() - expected.double()).norm() / expected.double().norm().clamp_min(1e-12))


def compare(what, found, expected, dtype):
    """Shapes, dtype, finite, and values within the tolerance."""
    if found.shape != expected.shape:
        raise ExportError(
            f"self-check: {what}: the file gives {tuple(found.shape)} and the model {tuple(expected.shape)}: a size "
            "was baked into the trace"
        )
    if expected.dtype != dtype or found.dtype != dtype:
        raise ExportError(
            f"self-check: {what}: the model gives {expected.dtype} and the file {found.dtype}, expected {dtype}"
        )
    if not bool(expected.isfinite().all()):
        raise ExportError(
            f"self-check: {what}: the model itself gives non-finite numbers in {dtype}: its weights are damaged, or it "
            "needs --dtype fp32 or bf16"
        )
    off = difference(found, expected)
    if not off <= TOLERANCE[dtype]:
        raise ExportError(
            f"self-check: {what}: the file differs from the model by {off:.2g} (allowed {TOLERANCE[dtype]:.0e}): a "
            "branch was baked into the trace"
        )
    return off


def digests(named_tensors):
    """SHA-256 of each tensor's bytes: what remains of a model when it is freed."""
    return {
        name: hashlib.sha256(t.detach().contiguous().reshape(-1).view(torch.uint8).numpy()).digest()
        for name, t in named_tensors
    }


def load(path, weights):
    """The file as C++ will read it: same tensors as the model's (weights: digests by name), none of them trainable."""
    try:
        module = torch.jit.load(str(path), map_location="cpu")
    except Exception as error:
        raise ExportError(f"self-check: {path.name} cannot be read back ({one_line(error)})") from error
    named = dict(module.named_parameters())
    found = digests(named.items())
    for name, digest in weights.items():
        if found.get(name) != digest:
            raise ExportError(f"self-check: {path.name}: weight {name} is missing or changed")
        if named[name].requires_grad:
            raise ExportError(f"self-check: {path.name}: weight {name} would be trainable")
    return module


def tuples(value):
    return value if isinstance(value, tuple) else (value,)


def slow(started):
    """Worth a line of its own: of a full-size model."""
    return time.monotonic() - started > 10


def references(part, progress):
    """What the model gives for every case, and the gradient; to be taken before it is traced and freed."""
    expected = {}
    for name, cases in part.cases.items():
        for case in cases:
            started = time.monotonic()
            with torch.no_grad():
                expected[name, case.label] = tuples(case.expected(part.model, *case.inputs))
            if slow(started):
                progress(f"  model: {name}: {case.label}")
    return expected, gradient(part.gradient, part.gradient.expected, part.model) if part.gradient else None


def gradient(case, run, module):
    """Of a weighted sum of the outputs, by the first input: training will run backwards through the file."""
    leaf = case.inputs[0].clone().requires_grad_(True)
    with torch.jit.optimized_execution(False):
        output = run(module, leaf, *case.inputs[1:])
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(5)).to(output.dtype)
        return torch.autograd.grad((output * weights).sum(), leaf)[0]


def check_graph(module, graph, method, inputs, progress):
    """No dropout switched on, no control flow, one device."""
    for node in graph.nodes():
        if node.kind() in ("prim::If", "prim::Loop"):
            raise ExportError(
                f"self-check: {method}: the traced graph holds control flow ({node.kind()}), which the C++ side "
                "refuses: this model cannot be traced"
            )
        if node.kind() in ("aten::dropout", "aten::feature_dropout") and list(node.inputs())[2].toIValue():
            raise ExportError(
                f"self-check: {method}: a dropout is switched on in the traced graph: the model was not in eval mode"
            )
    check_devices(module, graph, inputs)
    progress(f"  {method}: every node runs on one CUDA device (fake tensors)")


def sweep(name, part, loaded, expected, dtype, progress):
    """Compares the file with the model's values at every shape."""
    for group, cases in part.cases.items():
        worst = 0.0
        for case in cases:
            what, started = f"{name}.{group} at {case.label}", time.monotonic()
            try:
                with torch.no_grad(), torch.jit.optimized_execution(False):
                    found = tuples(case.found(loaded, *case.inputs))
            except Exception as error:  # TorchScript's message stands at the end, below the Python stack of the trace
                last = str(error).strip().splitlines()[-1]
                raise ExportError(
                    f"self-check: {what}: the model runs and the file fails ({last[:200]}): a size was baked into the "
                    "trace"
                ) from error
            for a, b in zip(found, expected[group, case.label], strict=True):
                worst = max(worst, compare(what, a, b, dtype))
            if slow(started):
                progress(f"  {group}: {case.label}")
        progress(f"  {group}: {len(cases)} shapes agree with the model to {worst:.1e}")


def parameter_paths(graph):
    """Path of the weight of every aten::linear in an inlined graph, below the module that is traced."""
    paths, found = {next(iter(graph.inputs())).debugName(): ""}, []
    for node in graph.nodes():
        if node.kind() == "prim::GetAttr":
            owner = paths[node.input().debugName()]
            paths[node.output().debugName()] = f"{owner}.{node.s('name')}" if owner else node.s("name")
        elif node.kind() == "aten::linear":
            found.append(paths.get(list(node.inputs())[1].debugName(), ""))
    return found


def check_sites(graph, part, modules):
    """Each adapter site is one aten::linear of the graph, and each segment pattern names modules that the graph
    calls."""
    linears = parameter_paths(graph)
    for site, _ in part.sites:
        if linears.count(f"{part.root}.{site}.weight") != 1:
            raise ExportError(
                f"self-check: site {site} stands {linears.count(f'{part.root}.{site}.weight')} times in the graph as a "
                "linear, expected once"
            )
    for pattern in part.segments:
        if not any(re.fullmatch(pattern, path) for path in modules):
            raise ExportError(
                f"self-check: no module path matches the checkpoint segment {pattern}: this model has another structure"
            )


def free_memory():
    """Gives what is unused back to the system: modules are parts of cycles, and glibc keeps blocks of up to 32 MB,
    which is most of a transformer."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim:
        trim(0)


def write_checked(name, part, path, dtype, progress):
    """Traces the part, writes `path` and compares it with the model. One copy of the weights at any time: the model's
    values come first, then it is traced, written and freed, then the file is loaded. Raises ExportError with what
    disagrees."""
    progress(f"running {name}")
    expected, expected_gradient = references(part, progress)
    modules = [p for p, _ in part.model.named_modules()]
    wrapped = part.wrap(part.model).eval()
    weights = digests(wrapped.named_parameters())
    progress(f"tracing {name}")
    with torch.no_grad():
        examples = part.examples(wrapped)
        # not strict: a list of tensors may be a result
        traced = torch.jit.trace_module(wrapped, examples, check_trace=False, strict=False)
    progress(f"writing {name}")
    torchscript_file.save(traced, path)
    del traced, wrapped
    part.model = None
    free_memory()

    progress(f"checking {name} ({path.stat().st_size / 1e6:.1f} MB)")
    loaded = load(path, weights)
    for method, inputs in examples.items():  # graphs are looked at before a method runs, which may change them
        graph = loaded.inlined_graph if method == "forward" else getattr(loaded, method).inlined_graph
        if part.sites:
            check_sites(graph, part, modules)
        check_graph(loaded, graph, method, inputs, progress)
    sweep(name, part, loaded, expected, dtype, progress)
    if part.gradient:
        off = compare(
            "gradient by the latents", gradient(part.gradient, part.gradient.found, loaded), expected_gradient, dtype
        )
        progress(f"  gradient by the latents agrees to {off:.1e}")
    del loaded
    free_memory()
