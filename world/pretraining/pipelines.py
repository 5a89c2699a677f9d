"""The two small pipelines that are pretrained: real diffusers and transformers classes, their sizes, tokenizers and
file layout.

Both cut 32x32 pixels into 8x8 latents. `unet3d` is ZeroScope's family with v prediction and zero terminal SNR: with
epsilon a model this small does not recover the mean of a picture from pure noise. `cogvideox` is the 5B's (rotary
positions, time 4x)."""

import copy
import types
from pathlib import Path

import torch

from tests.pipelines.tiny import write_index
from tests.pipelines.tokenizers import write_t5_tokenizer, write_tokenizer
from world import sprites

TOKENS = 20  # of a caption
WIDTH = 64  # of the text encoder
BETAS = dict(
    beta_schedule="scaled_linear",
    beta_start=0.00085,
    beta_end=0.012,
    num_train_timesteps=1000,
    clip_sample=False,
    prediction_type="v_prediction",
    rescale_betas_zero_snr=True,
    timestep_spacing="trailing",
)


class UNet3D:
    name, frames, latent_frames, channels, scaling = "unet3d", 8, 8, 4, 0.18215
    parts_by_name = ("unet", "vae", "text_encoder")

    def write_tokenizer(self, folder):
        write_tokenizer(folder, merge_count=400, max_length=TOKENS, pad_token="!", sentences=sprites.sample_captions())

    def tokenizer(self, folder):
        from transformers import CLIPTokenizer

        return CLIPTokenizer.from_pretrained(folder)

    def untrained(self, tokenizer):
        """denoiser, autoencoder, text encoder."""
        from diffusers import AutoencoderKL, UNet3DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        unet = UNet3DConditionModel(
            sample_size=8,
            block_out_channels=(32, 64),
            layers_per_block=1,
            attention_head_dim=16,
            cross_attention_dim=WIDTH,
            norm_num_groups=16,
            down_block_types=("CrossAttnDownBlock3D",) * 2,
            up_block_types=("CrossAttnUpBlock3D",) * 2,
        )
        self.prepare(unet)
        vae = AutoencoderKL(
            block_out_channels=(16, 32, 48),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=self.channels,
            layers_per_block=1,
            norm_num_groups=8,
            sample_size=sprites.SIZE,
            scaling_factor=self.scaling,
        )
        text = CLIPTextModel(
            CLIPTextConfig(
                hidden_size=WIDTH,
                intermediate_size=2 * WIDTH,
                num_attention_heads=4,
                num_hidden_layers=2,
                max_position_embeddings=TOKENS,
                vocab_size=len(tokenizer),
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        text.get_input_embeddings().weight.data.normal_(0, 0.5)  # CLIP's own 0.02 takes long to grow from
        return unet, vae, text

    def prepare(self, unet):
        """One head dimension is too small for the fused attention to pay."""
        from diffusers.models.attention_processor import AttnProcessor

        unet.set_attn_processor(AttnProcessor())

    def scheduler(self):
        from diffusers import DDIMScheduler

        return DDIMScheduler(**BETAS, set_alpha_to_one=False, steps_offset=1)

    def encode(self, vae, clips):
        """[B,F,3,32,32] in 0..1 to [B,C,F,8,8], mean and spread of the posterior; not yet scaled."""
        posterior = vae.encode(clips.flatten(0, 1) * 2 - 1).latent_dist
        return [x.unflatten(0, clips.shape[:2]).transpose(1, 2) for x in (posterior.mean, posterior.logvar)]

    def decode(self, vae, latents):
        return vae.decode(latents.transpose(1, 2).flatten(0, 1)).sample.unflatten(0, (latents.shape[0], -1)) / 2 + 0.5

    def predict(self, unet, noisy, timesteps, states):
        return unet(noisy, timesteps, states).sample

    def whiten(self, vae, mean, spread):
        """Folds it into the 1x1 convolutions at the latents: scaled latents get mean 0 and deviation 1."""
        n, k = self.channels, 1 / (spread * self.scaling)
        enter, leave = vae.quant_conv, vae.post_quant_conv
        leave.bias += (leave.weight[:, :, 0, 0] * mean).sum(1)
        leave.weight /= k[None, :, None, None]
        enter.bias[:n] = (enter.bias[:n] - mean) * k
        enter.weight[:n] *= k[:, None, None, None]
        enter.bias[n:] += 2 * k.log()

    index = dict(
        scheduler=["diffusers", "DDIMScheduler"],
        text_encoder=["transformers", "CLIPTextModel"],
        tokenizer=["transformers", "CLIPTokenizer"],
        unet=["diffusers", "UNet3DConditionModel"],
        vae=["diffusers", "AutoencoderKL"],
    )
    pipeline = "TextToVideoSDPipeline"


class CogVideoX:
    name, frames, latent_frames, channels, scaling = "cogvideox", 9, 3, 16, 0.7
    parts_by_name = ("transformer", "vae", "text_encoder")

    def write_tokenizer(self, folder):
        write_t5_tokenizer(folder, TOKENS, "identity", sprites.sample_captions())

    def tokenizer(self, folder):
        from transformers import T5Tokenizer

        return T5Tokenizer.from_pretrained(folder)

    def untrained(self, tokenizer):
        """The published patch of 2x2 latents would be a sixteenth of the picture: too coarse to learn shapes in an
        hour."""
        from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
        from transformers import T5Config, T5EncoderModel

        transformer = CogVideoXTransformer3DModel(
            num_attention_heads=4,
            attention_head_dim=32,
            num_layers=6,
            patch_size=1,
            in_channels=self.channels,
            out_channels=self.channels,
            time_embed_dim=64,
            text_embed_dim=WIDTH,
            sample_height=8,
            sample_width=8,
            sample_frames=self.frames,
            max_text_seq_length=TOKENS,
            use_rotary_positional_embeddings=True,
        )
        vae = AutoencoderKLCogVideoX(
            block_out_channels=(16, 32, 48),
            down_block_types=("CogVideoXDownBlock3D",) * 3,
            up_block_types=("CogVideoXUpBlock3D",) * 3,
            latent_channels=self.channels,
            layers_per_block=1,
            norm_num_groups=8,
            sample_height=sprites.SIZE,
            sample_width=sprites.SIZE,
            scaling_factor=self.scaling,
        )
        text = T5EncoderModel(
            T5Config(
                d_model=WIDTH,
                d_kv=16,
                d_ff=2 * WIDTH,
                num_layers=2,
                num_heads=4,
                vocab_size=len(tokenizer),
                feed_forward_proj="gated-gelu",
                dropout_rate=0.0,
                is_encoder_decoder=False,
                use_cache=False,
            )
        )
        return transformer, vae, text

    def prepare(self, transformer):
        pass

    def scheduler(self):
        from diffusers import CogVideoXDPMScheduler

        return CogVideoXDPMScheduler(**BETAS, set_alpha_to_one=True, steps_offset=0, snr_shift_scale=1.0)

    def encode(self, vae, clips):
        posterior = vae.encode(clips.transpose(1, 2) * 2 - 1).latent_dist
        return [posterior.mean, posterior.logvar]

    def decode(self, vae, latents):
        return vae.decode(latents).sample.transpose(1, 2) / 2 + 0.5

    def predict(self, transformer, noisy, timesteps, states):
        from diffusers.models.embeddings import get_3d_rotary_pos_embed

        n, side = noisy.shape[2], noisy.shape[-1] // transformer.config.patch_size
        rotary = get_3d_rotary_pos_embed(
            transformer.config.attention_head_dim, ((0, 0), (side, side)), (side, side), n, device=noisy.device
        )
        return transformer(noisy.transpose(1, 2), states, timesteps, image_rotary_emb=rotary).sample.transpose(1, 2)

    def whiten(self, vae, mean, spread):
        """Folds it into the encoder's last and the decoder's first convolution and its latent-conditioned norms. The
        first convolution pads with zeros in space, so a mean is exact but along the border: the decoder is trained a
        little further afterwards."""
        n, k = self.channels, 1 / (spread * self.scaling)
        leave, enter = vae.encoder.conv_out.conv, vae.decoder.conv_in.conv
        leave.weight[:n] *= k[:, None, None, None, None]
        leave.bias[:n] = (leave.bias[:n] - mean) * k
        leave.bias[n:] += 2 * k.log()
        enter.bias += (enter.weight.sum((2, 3, 4)) * mean).sum(1)
        enter.weight /= k[None, :, None, None, None]
        for norm in vae.decoder.modules():
            if type(norm).__name__ == "CogVideoXSpatialNorm3D":  # the latents scale and shift what it normalises
                for convolution in (norm.conv_y.conv, norm.conv_b.conv):
                    convolution.bias += (convolution.weight.sum((2, 3, 4)) * mean).sum(1)
                    convolution.weight /= k[None, :, None, None, None]

    index = dict(
        scheduler=["diffusers", "CogVideoXDPMScheduler"],
        text_encoder=["transformers", "T5EncoderModel"],
        tokenizer=["transformers", "T5Tokenizer"],
        transformer=["diffusers", "CogVideoXTransformer3DModel"],
        vae=["diffusers", "AutoencoderKLCogVideoX"],
    )
    pipeline = "CogVideoXPipeline"


class BFloat16Linear(torch.autograd.Function):
    """x w^T + b with bf16 products and fp32 everywhere else: twice as fast on CPUs that have them. Autocast is slower
    here, since activations and norms between the products then run in bf16 as well."""

    @staticmethod
    def forward(context, x, weight, bias):
        rows, half = x.reshape(-1, x.shape[-1]).bfloat16(), weight.bfloat16()
        context.save_for_backward(rows, half)
        context.has_bias = bias is not None
        y = (rows @ half.t()).float()
        return (y if bias is None else y.add_(bias)).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(context, grad):
        rows, half = context.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        g = flat.bfloat16()
        return (
            (g @ half).float().view(*grad.shape[:-1], -1),
            (g.t() @ rows).float(),
            flat.sum(0) if context.has_bias else None,
        )


def multiply_in_bfloat16(model):
    """Weights stay fp32; linear and convolution layers round their factors."""

    def linear(self, x, *_):
        return BFloat16Linear.apply(x, self.weight, self.bias)

    def convolution(self, x):
        return self._conv_forward(
            x.bfloat16(), self.weight.bfloat16(), None if self.bias is None else self.bias.bfloat16()
        ).float()

    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.forward = types.MethodType(linear, module)
        elif isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d)):
            module.forward = types.MethodType(convolution, module)


