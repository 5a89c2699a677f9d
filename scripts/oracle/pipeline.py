"""The real classes of a local diffusers folder, in fp32 on the CPU, and the few steps of the pipeline that training and sampling share."""
import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402


class Pipeline:
    def __init__(self, folder):
        from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer
        folder = Path(folder)
        self.unet = UNet3DConditionModel.from_pretrained(folder / "unet").eval().requires_grad_(False)
        self.vae = AutoencoderKL.from_pretrained(folder / "vae").eval().requires_grad_(False)
        self.text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").eval().requires_grad_(False)
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")

    @torch.no_grad()
    def prompt_embedding(self, text):
        """[1,L,D]"""
        positions = self.text_encoder.config.max_position_embeddings
        ids = self.tokenizer(text, padding="max_length", max_length=min(positions, self.tokenizer.model_max_length), return_tensors="pt").input_ids
        return self.text_encoder(ids)[0]

    @torch.no_grad()
    def posterior(self, frames):
        """uint8 [F,H,W,3] -> mean, std [F,C,h,w] of the unscaled latents; frame by frame."""
        pixels = torch.as_tensor(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        found = [self.vae.encode(p[None], return_dict=False)[0] for p in pixels]
        return torch.cat([f.mean for f in found]), torch.cat([f.std for f in found])

    @torch.no_grad()
    def frames(self, latents):
        """[1,C,F,h,w] -> uint8 [F,H,W,3]"""
        unscaled = latents[0].transpose(0, 1) / self.vae.config.scaling_factor
        pixels = torch.cat([self.vae.decode(z[None], return_dict=False)[0] for z in unscaled])
        return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))
