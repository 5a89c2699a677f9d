"""What a pretraining step shows: how many samples of which stage, where in the frame and at which noise. Every random
number comes from a generator named by (stage, step)."""

import dataclasses
import math

import numpy as np
import torch

from world import sprites

SEED = 7
STREAMS = dict(autoencoder=1000, images=1001, videos=1002, decoder=1003)  # of random numbers
# steps of each stage, samples a step, largest learning rate
SETTINGS = {
    "unet3d": dict(autoencoder=(4000, 32, 2e-3), decoder=(0, 0, 0), images=(3500, 64, 1.5e-3), videos=(3000, 12, 1e-3)),
    "cogvideox": dict(
        autoencoder=(4000, 16, 2e-3), decoder=(200, 16, 5e-4), images=(6500, 32, 2e-3), videos=(10000, 12, 1e-3)
    ),
}
POOL = dict(images=30000, clips=8000)
WHITENING_CLIPS = 400  # whose latents' mean and deviation are folded away
IMAGE_SHARE = 0.12  # of the samples' steps in the last stage
# Where a sprite is depends on motion word x frame x direction: no two of these three tell anything alone, so that a
# loss over all motions anywhere in the frame has no slope towards it (20,000 clips left motion at chance). Four motions
# through the frame's middle have one (250 steps); then the others, then places.
FIRST_MOTIONS, FIRST_STEPS = ("left", "right", "up", "down"), 400
# Shape is shape word x place in the same way. A UNet finds it without help; a DiT does not (160,000 pictures anywhere
# left shape at chance, with colours at 85 %; 20,000 in the middle bound it). So a pool begins with samples in the
# middle and ends with samples anywhere (clip_place, picture_place), and up to a step only its beginning is drawn from:
# (step, share) of the corners, in between on a line; from the last on only what lies behind it.
CLIP_WINDOW = ((1200, 0.25), (2200, 0.5))
PICTURE_WINDOW = {"unet3d": (), "cogvideox": ((600, 0.2), (1800, 0.5), (3000, 0.7))}
LATENT = 4  # pixels
# The timesteps that are trained more than evenly: (from this step on, share of the samples, from t, to t). Motion is
# decided in the first fifth of sampling. Sixteen channels show through noise what four do not: for the DiT the caption
# decides a shape between t = 800, where it is known where the sprite is, and 450, where one sees it; in the middle of
# the frame it decides from the first.
CLIP_NOISE = {
    "unet3d": ((0, 0.75, 750, 1000),),
    "cogvideox": ((0, 0.75, 750, 1000), (1200, 0.75, 450, 1000), (4000, 0.75, 300, 900)),
}
PICTURE_NOISE = {"unet3d": ((0, 0, 0, 1000),), "cogvideox": ((0, 0.5, 750, 1000), (4290, 0.75, 450, 800))}
CAPTION_DROP = 0.1
# Of the autoencoder's clips; the others wander: it must give back whatever moves, held-out motions too.
KNOWN_MOTIONS_SHARE = 0.3


def rng(*name):
    """numpy's and torch's generator of that name, e.g. rng("videos", 17)."""
    words = [SEED, *(STREAMS[n] if isinstance(n, str) else n for n in name)]
    g = np.random.default_rng(words)
    return g, torch.Generator().manual_seed(int(g.integers(2**62)))


def picture_scene(g):
    scene = sprites.random_scene(g, "still")
    return dataclasses.replace(scene, radius=float(g.uniform(4.5, 8.5)))


def clip_place(scene, share):
    """The scene where clips are at that share (0..1) of the pool: in the middle, then further out."""
    (_, middle), (_, anywhere) = CLIP_WINDOW
    spread = float(np.interp(share, (middle, anywhere), (0, 1)))
    return dataclasses.replace(scene, shift=tuple(spread * s for s in scene.shift))


def picture_place(scene, share, stops):
    """As clip_place, but first out on the grid of the latents, where a token looks the same wherever it is, then off
    it."""
    if not stops:
        return scene
    middle, grid, anywhere = (s for _, s in stops)
    spread = float(np.interp(share, (middle, grid), (0, 1)))
    off_grid = float(np.interp(share, (grid, anywhere), (0, 1)))
    room = sprites.room(scene.radius)

    def moved(shift):
        pixels = spread * shift * room
        nearest = LATENT * round(pixels / LATENT)
        if abs(nearest) > room:
            nearest -= math.copysign(LATENT, nearest)
        return (nearest + off_grid * (pixels - nearest)) / room

    return dataclasses.replace(scene, shift=tuple(map(moved, scene.shift)))


def window(step, stops):
    """Which part of a pool the step draws from, 0..1."""
    if not stops:
        return 0, 1
    steps, shares = zip(*stops)
    return (0, float(np.interp(step, steps, shares))) if step < steps[-1] else (shares[-1], 1)


def noise_band(step, bands):
    """(share, from, to) of that step."""
    return [band for first, *band in bands if first <= step][-1]


def learning_rate(step, steps, largest, decay):
    """Warm-up of 100 steps, flat, then straight down to 2 % over the last part `decay` of the stage."""
    left = (steps - step) / (steps * decay) if decay else 1
    return largest * min(1, (step + 1) / 100) * min(1, max(0.02, left))