FAMILIES = {family.name: family for family in (UNet3D(), CogVideoX())}


def write_pipeline(family, folder, models):
    """The diffusers folder in fp16. models: denoiser, autoencoder, text encoder."""
    for part, model in zip(family.parts_by_name, models):
        copy.deepcopy(model).half().save_pretrained(folder / part)
    family.write_tokenizer(folder / "tokenizer")
    family.scheduler().save_pretrained(folder / "scheduler")
    write_index(folder, family.pipeline, **family.index)


def token_ids(tokenizer, captions):
    return tokenizer(captions, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt").input_ids


def count(model):
    return sum(p.numel() for p in model.parameters())


if __name__ == "__main__":
    import tempfile

    for family in FAMILIES.values():
        with tempfile.TemporaryDirectory() as folder:
            family.write_tokenizer(Path(folder))
            tokenizer = family.tokenizer(folder)
            models = family.untrained(tokenizer)
            print(family.name, {n: count(m) for n, m in zip(family.parts_by_name, models)}, "tokens", len(tokenizer))
            ids = token_ids(tokenizer, ["a red circle with a white band orbiting on a plum background"])
            print(tokenizer.convert_ids_to_tokens(ids[0]))
            clips = torch.rand(2, family.frames, 3, 32, 32)
            with torch.no_grad():
                mean, _ = family.encode(models[1], clips)
                print(
                    mean.shape,
                    family.decode(models[1], mean).shape,
                    family.predict(models[0], mean, torch.tensor([1, 2]), models[2](ids)[0].expand(2, -1, -1)).shape,
                )
