"""A procedural world: one bright sprite on one dark background, 32x32 pixels, any number of frames.

A scene is shape x texture x colours x background x motion, with a caption from a small grammar. HELD_OUT_SUBJECTS and
HELD_OUT_MOTIONS never occur in pretraining; references name them by the generic words "a toy" and "dancing", which
pretraining uses for any sprite and any motion. Every sprite colour has a channel above 0.8, every background none above
0.45, so that a pixel tells by itself which of the two it is: the metrics (measure.py) are exact.
"""

import dataclasses
import math

import numpy as np
import torch

SIZE = 32
COLOURS = {
    "red": (0.93, 0.12, 0.12),
    "green": (0.15, 0.85, 0.20),
    "blue": (0.20, 0.40, 1.0),
    "yellow": (1.0, 0.92, 0.15),
    "purple": (0.82, 0.25, 0.95),
    "cyan": (0.15, 0.90, 0.95),
    "white": (0.97, 0.97, 0.97),
}
BACKGROUNDS = {
    "black": (0.05, 0.05, 0.05),
    "navy": (0.06, 0.10, 0.42),
    "forest": (0.05, 0.32, 0.10),
    "brown": (0.40, 0.22, 0.08),
    "gray": (0.36, 0.36, 0.36),
    "maroon": (0.42, 0.05, 0.14),
    "teal": (0.04, 0.36, 0.38),
    "plum": (0.28, 0.10, 0.36),
}
SHAPES = ["circle", "square", "triangle", "cross", "heart"]
TEXTURES = ["plain", "half", "band"]  # half: the right half in the second colour; band: a level band of it
MOTIONS = {
    "still": "staying still",
    "left": "moving left",
    "right": "moving right",
    "up": "moving up",
    "down": "moving down",
    "orbit": "orbiting",
    "bounce": "bouncing",
    "shake": "shaking",
    "grow": "growing",
    "shrink": "shrinking",
}
HELD_OUT_MOTIONS = ["figure_eight", "square_loop", "swoop", "hop", "spiral"]
GENERIC_SUBJECT, GENERIC_MOTION = "a toy", "dancing"
HELD_OUT_SUBJECTS = {
    "ball": ("circle", "half", "red", "white"),
    "sail": ("triangle", "half", "yellow", "purple"),
    "box": ("square", "band", "cyan", "red"),
    "plus": ("cross", "band", "white", "blue"),
    "heart": ("heart", "half", "green", "yellow"),
    "tile": ("square", "half", "purple", "cyan"),
}


@dataclasses.dataclass(frozen=True)
class Scene:
    shape: str
    texture: str
    first: str  # colour
    second: str  # equal to first when plain
    background: str
    motion: str = "still"
    radius: float = 6.5  # pixels
    shift: tuple = (0.0, 0.0)  # -1..1: where in the room that the motion leaves, x to the right, y downwards
    amplitude: float = 1.0


def path(motion, frames):
    """[frames, 3] float64: x and y in pixels from the centre, and the factor of the radius."""
    t = torch.linspace(0, 1, frames, dtype=torch.float64) if frames > 1 else torch.zeros(1, dtype=torch.float64)
    turn = 2 * math.pi * torch.arange(frames, dtype=torch.float64) / frames
    zero, one = torch.zeros_like(t), torch.ones_like(t)
    side = 4 * turn / (2 * math.pi)  # the square's sides, 0..4

    def ramp(x):
        return x.clamp(0, 1)

    x, y, size = {
        "still": lambda: (zero, zero, one),
        "left": lambda: (7 - 14 * t, zero, one),
        "right": lambda: (14 * t - 7, zero, one),
        "up": lambda: (zero, 7 - 14 * t, one),
        "down": lambda: (zero, 14 * t - 7, one),
        "orbit": lambda: (6 * turn.cos(), 6 * turn.sin(), one),
        "bounce": lambda: (zero, 5 - 10 * (2 * math.pi * t).sin().abs(), one),
        "shake": lambda: (4 * (2 * turn).sin(), zero, one),
        "grow": lambda: (zero, zero, 0.6 + 0.8 * t),
        "shrink": lambda: (zero, zero, 1.4 - 0.8 * t),
        "figure_eight": lambda: (7 * turn.sin(), 5.5 * (2 * turn).sin(), one),
        "square_loop": lambda: (
            6.5 * (2 * ramp(side) - 2 * ramp(side - 2) - 1),
            6.5 * (2 * ramp(side - 1) - 2 * ramp(side - 3) - 1),
            one,
        ),
        "swoop": lambda: (14 * t - 7, 10 * (math.pi * t).sin() - 5, 0.7 + 0.6 * (math.pi * t).sin()),
        "hop": lambda: (14 * t - 7, 5 - 10 * (2 * math.pi * t).sin().abs(), one),
        "spiral": lambda: (7.5 * t * (2.5 * math.pi * t).cos(), 7.5 * t * (2.5 * math.pi * t).sin(), one),
    }[motion]()
    return torch.stack([x, y, size], 1)


