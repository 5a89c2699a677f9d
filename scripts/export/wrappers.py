"""The three modules that are traced: one stated signature each, which the C++ side calls."""
import torch
from torch import nn


class Denoiser(nn.Module):
    """latents [B,C,F,h,w], timestep [B] int64, prompt_embedding [B,L,D] -> prediction like latents. Module paths start with `unet`."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, latents, timestep, prompt_embedding):
        return self.unet(latents, timestep, prompt_embedding, return_dict=False)[0]


class Autoencoder(nn.Module):
    """encode: pixels [N,3,H,W] in [-1,1] -> posterior mean and standard deviation [N,C,h,w]; decode: unscaled latents [N,C,h,w] -> pixels."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def encode(self, pixels):
        posterior = self.vae.encode(pixels, return_dict=False)[0]
        return posterior.mean, posterior.std

    def decode(self, latents):
        return self.vae.decode(latents, return_dict=False)[0]


class TextEncoder(nn.Module):
    """ids [B,L] int64 -> last hidden state [B,L,D]; no padding mask, as the pipeline calls it."""

    def __init__(self, text_encoder):
        super().__init__()
        self.text_encoder = text_encoder

    def forward(self, ids):
        return self.text_encoder(ids, return_dict=False)[0]


def random(generator, shape, dtype):
    return torch.randn(shape, generator=generator).to(dtype)


def denoiser_inputs(unet, dtype, generator, batch, frames, height, width, tokens):
    """Example inputs of Denoiser.forward."""
    return (random(generator, (batch, unet.config.in_channels, frames, height, width), dtype),
            torch.randint(0, 1000, (batch,), generator=generator),
            random(generator, (batch, tokens, unet.config.cross_attention_dim), dtype))


def trace_denoiser(unet, dtype):
    """Odd latent sizes make the trace take the symbolic up-sampling branch, which serves every size."""
    down = 2 ** (len(unet.config.block_out_channels) - 1)
    generator = torch.Generator().manual_seed(1)
    module = Denoiser(unet).eval()
    example = denoiser_inputs(unet, dtype, generator, 2, 3, down + 1, down + 2, 7)
    with torch.no_grad():
        return module, torch.jit.trace(module, example, check_trace=False)


def trace_autoencoder(vae, dtype):
    compression = spatial_compression(vae)
    generator = torch.Generator().manual_seed(2)
    module = Autoencoder(vae).eval()
    pixels = random(generator, (2, 3, 3 * compression, 4 * compression), dtype).clamp(-1, 1)
    latents = random(generator, (2, vae.config.latent_channels, 3, 4), dtype)
    with torch.no_grad():
        return module, torch.jit.trace_module(module, {"encode": pixels, "decode": latents}, check_trace=False)


def trace_text_encoder(text_encoder):
    module = TextEncoder(text_encoder).eval()
    ids = torch.arange(2 * 9).reshape(2, 9) % text_encoder.config.vocab_size
    with torch.no_grad():
        return module, torch.jit.trace(module, ids, check_trace=False)


def spatial_compression(vae):
    """Pixels per latent on each side: every encoder level but the last halves the size."""
    return 2 ** (len(vae.config.block_out_channels) - 1)
