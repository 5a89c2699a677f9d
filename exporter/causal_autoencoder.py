"""AutoencoderKLCogVideoX, chunk after chunk in time. A trace of a whole clip would hold one number of frames (and give
wrong lengths for others without an error), so each kind of chunk is a method; what a chunk leaves for the next one is a
flat list of tensors."""

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from .part import Case, Part, Traced, random


def chunks(frames, following):
    """Lengths of diffusers' chunks: the remainder goes to the first."""
    count = max(frames // following, 1)
    return [frames - (count - 1) * following] + [following] * (count - 1)


def first_chunks(following, period):
    """All first lengths of clips whose number of frames is 1 modulo period."""
    return [n for n in range(1, 2 * following) if n % period == 1 % period]


def leaves(cache, path=()):
    """(path, tensor) of a conv_cache, sorted."""
    for key in sorted(cache):
        if isinstance(cache[key], dict):
            yield from leaves(cache[key], (*path, key))
        elif cache[key] is not None:
            yield (*path, key), cache[key]


class CausalAutoencoder(Traced):
    """encode_first_N(pixels [1,3,N,H,W]) and encode_next(pixels, cache) -> posterior mean and standard deviation
    [1,C,n,h,w], cache; decode_first_N(latents [1,C,N,h,w]) and decode_next(latents, cache) -> pixels, cache. Latents
    are unscaled. Of diffusers' cache the 1x1x1 convolutions' entries are left out: nobody reads them, and they have the
    size of the pixels."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae
        weight = next(vae.parameters())
        side = 2 ** (len(vae.config.block_out_channels) - 1)
        with torch.no_grad():  # after one frame, a 3x3x3 convolution's entry has two frames
            caches = (
                vae.encoder(weight.new_zeros(1, 3, 1, side, side))[1],
                vae.decoder(weight.new_zeros(1, vae.config.latent_channels, 1, 1, 1))[1],
            )
        self.encode_paths, self.decode_paths = (
            [path for path, tensor in leaves(cache) if tensor.shape[2] > 1] for cache in caches
        )

    @staticmethod
    def nested(paths, tensors):
        cache = {}
        for path, tensor in zip(paths, tensors or (), strict=bool(tensors)):
            inner = cache
            for key in path[:-1]:
                inner = inner.setdefault(key, {})
            inner[path[-1]] = tensor
        return cache

    def encode(self, pixels, tensors=None):
        hidden, cache = self.vae.encoder(pixels, conv_cache=self.nested(self.encode_paths, tensors))
        posterior, cache = DiagonalGaussianDistribution(hidden), dict(leaves(cache))
        return posterior.mean, posterior.std, [cache[path] for path in self.encode_paths]

    def decode(self, latents, tensors=None):
        pixels, cache = self.vae.decoder(latents, conv_cache=self.nested(self.decode_paths, tensors))
        cache = dict(leaves(cache))
        return pixels, [cache[path] for path in self.decode_paths]

    def __getattr__(self, name):
        """encode_first_N, encode_next and so on: what differs between them is fixed by their example inputs."""
        if name.startswith(("encode_", "decode_")) and not name.endswith("_paths"):
            return getattr(self, name[:6])
        return super().__getattr__(name)


def encoded(vae, pixels):
    posterior = vae.encode(pixels, return_dict=False)[0]
    return posterior.mean, posterior.std


def decoded(vae, latents):
    return vae.decode(latents, return_dict=False)[0]


def chunked(name, following):
    """The loop over chunks that the C++ side runs, on a loaded file."""

    def run(file, clip):
        results, cache, start = [], None, 0
        for length in chunks(clip.shape[2], following):
            part = clip[:, :, start : start + length].contiguous()
            *tensors, cache = (
                getattr(file, f"{name}_next")(part, cache) if start else getattr(file, f"{name}_first_{length}")(part)
            )
            results.append(tensors)
            start += length
        joined = tuple(torch.cat(pieces, 2) for pieces in zip(*results))
        return joined if len(joined) > 1 else joined[0]

    return run


def chunk_rules(period, encode_next=8, decode_next=2):
    """The manifest's rules; the lengths of the following chunks are diffusers' own (its num_..._frames_batch_size)."""
    return {
        "encode": {"first": first_chunks(encode_next, period), "next": encode_next},
        "decode": {"first": first_chunks(decode_next, 1), "next": decode_next},
    }


def causal_autoencoder_part(vae, rules, scale, dtype):
    channels = vae.config.latent_channels
    shapes = {
        "encode": lambda n, h, w: (1, 3, n, h * scale, w * scale),
        "decode": lambda n, h, w: (1, channels, n, h, w),
    }
    generator = torch.Generator().manual_seed(4)

    def examples(module):
        found = {}
        for name, rule in rules.items():
            clips = {
                n: random(generator, shapes[name](n, 3, 4), dtype).clamp(-1, 1) for n in {*rule["first"], rule["next"]}
            }
            found.update({f"{name}_first_{n}": (clips[n],) for n in rule["first"]})
            cache = getattr(module, name)(clips[rule["first"][0]])[-1]
            found[f"{name}_next"] = (clips[rule["next"]], cache)
        return found

    def cases(name, what, expected, small, large):
        sizes = [(n, 2, 3) for n in small] + [(n, 5, 4) for n in large]
        clips = [(size, random(generator, shapes[name](*size), dtype).clamp(-1, 1)) for size in sizes]
        return [
            Case(f"{n} {what} of {h}x{w} latents", (clip,), expected, chunked(name, rules[name]["next"]))
            for (n, h, w), clip in clips
        ]

    return Part(
        vae,
        CausalAutoencoder,
        examples,
        {
            "encode": cases("encode", "frames", encoded, (1, 5, 9, 13, 17, 25), (1, 9, 17)),
            "decode": cases("decode", "latent frames", decoded, (1, 2, 3, 4, 5, 7), (1, 3, 5)),
        },
    )
