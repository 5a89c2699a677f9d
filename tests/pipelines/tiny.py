"""Tiny text-to-video pipelines of the real diffusers classes: random weights, fixed seeds, a real byte-level BPE
tokenizer.

    python -m tests.pipelines.tiny OUTPUT [--only nano|tiny|tiny_v|mid|nano_2b|nano_5b|nano_15|mid_cog]

Writes OUTPUT/<name>_pipeline, diffusers folders that the exporter takes like any downloaded backbone. What they draw
means nothing; shapes, classes, file layout and numerics are those of ZeroScope, and for the last four of CogVideoX 2B,
5B, 1.5 and 5B."""

import argparse
import json
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.simplefilter("ignore")

from tests.pipelines.tokenizers import write_t5_tokenizer, write_tokenizer  # noqa: E402

UNET = dict(
    nano=dict(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=16,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    ),
    tiny=dict(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        attention_head_dim=16,
        cross_attention_dim=32,
        norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    ),
    tiny_v=dict(
        sample_size=6,
        block_out_channels=(32, 48, 64),
        layers_per_block=1,
        attention_head_dim=8,
        cross_attention_dim=48,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"),
    ),
    mid=dict(
        sample_size=32,
        block_out_channels=(64, 128, 256),
        layers_per_block=2,
        attention_head_dim=64,
        cross_attention_dim=64,
        down_block_types=("CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"),
    ),
)
VAE = dict(
    nano=dict(block_out_channels=(8, 8), norm_num_groups=4, scaling_factor=0.18215),  # 2x
    tiny=dict(block_out_channels=(16, 16, 32), norm_num_groups=8, scaling_factor=0.18215),  # 4x
    tiny_v=dict(block_out_channels=(8, 16, 16, 16), norm_num_groups=8, scaling_factor=0.5),  # 8x
    mid=dict(block_out_channels=(16, 32, 48, 64), norm_num_groups=16, scaling_factor=0.18215),
)  # 8x
TEXT = dict(
    nano=dict(
        hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=1, max_position_embeddings=16
    ),
    tiny=dict(
        hidden_size=32, intermediate_size=64, num_attention_heads=2, num_hidden_layers=2, max_position_embeddings=77
    ),
    tiny_v=dict(
        hidden_size=48, intermediate_size=96, num_attention_heads=3, num_hidden_layers=2, max_position_embeddings=24
    ),
    mid=dict(
        hidden_size=64, intermediate_size=128, num_attention_heads=4, num_hidden_layers=2, max_position_embeddings=77
    ),
)
TOKENIZER = dict(
    nano=dict(merge_count=60, pad_token="!"),
    tiny=dict(merge_count=260, pad_token="!"),
    tiny_v=dict(merge_count=120, pad_token="<|endoftext|>"),
    mid=dict(merge_count=400, pad_token="!"),
)
SCALED_LINEAR = dict(
    beta_schedule="scaled_linear",
    beta_start=0.00085,
    beta_end=0.012,
    num_train_timesteps=1000,
    clip_sample=False,
    set_alpha_to_one=False,
    steps_offset=1,
)
SCHEDULER = dict(
    nano=SCALED_LINEAR,
    tiny=SCALED_LINEAR,
    mid=SCALED_LINEAR,
    tiny_v=dict(
        SCALED_LINEAR, prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    ),
)


def give_weights(model):
    """diffusers zero-initialises some layers (temp_convs' last convolution, proj_out): a test on zeros proves
    nothing."""
    import torch

    for p in model.parameters():
        if p.abs().max() == 0:
            torch.nn.init.normal_(p, std=0.02)
    return model.eval()


def make_pipeline(name, seed):
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    unet = give_weights(UNet3DConditionModel(**UNET[name]))
    levels = len(VAE[name]["block_out_channels"])
    vae = give_weights(
        AutoencoderKL(
            **VAE[name],
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            latent_channels=4,
            layers_per_block=1,
            sample_size=64,
        )
    )
    return (
        unet,
        vae,
        DDIMScheduler(**SCHEDULER[name]),
        TextToVideoSDPipeline,
        lambda tokenizer: give_weights(
            CLIPTextModel(
                CLIPTextConfig(
                    **TEXT[name],
                    vocab_size=len(tokenizer),
                    bos_token_id=tokenizer.bos_token_id,
                    eos_token_id=tokenizer.eos_token_id,
                    pad_token_id=tokenizer.pad_token_id,
                )
            )
        ),
    )


