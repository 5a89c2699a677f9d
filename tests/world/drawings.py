"""Videos of one sprite, drawn where a test wants it."""

import torch

from world import sprites


def places(motion, frames=8, radius=6.0):
    """[F,3] of a path through the middle of the frame."""
    x, y, size = sprites.path(motion, frames).unbind(1)
    return torch.stack([x + sprites.SIZE / 2, y + sprites.SIZE / 2, size * radius], 1)


def scene(subject, background="teal", motion="still"):
    """subject: shape, texture, first and second colour."""
    return sprites.Scene(*subject, background, motion)


def film(subject, motion, background="teal", frames=8):
    return sprites.draw(scene(subject, background), places(motion, frames))
