"""How well a video is what was asked for, and what of the references has leaked into it: scores in 0..1.

appearance     mean over frames of max(0, 1 - e / 0.3), e the mean colour difference from the subject drawn where it
               fits, over the union of both; 0 for a frame without a sprite
motion         exp(-(distance / 1.5 px)^2), the distance of contents.motion_distance
contamination  the larger of: share of sprite pixels nearest to a colour of a reference video's sprite that the subject
               does not have; share of the ground nearest to a reference's background that was not asked for
text           share of the ground nearest to the asked background
validity       share of frames with exactly one sprite
joint          harmonic mean of appearance, motion and 1 - contamination; 0 when one of them is 0
"""

import dataclasses

import numpy as np
import torch

from world import sprites
from world.contents import WorldError, check_video, cover, fit, ground_pixels, motion_distance, pieces, track

NAMES = ("appearance", "motion", "contamination", "text", "validity", "joint")
MOTION_SCALE = 1.5  # pixels
COLOUR_SCALE = 0.3  # about what two subjects drawn at random differ by


@dataclasses.dataclass(frozen=True)
class References:
    """What must not turn up in a result: the colours of the reference videos' sprites, and the backgrounds of all
    references."""

    colours: frozenset
    backgrounds: frozenset


def check_name(kind, name, known):
    if name not in known:
        raise WorldError(f"unknown {kind} {name!r} of the sprite world; known: {', '.join(known)}")


def check_scene(scene):
    check_name("shape", scene.shape, sprites.SHAPES)
    check_name("texture", scene.texture, sprites.TEXTURES)
    for colour in (scene.first, scene.second):
        check_name("sprite colour", colour, sprites.COLOURS)
    check_name("background", scene.background, sprites.BACKGROUNDS)
    check_name("motion", scene.motion, [*sprites.MOTIONS, *sprites.HELD_OUT_MOTIONS])


def share(pixels, table, names):
    """Of the pixels [N,3], those whose nearest colour in the table has one of these names."""
    if not len(pixels):
        return 0.0
    nearest = (pixels[:, None] - torch.tensor(list(table.values()))).square().sum(2).argmin(1)
    return torch.tensor([name in names for name in table])[nearest].double().mean().item()


def appearance(video, covers, places, scene):
    """Summed over frames, each of which shows a sprite."""
    drawn = sprites.draw(scene, fit(scene.shape, places))
    either = torch.maximum(covers, cover(drawn))
    difference = ((video - drawn).abs().mean(1) * either).sum((1, 2)) / either.sum((1, 2))
    return (1 - difference / COLOUR_SCALE).clamp(min=0).sum().item()


def joint(appearance, motion, contamination):
    parts = (appearance, motion, 1 - contamination)
    return 3 / sum(1 / part for part in parts) if min(parts) > 0 else 0.0


def scores(video, scene, references):
    """The six of a video [F,3,32,32] in 0..1 that was asked to be the scene, by name."""
    check_video(video)
    check_scene(scene)
    covers = cover(video)
    places = track(covers)
    seen = ~places[:, 0].isnan()
    ground, sprite = ground_pixels(video, covers), video.permute(0, 2, 3, 1)[covers > 0.95]
    found = dict(
        appearance=appearance(video[seen], covers[seen], places[seen], scene) / len(video) if seen.any() else 0.0,
        motion=float(np.exp(-((motion_distance(places, scene.motion) / MOTION_SCALE) ** 2))),
        contamination=max(
            share(sprite, sprites.COLOURS, references.colours - {scene.first, scene.second}),
            share(ground, sprites.BACKGROUNDS, references.backgrounds - {scene.background}),
        ),
        text=share(ground, sprites.BACKGROUNDS, {scene.background}),
        validity=sum(n == 1 for n in pieces(covers)) / len(video),
    )
    return found | dict(joint=joint(found["appearance"], found["motion"], found["contamination"]))
