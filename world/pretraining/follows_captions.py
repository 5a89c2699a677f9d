"""How well an un-tuned pipeline follows captions: samples fresh ones of the grammar, measures the videos, prints the
shares.

    python -m world.pretraining.follows_captions unet3d|cogvideox PIPELINE
                                                 [--count 200] [--images] [--guidance 2] [--sheet FILE.png]

PIPELINE is a diffusers folder or the state.pt of an unfinished pretraining (its averaged weights). `--images` looks at
one-frame samples. Bars: shape, colour and background right in 90 %, motion in 85 %."""

import argparse
import os
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402

from world import sprites  # noqa: E402
from world.measure import follows, measure  # noqa: E402
from world.pretraining.pipelines import FAMILIES, token_ids  # noqa: E402


def load(family, path):
    """tokenizer, denoiser, autoencoder, text encoder in fp32."""
    if path.is_file():
        state = torch.load(path, weights_only=True, map_location="cpu")
        tokenizer = family.tokenizer(path.parent / "tokenizer")
        denoiser, vae, text = family.untrained(tokenizer)
        for model, name in ((denoiser, "denoiser"), (vae, "vae"), (text, "text")):
            model.load_state_dict(state[name])
        if state["stage"] != "autoencoder":
            for p, average in zip([*denoiser.parameters(), *text.parameters()], state["averages"]):
                p.data.copy_(average)
    else:
        tokenizer = family.tokenizer(path / "tokenizer")
        models = [
            getattr(__import__(library), name).from_pretrained(path / part, torch_dtype=torch.float32)
            for part in family.parts_by_name
            for library, name in [family.index[part]]
        ]
        denoiser, vae, text = models
        family.prepare(denoiser)
    return (tokenizer, *(m.eval().requires_grad_(False) for m in (denoiser, vae, text)))


@torch.no_grad()
def sample(family, models, captions, latent_frames, steps, guidance, seed):
    """With the pipeline's own scheduler (UNet3D: DDIM, CogVideoX: DPM++ SDE) as its diffusers pipeline calls it:
    [B,F,3,32,32] in 0..1."""
    tokenizer, denoiser, vae, text = models
    states = text(token_ids(tokenizer, [""] * len(captions) + captions))[0]
    scheduler, g, clean, before = family.scheduler(), torch.Generator().manual_seed(seed), None, None
    scheduler.set_timesteps(steps)
    z = torch.randn(len(captions), family.channels, latent_frames, 8, 8, generator=g)
    for t in scheduler.timesteps:
        plain, asked = family.predict(denoiser, torch.cat([z, z]), t.expand(2 * len(z)), states).chunk(2)
        v = plain + guidance * (asked - plain)
        if family.name == "cogvideox":
            z, clean = scheduler.step(v, clean, t, before, z, generator=g, return_dict=False)
            before = t
        else:
            z = scheduler.step(v, t, z, return_dict=False)[0]
    return family.decode(vae, z / family.scaling).clamp(0, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=list(FAMILIES))
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--images", action="store_true")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sheet", type=Path, help="the first 24 samples, truth beside them")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    family = FAMILIES[arguments.family]
    models = load(family, arguments.pipeline)
    g = np.random.default_rng(12345)  # pretraining's generators are named otherwise
    motions = list(sprites.MOTIONS)
    scenes = [
        sprites.random_scene(g, "still" if arguments.images else motions[i % len(motions)])
        for i in range(arguments.count)
    ]
    frames = 1 if arguments.images else family.frames
    videos = torch.cat(
        [
            sample(
                family,
                models,
                [sprites.caption(s, not arguments.images) for s in scenes[i : i + 20]],
                1 if arguments.images else family.latent_frames,
                arguments.steps,
                arguments.guidance,
                i,
            )
            for i in range(0, len(scenes), 20)
        ]
    )
    found = [measure(v) for v in videos]
    rows = [follows(f, s, not arguments.images) | {"iou": f["iou"]} for f, s in zip(found, scenes)]
    print(
        f"{arguments.family}, {len(rows)} captions, {arguments.steps} steps, guidance {arguments.guidance:g}:",
        ", ".join(f"{k} {np.mean([r[k] for r in rows]):.3f}" for k in rows[0]),
    )
    if not arguments.images:
        print(
            "motion by motion:",
            ", ".join(
                f"{m} {np.mean([r['motion'] for r, s in zip(rows, scenes) if s.motion == m]):.2f}" for m in motions
            ),
        )
    if arguments.sheet:
        from PIL import Image

        def strip(video):
            return torch.cat([torch.nn.functional.pad(f, (1, 1, 1, 1), value=1.0) for f in video], 2)

        pairs = [torch.cat([strip(sprites.render(s, frames)), strip(v)], 2) for s, v in zip(scenes[:24], videos)]
        sheet = torch.cat(pairs, 1)
        image = (sheet.permute(1, 2, 0) * 255).round().byte().numpy()
        Image.fromarray(image).resize((image.shape[1] * 2, image.shape[0] * 2), 0).save(arguments.sheet)


if __name__ == "__main__":
    main()
