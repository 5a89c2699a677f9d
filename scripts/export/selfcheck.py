"""Compares each written TorchScript file with the model it came from, before the manifest exists."""
import re
import time

import torch

from .failure import ExportError, one_line
from .fake_cuda import check_devices
from .manifest import adapter_sites
from .wrappers import denoiser_inputs, random

# A trace runs the same operations in the same order, so fp32 differs by the last bits at most, where a sum is cut up differently
# between threads. Half types round each result to 11 and 8 bits: one such difference early on grows through some hundred layers.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}


def difference(found, expected):
    """Relative difference in L2."""
    return float((found.double() - expected.double()).norm() / expected.double().norm().clamp_min(1e-12))


def compare(what, found, expected, dtype):
    """Shapes, dtype, finite, and values within the tolerance."""
    if found.shape != expected.shape:
        raise ExportError(f"self-check: {what}: the file gives {tuple(found.shape)} and the model {tuple(expected.shape)}: a size was baked into the trace")
    if expected.dtype != dtype or found.dtype != dtype:
        raise ExportError(f"self-check: {what}: the model gives {expected.dtype} and the file {found.dtype}, expected {dtype}")
    if not bool(expected.isfinite().all()):
        raise ExportError(f"self-check: {what}: the model itself gives non-finite numbers in {dtype}: its weights are damaged, or it needs --dtype fp32 or bf16")
    off = difference(found, expected)
    if not off <= TOLERANCE[dtype]:
        raise ExportError(f"self-check: {what}: the file differs from the model by {off:.2g} (allowed {TOLERANCE[dtype]:.0e}): a branch was baked into the trace")
    return off


def load(path, eager):
    """The file as C++ will read it: same tensors as the model's, none of them trainable, dropouts off."""
    try:
        module = torch.jit.load(str(path), map_location="cpu")
    except Exception as error:
        raise ExportError(f"self-check: {path.name} cannot be read back ({one_line(error)})") from error
    found = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, tensor in eager.named_parameters():
        if name not in found or not torch.equal(found[name], tensor):
            raise ExportError(f"self-check: {path.name}: weight {name} is missing or changed")
        if found[name].requires_grad:
            raise ExportError(f"self-check: {path.name}: weight {name} would be trainable")
    return module


def graph_of(module, method):
    """To be taken before the method runs, which may change its graph."""
    return module.inlined_graph if method == "forward" else getattr(module, method).inlined_graph


def check_graph(module, graph, method, inputs, progress):
    """No dropout switched on, no control flow, one device."""
    for node in graph.nodes():
        if node.kind() in ("prim::If", "prim::Loop"):
            raise ExportError(f"self-check: {method}: the traced graph holds control flow ({node.kind()}), which the C++ side refuses: this model cannot be traced")
        if node.kind() in ("aten::dropout", "aten::feature_dropout") and list(node.inputs())[2].toIValue():
            raise ExportError(f"self-check: {method}: a dropout is switched on in the traced graph: the model was not in eval mode")
    check_devices(module, graph, inputs)
    progress(f"  {method}: every node runs on one CUDA device (fake tensors)")


def sweep(name, method, loaded, eager, cases, dtype, progress):
    """Compares at every shape of cases, a list of (label, inputs), then looks at the graph's nodes."""
    worst, graph = 0.0, graph_of(loaded, method)
    with torch.no_grad(), torch.jit.optimized_execution(False):
        for label, inputs in cases:
            started = time.monotonic()
            expected = getattr(eager, method)(*inputs)
            try:
                found = getattr(loaded, method)(*inputs)
            except Exception as error:   # its own message stands at the end, below the Python stack of the trace
                last = str(error).strip().splitlines()[-1]
                raise ExportError(f"self-check: {name}.{method} at {label}: the model runs and the file fails ({last[:200]}): a size was baked into the trace") from error
            pairs = zip(found, expected) if isinstance(expected, tuple) else [(found, expected)]
            for a, b in pairs:
                worst = max(worst, compare(f"{name}.{method} at {label}", a, b, dtype))
            if time.monotonic() - started > 10:   # of a full-size model
                progress(f"  {method}: {label}")
    progress(f"  {method}: {len(cases)} shapes agree with the model to {worst:.1e}")
    check_graph(loaded, graph, method, cases[1][1], progress)


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


def check_sites(loaded, unet, document):
    """Each adapter site is one aten::linear of the graph, and each segment pattern names modules that the graph calls."""
    linears = parameter_paths(loaded.inlined_graph)
    for rule in document["denoiser"]["adapter_rules"]:
        sites = adapter_sites(unet, rule["ancestor_class"], rule["names"])
        for site in sites:
            if linears.count(f"unet.{site}.weight") != 1:
                raise ExportError(f"self-check: site {site} stands {linears.count(f'unet.{site}.weight')} times in the graph as a linear, expected once")
    modules = [path for path, _ in unet.named_modules()]
    for pattern in document["denoiser"]["segments"]:
        if not any(re.fullmatch(pattern, path) for path in modules):
            raise ExportError(f"self-check: no module path matches the checkpoint segment {pattern}: this UNet has another structure")


