"""What a video of this world shows: where the one sprite is, what it is, how it moves, on what.

A pixel belongs to the sprite by its largest channel: cover = clamp((max - 0.45) / 0.35, 0, 1), 0 on every background, 1
on every sprite colour. Position and size are moments of the cover, so each shape is fitted in closed form: a shape of
area A r^2 and centroid c r fits at r = sqrt(area / A), centre = centroid - c r."""

import functools

import numpy as np
import torch

from world import sprites

SEEN = 12.0  # pixels of cover below which there is no sprite
SIZE_WEIGHT = 8.0  # pixels for a factor e of the radius, in the distance of two motions
AMPLITUDES = np.arange(0.7, 1.36, 0.05)
FEWEST = 3  # frames with a sprite, for a motion to be told
MISSING = 8.0  # pixels that a frame without a sprite counts


class WorldError(Exception):
    """What is wrong with what was given, in one line."""


def check_video(video):
    if video.dtype != torch.float32 or video.shape[1:] != (3, sprites.SIZE, sprites.SIZE) or not len(video):
        raise WorldError(
            f"the sprite world is measured in float32 [F,3,{sprites.SIZE},{sprites.SIZE}]; found {video.dtype} "
            f"{list(video.shape)}"
        )


def cover(video):
    """[F,3,32,32] in 0..1 to [F,32,32]."""
    return ((video.amax(1) - 0.45) / 0.35).clamp(0, 1)


@functools.lru_cache
def moments(shape):
    """Area / r^2 and the centroid's y / r (x is 0 by symmetry), from a fine drawing."""
    axis = (torch.arange(1200, dtype=torch.float64) + 0.5) / 400 - 1.5
    inside = (sprites.distance(shape, axis[None, :].expand(1200, 1200), axis[:, None].expand(1200, 1200)) < 0).double()
    area = inside.sum().item() / 400**2
    return area, (inside * axis[:, None]).sum().item() / 400**2 / area


def track(covers):
    """[F,3] float64: centroid x and y, radius of the disc of that area; NaN where nothing is seen."""
    axis = torch.arange(sprites.SIZE, dtype=torch.float64) + 0.5
    m = covers.double()
    area = m.sum((1, 2))
    x, y = (m.sum(1) * axis).sum(1) / area, (m.sum(2) * axis).sum(1) / area
    result = torch.stack([x, y, (area / torch.pi).sqrt()], 1)
    result[area < SEEN] = torch.nan
    return result


def fit(shape, places):
    """Where a sprite of that shape must be drawn for these moments: [F,3]."""
    area, low = moments(shape)
    radius = places[:, 2] * (np.pi / area) ** 0.5
    return torch.stack([places[:, 0], places[:, 1] - low * radius, radius], 1)


def overlap(covers, shape, places):
    """[F] soft intersection over union with the fitted shape."""
    white = sprites.Scene(shape, "plain", "white", "white", "black")
    drawn = cover(sprites.draw(white, fit(shape, places)))
    return torch.minimum(covers, drawn).sum((1, 2)) / torch.maximum(covers, drawn).sum((1, 2))


def motion_distance(places, motion):
    """RMS distance in pixels of the track, centred and with its log size, from the motion's path at the best
    amplitude."""
    seen = ~places[:, 0].isnan()
    if seen.sum() < FEWEST:
        return MISSING

    def centred(path, amplitude):
        steps = np.column_stack([path[:, :2] * amplitude, SIZE_WEIGHT * np.log(np.maximum(path[:, 2], 0.2))])
        return steps - steps.mean(0)

    have = centred(places[seen].numpy(), 1)
    want = sprites.path(motion, len(places))[seen].numpy()
    best = min(np.square(have - centred(want, a)).sum(1).mean() for a in AMPLITUDES)
    return float(np.sqrt((best * len(have) + MISSING**2 * (~seen).sum().item()) / len(places)))


def nearest(colour, table):
    return min(table, key=lambda name: sum((a - b) ** 2 for a, b in zip(colour.tolist(), table[name])))


def ground_pixels(video, covers):
    """[N,3]: none of them beside the sprite, where a blend with it may look like another background."""
    beside = torch.nn.functional.max_pool2d(covers, 3, 1, 1) > 0
    return video.permute(0, 2, 3, 1)[~beside]


def pieces(covers):
    """[F] number of sprites of at least 6 pixels; what lies within two pixels is one."""
    around = functools.partial(torch.nn.functional.max_pool2d, kernel_size=3, stride=1, padding=1)
    inside = covers > 0.5
    grown = around(inside.float())
    labels = grown * torch.arange(1, sprites.SIZE**2 + 1).view(1, sprites.SIZE, sprites.SIZE)
    while not torch.equal(
        labels, spread := around(labels) * grown
    ):  # until a piece has the largest of its numbers everywhere
        labels = spread
    return [int((n[m].unique(return_counts=True)[1] >= 6).sum()) for n, m in zip(labels, inside)]


def measure(video):
    """What a video [F,3,32,32] in 0..1 shows, as a dict; None for what cannot be told."""
    check_video(video)
    covers = cover(video)
    places = track(covers)
    seen = ~places[:, 0].isnan()
    whole = sum(n == 1 for n in pieces(covers))
    result = dict(
        whole_frames=whole, valid=whole == len(video), shape=None, texture=None, first=None, second=None, iou=0.0
    )
    ground = ground_pixels(video, covers)
    result["background"] = nearest(ground.median(0).values, sprites.BACKGROUNDS) if len(ground) else None
    distances = {m: motion_distance(places, m) for m in [*sprites.MOTIONS, *sprites.HELD_OUT_MOTIONS]}
    result |= dict(
        motion=min(distances, key=distances.get) if seen.sum() >= FEWEST else "", distances=distances, places=places
    )
    if not seen.any():
        return result
    covers, places, video = covers[seen], places[seen], video[seen]
    overlaps = {s: overlap(covers, s, places).mean().item() for s in sprites.SHAPES}
    result["shape"] = max(overlaps, key=overlaps.get)
    result["iou"] = overlaps[result["shape"]]
    best = np.inf
    core = (covers > 0.95)[:, None]
    for texture in sprites.TEXTURES:
        part = sprites.draw(
            sprites.Scene(result["shape"], texture, "red", "blue", "black"), fit(result["shape"], places)
        )
        second = part[:, 2:] > part[:, :1]  # where the second colour is
        names, error = [], 0.0
        for where in (core & ~second, core & second):
            pixels = video.permute(1, 0, 2, 3)[:, where[:, 0]]
            if not pixels.shape[1]:
                continue
            names.append(nearest(pixels.mean(1), sprites.COLOURS))
            error += (pixels - torch.tensor(sprites.COLOURS[names[-1]])[:, None]).abs().sum().item()
        if names and len(set(names)) == (1 if texture == "plain" else 2) and error < best:
            best = error
            result |= dict(texture=texture, first=names[0], second=names[-1])
    return result


def follows(found, scene, video=True):
    """The caption's parts, each true or false."""
    two = scene.texture != "plain"
    same = (found["first"], found["second"]) == (scene.first, scene.second) and found["texture"] == scene.texture
    either = {found["first"], found["second"]} == {scene.first, scene.second}
    return dict(
        shape=found["shape"] == scene.shape,
        colour=either if two else same,
        texture=found["texture"] == scene.texture,
        background=found["background"] == scene.background,
        valid=found["valid"],
        **({"motion": found["motion"] == scene.motion} if video else {}),
    )