COG_NANO = dict(
    num_attention_heads=2,
    attention_head_dim=16,
    num_layers=2,
    in_channels=4,
    out_channels=4,
    time_embed_dim=16,
    text_embed_dim=16,
    sample_height=8,
    sample_width=12,
    sample_frames=9,
    max_text_seq_length=16,
)
COG_TRANSFORMER = dict(
    nano_2b=COG_NANO,
    nano_5b=dict(COG_NANO, use_rotary_positional_embeddings=True),
    nano_15=dict(COG_NANO, use_rotary_positional_embeddings=True, patch_size_t=2, sample_height=16, sample_width=16),
    mid_cog=dict(
        num_attention_heads=8,
        attention_head_dim=64,
        num_layers=8,
        text_embed_dim=256,
        max_text_seq_length=64,
        sample_height=16,
        sample_width=24,
        sample_frames=9,
        use_rotary_positional_embeddings=True,
    ),
)
COG_VAE_NANO = dict(
    block_out_channels=(8, 8, 8),
    latent_channels=4,
    layers_per_block=1,
    norm_num_groups=4,
    sample_height=32,
    sample_width=48,
)  # 4x, time 4x
COG_VAE = dict(
    nano_2b=COG_VAE_NANO,
    nano_5b=dict(COG_VAE_NANO, scaling_factor=0.7),
    nano_15=dict(COG_VAE_NANO, scaling_factor=0.7),
    mid_cog=dict(
        block_out_channels=(16, 32, 32, 64),
        latent_channels=16,
        layers_per_block=1,
        norm_num_groups=8,  # 8x, time 4x
        sample_height=128,
        sample_width=192,
        scaling_factor=0.7,
    ),
)
COG_TEXT = dict(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
COG_TEXTS = dict(
    nano_2b=COG_TEXT,
    nano_5b=COG_TEXT,
    nano_15=COG_TEXT,
    mid_cog=dict(d_model=256, d_kv=32, d_ff=512, num_layers=2, num_heads=8),
)
COG_BETAS = dict(
    SCALED_LINEAR,
    set_alpha_to_one=True,
    steps_offset=0,
    prediction_type="v_prediction",
    rescale_betas_zero_snr=True,
    timestep_spacing="trailing",
)
COG_BETAS_2B, COG_BETAS_5B = dict(COG_BETAS, snr_shift_scale=3.0), dict(COG_BETAS, snr_shift_scale=1.0)
COG_SCHEDULER = dict(
    nano_2b=("CogVideoXDDIMScheduler", COG_BETAS_2B),
    nano_5b=("CogVideoXDPMScheduler", COG_BETAS_5B),
    nano_15=("CogVideoXDDIMScheduler", COG_BETAS_5B),
    mid_cog=("CogVideoXDPMScheduler", COG_BETAS_5B),
)


def write_index(folder, pipeline, **classes):
    import diffusers

    index = {"_class_name": pipeline, "_diffusers_version": diffusers.__version__, **classes}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def write_cogvideox(name, folder, seed, **save_options):
    import diffusers
    import torch
    from transformers import T5Config, T5EncoderModel

    tokens = COG_TRANSFORMER[name]["max_text_seq_length"]
    ids = write_t5_tokenizer(folder / "tokenizer", tokens, "identity" if name == "nano_15" else "nmt_nfkc")
    torch.manual_seed(seed)
    transformer = give_weights(diffusers.CogVideoXTransformer3DModel(**COG_TRANSFORMER[name]))
    levels = len(COG_VAE[name]["block_out_channels"])
    vae = give_weights(
        diffusers.AutoencoderKLCogVideoX(
            **COG_VAE[name],
            down_block_types=("CogVideoXDownBlock3D",) * levels,
            up_block_types=("CogVideoXUpBlock3D",) * levels,
        )
    )
    text_encoder = give_weights(
        T5EncoderModel(
            T5Config(
                **COG_TEXTS[name],
                vocab_size=ids,
                feed_forward_proj="gated-gelu",
                is_encoder_decoder=False,
                use_cache=False,
            )
        )
    )
    scheduler_class, constants = COG_SCHEDULER[name]
    for part, model in (("transformer", transformer), ("vae", vae), ("text_encoder", text_encoder)):
        model.save_pretrained(folder / part, **save_options)
    getattr(diffusers, scheduler_class)(**constants).save_pretrained(folder / "scheduler")
    write_index(
        folder,
        "CogVideoXPipeline",
        scheduler=["diffusers", scheduler_class],
        text_encoder=["transformers", "T5EncoderModel"],
        tokenizer=["transformers", "T5Tokenizer"],
        transformer=["diffusers", "CogVideoXTransformer3DModel"],
        vae=["diffusers", "AutoencoderKLCogVideoX"],
    )


def write_pipeline(name, folder, seed=20, **save_options):
    """One diffusers folder; save_options go to save_pretrained (safe_serialization, max_shard_size, ...)."""
    if name in COG_TRANSFORMER:
        write_cogvideox(name, folder, seed, **save_options)
        return
    tokenizer = write_tokenizer(
        folder / "tokenizer", max_length=TEXT[name]["max_position_embeddings"], **TOKENIZER[name]
    )
    unet, vae, scheduler, pipeline, make_text_encoder = make_pipeline(name, seed)
    pipe = pipeline(
        vae=vae, text_encoder=make_text_encoder(tokenizer), tokenizer=tokenizer, unet=unet, scheduler=scheduler
    )
    pipe.save_pretrained(folder, **save_options)  # writes tokenizer.json too; vocab.json and merges.txt stay beside it


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--only", choices=[*UNET, *COG_TRANSFORMER], action="append", help="make only this one (repeatable)"
    )
    arguments = parser.parse_args()
    for name in arguments.only or [*UNET, *COG_TRANSFORMER]:
        folder = arguments.output / f"{name}_pipeline"
        if folder.exists():
            sys.exit(f"{folder} exists already: remove it or choose another output folder")
        write_pipeline(name, folder)
        print(folder)


if __name__ == "__main__":
    main()