def check_gradient(loaded, eager, inputs, dtype, progress):
    """The gradient by the latents through the file equals the one through the model: training will run backwards through it."""
    gradients = []
    with torch.jit.optimized_execution(False):
        for model in (loaded, eager):
            latents = inputs[0].clone().requires_grad_(True)
            prediction = model(latents, *inputs[1:])
            weights = random(torch.Generator().manual_seed(5), prediction.shape, dtype)
            gradients.append(torch.autograd.grad((prediction * weights).sum(), latents)[0])
    off = compare("gradient by the latents", *gradients, dtype)
    progress(f"  gradient by the latents agrees to {off:.1e}")


def check_denoiser(path, eager, dtype, document, progress):
    unet, loaded = eager.unet, load(path, eager)
    generator = torch.Generator().manual_seed(3)
    down = 2 ** (len(unet.config.block_out_channels) - 1)
    tokens = document["text"]["max_length"]
    if dtype == torch.float32:
        shapes = [(1, 1, down, down, tokens), (2, 3, down + 1, 2 * down + 1, 7), (1, 4, 2 * down, 3 * down, tokens),
                  (3, 2, down + 2, down, 1), (1, 7, 2 * down + 3, down + 1, 5), (2, 1, down, 2 * down, 3)]
    else:   # sizes do not depend on the dtype, and processors without half arithmetic take minutes for one pass of a full-size model
        shapes = [(1, 1, down, down, tokens), (2, 2, down + 1, down, 3), (1, 3, down + 2, 2 * down, 5)]
    cases = [("batch {}, {} frames, {}x{} latents, {} tokens".format(*s), denoiser_inputs(unet, dtype, generator, *s)) for s in shapes]
    check_sites(loaded, unet, document)
    sweep("denoiser", "forward", loaded, eager, cases, dtype, progress)
    check_gradient(loaded, eager, cases[1][1], dtype, progress)


def check_autoencoder(path, eager, dtype, document, progress):
    loaded = load(path, eager)
    latents = document["latents"]
    scale, channels = latents["spatial_compression"], latents["channels"]
    generator = torch.Generator().manual_seed(4)
    sizes = [(1, 2, 2), (2, 3, 4), (5, 4, 3), (1, 6, 5)]
    pixels = [(f"{n} images of {h * scale}x{w * scale}", (random(generator, (n, 3, h * scale, w * scale), dtype).clamp(-1, 1),)) for n, h, w in sizes]
    small = [(f"{n} latents of {h}x{w}", (random(generator, (n, channels, h, w), dtype),)) for n, h, w in sizes]
    for method, cases in (("encode", pixels), ("decode", small)):
        sweep("autoencoder", method, loaded, eager, cases, dtype, progress)
    with torch.no_grad():
        n, h, w = sizes[1]
        mean, std = eager.encode(*pixels[1][1])
        decoded = eager.decode(*small[1][1])
    if mean.shape != (n, channels, h, w) or std.shape != mean.shape or decoded.shape != (n, 3, h * scale, w * scale):
        raise ExportError(f"self-check: the autoencoder turns {tuple(pixels[1][1][0].shape)} into {tuple(mean.shape)} and {tuple(small[1][1][0].shape)} into "
                          f"{tuple(decoded.shape)}: expected compression {scale} and {channels} channels")


def check_text_encoder(path, eager, dtype, document, progress):
    loaded = load(path, eager)
    text = document["text"]
    generator = torch.Generator().manual_seed(6)
    limit = eager.text_encoder.config.vocab_size
    lengths = sorted({1, 2, 7, text["max_length"] - 1, text["max_length"]})
    cases = [(f"batch {b}, {n} tokens", (torch.randint(0, limit, (b, n), generator=generator),)) for b, n in zip((1, 3, 2, 1, 2), lengths)]
    sweep("text_encoder", "forward", loaded, eager, cases, dtype, progress)
    with torch.no_grad():
        shape = tuple(eager(*cases[-1][1]).shape)
    if shape[1:] != (lengths[-1], text["embedding_width"]):
        raise ExportError(f"self-check: the text encoder gives {shape}, expected [B,{lengths[-1]},{text['embedding_width']}]")


def check(name, path, eager, dtype, document, progress):
    """Raises ExportError with what disagrees; name is denoiser, autoencoder or text_encoder."""
    {"denoiser": check_denoiser, "autoencoder": check_autoencoder, "text_encoder": check_text_encoder}[name](path, eager, dtype, document, progress)