def distance(shape, u, v):
    """Signed distance to the shape's edge, in radii, negative inside; u to the right and v downwards, in radii."""
    if shape == "circle":
        return (u * u + v * v).sqrt() - 1
    if shape == "square":
        return torch.maximum(u.abs(), v.abs()) - 0.88
    if shape == "triangle":
        return torch.maximum(v - 0.75, (1.75 * u.abs() - 0.95 * (v + 1.05)) / 1.99)
    if shape == "cross":
        return torch.minimum(
            torch.maximum(u.abs() - 1.05, v.abs() - 0.42), torch.maximum(u.abs() - 0.42, v.abs() - 1.05)
        )
    if shape == "heart":
        lobes = ((u.abs() - 0.5) ** 2 + (v + 0.4) ** 2).sqrt() - 0.55
        return torch.minimum(lobes, torch.maximum(-0.35 - v, (1.2 * u.abs() + 0.95 * (v - 1.05)) / 1.53))
    raise ValueError(f"unknown shape {shape!r}; known: {', '.join(SHAPES)}")


def track(scene, frames):
    """[frames, 3]: centre x, centre y, radius in pixels; the whole sprite stays inside the frame."""
    result = path(scene.motion, frames)
    result[:, :2] *= scene.amplitude
    result[:, 2] *= scene.radius
    for axis in (0, 1):
        reach = (result[:, axis].abs() + 1.1 * result[:, 2]).max().item()
        result[:, axis] += SIZE / 2 + scene.shift[axis] * max(0.0, SIZE / 2 - reach)
    return result


def room(radius):
    """How far from the middle of the frame, in pixels, a sprite of that radius may stand."""
    return SIZE / 2 - 1.1 * radius


def wander(scene, g, frames):
    """As track, but through two to five random places, on straight lines or easing in and out; in every second clip the
    size wanders too."""
    corners, eases, grows = int(g.integers(2, 6)), g.random() < 0.5, g.random() < 0.5
    at = np.linspace(0, corners - 1, frames)
    before = np.minimum(at.astype(int), corners - 2)
    part = (at - before)[:, None]
    part = (1 - np.cos(np.pi * part)) / 2 if eases else part
    points = g.uniform(-1, 1, (corners, 3))
    line = (1 - part) * points[before] + part * points[before + 1]
    radius = scene.radius * (1 + 0.4 * grows * line[:, 2])
    return torch.from_numpy(np.stack([*(SIZE / 2 + line[:, i] * room(radius) for i in (0, 1)), radius], 1))


def draw(scene, places):
    """[frames, 3, 32, 32] float32 in 0..1 of the sprite at `places` ([frames, 3]: x, y, radius); outer edges are one
    pixel wide."""
    axis = torch.arange(SIZE, dtype=torch.float32) + 0.5
    x, y, r = (places[:, i, None, None].float() for i in range(3))
    u, v = (
        (axis[None, None, :] - x) / r + 0 * axis[None, :, None],
        (axis[None, :, None] - y) / r + 0 * axis[None, None, :],
    )
    cover = (0.5 - distance(scene.shape, u, v) * r).clamp(0, 1)[:, None]
    second = torch.zeros_like(cover)
    if scene.texture == "half":
        second = (u > 0).float()[:, None]  # sharp: a blend of red and green would be dark
    elif scene.texture == "band":
        second = (v.abs() < 0.3).float()[:, None]

    def colour(table, name):
        return torch.tensor(table[name]).view(1, 3, 1, 1)

    sprite = (1 - second) * colour(COLOURS, scene.first) + second * colour(COLOURS, scene.second)
    return (1 - cover) * colour(BACKGROUNDS, scene.background) + cover * sprite


def render(scene, frames):
    return draw(scene, track(scene, frames))


def random_scene(g, motion=None):
    """g: numpy Generator. Never a held-out subject."""

    def pick(names):
        return names[g.integers(len(names))]

    def uniform(low, high):
        return float(g.uniform(low, high))

    while True:
        texture = TEXTURES[g.choice(3, p=[0.5, 0.27, 0.23])]
        first = pick(list(COLOURS))
        second = first if texture == "plain" else pick([c for c in COLOURS if c != first])
        shape = pick(SHAPES)
        if (shape, texture, first, second) not in HELD_OUT_SUBJECTS.values():
            break
    return Scene(
        shape,
        texture,
        first,
        second,
        pick(list(BACKGROUNDS)),
        motion or pick(list(MOTIONS)),
        uniform(5.8, 7.2),
        (uniform(-1, 1), uniform(-1, 1)),
        uniform(0.85, 1.1),
    )


def subject_words(scene):
    return {
        "plain": f"a {scene.first} {scene.shape}",
        "half": f"a {scene.first} and {scene.second} {scene.shape}",
        "band": f"a {scene.first} {scene.shape} with a {scene.second} band",
    }[scene.texture]


def caption(scene, video=True, g=None):
    """g: numpy Generator; with it now and then the generic words, as in pretraining. Without: the exact caption."""
    subject, motion = subject_words(scene), MOTIONS.get(scene.motion, GENERIC_MOTION)
    if g is not None:
        subject = GENERIC_SUBJECT if g.random() < 0.1 else subject
        motion = GENERIC_MOTION if g.random() < 0.1 else motion
    return " ".join([subject, *([motion] if video else []), f"on a {scene.background} background"])


def sample_captions(count=3000):
    """What the tokenizers learn from: captions, then each word with its plural (SentencePiece makes a word a piece of
    its own only when more than one word begins with it), then every letter."""
    g = np.random.default_rng(0)
    captions = [caption(random_scene(g), video=k % 2 == 0, g=g) for k in range(count)]
    words = sorted({w for c in captions for w in c.split() if len(w) > 1})
    return captions + [f"{w} {w}s" for w in words] * 20 + ["abcdefghijklmnopqrstuvwxyz 0123456789 , . ' -"]
