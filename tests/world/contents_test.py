"""What is found in videos of which all is known. Exits non-zero on a failure."""

import unittest

import numpy as np
import torch

from tests.world.drawings import film
from world import sprites
from world.contents import WorldError, cover, follows, measure, motion_distance, pieces, track

MOTIONS = [*sprites.MOTIONS, *sprites.HELD_OUT_MOTIONS]
BALL = ("circle", "half", "red", "white")


def canvas(*boxes):
    """[1,32,32]: 1 in each box (top, left, height, width)."""
    result = torch.zeros(1, sprites.SIZE, sprites.SIZE)
    for top, left, height, width in boxes:
        result[0, top : top + height, left : left + width] = 1
    return result


class Contents(unittest.TestCase):
    def test_random_scenes_are_told(self):
        """Every motion four times, at 8 and at 9 frames: nothing of any scene is mistaken."""
        g = np.random.default_rng(3)
        for n in range(4 * len(MOTIONS)):
            asked = sprites.random_scene(g, MOTIONS[n % len(MOTIONS)])
            found = measure(sprites.render(asked, 8 + n % 2))
            self.assertEqual({k for k, right in follows(found, asked).items() if not right}, set(), asked)
            self.assertGreater(found["iou"], 0.85)

    def test_a_track_is_where_the_sprite_was_drawn(self):
        where = torch.tensor([[10.0, 12.0, 5.0], [20.5, 16.25, 6.0]])
        found = track(cover(sprites.draw(sprites.Scene(*BALL, "navy"), where)))
        self.assertLess((found - where).abs().max().item(), 0.25)  # the one-pixel edge of the darker colour counts less

    def test_pieces(self):
        self.assertEqual(pieces(canvas()), [0])
        self.assertEqual(pieces(canvas((4, 4, 2, 3))), [1])  # 6 pixels
        self.assertEqual(pieces(canvas((4, 4, 1, 5))), [0])  # 5
        self.assertEqual(pieces(canvas((4, 4, 3, 3), (4, 9, 3, 3))), [1])  # two pixels apart
        self.assertEqual(pieces(canvas((4, 4, 3, 3), (4, 10, 3, 3))), [2])  # three
        self.assertEqual(pieces(canvas((4, 4, 3, 3), (9, 9, 3, 3))), [1])  # two apart across a corner
        ring = canvas((2, 2, 28, 1), (2, 29, 28, 1), (2, 2, 1, 28), (29, 2, 1, 28), (14, 14, 4, 4))
        self.assertEqual(pieces(ring), [2])  # what it surrounds is another
        self.assertEqual(pieces(torch.cat([ring, canvas(), canvas((0, 0, 32, 32))])), [2, 0, 1])

    def test_no_sprite(self):
        found = measure(torch.tensor(sprites.BACKGROUNDS["teal"]).view(1, 3, 1, 1).expand(4, 3, 32, 32))
        self.assertEqual(
            (found["shape"], found["texture"], found["motion"], found["background"]), (None, None, "", "teal")
        )
        self.assertEqual((found["whole_frames"], found["valid"], found["iou"]), (0, False, 0))
        self.assertEqual(set(found["distances"].values()), {8})

    def test_a_frame_without_a_sprite_counts_8_pixels(self):
        video = film(BALL, "hop")
        whole = motion_distance(track(cover(video)), "hop")
        video[3] = torch.tensor(sprites.BACKGROUNDS["teal"]).view(3, 1, 1)
        blinking = motion_distance(track(cover(video)), "hop")
        self.assertLess(whole, 0.1)
        self.assertAlmostEqual(blinking, (8**2 / 8) ** 0.5, delta=0.1)
        self.assertEqual(measure(video)["whole_frames"], 7)

    def test_what_is_no_video_of_the_world_is_refused(self):
        for video, part in (
            (torch.zeros(8, 3, 64, 64), r"float32 \[F,3,32,32\]; found torch.float32 \[8, 3, 64, 64\]"),
            (torch.zeros(8, 3, 32, 32, dtype=torch.uint8), "torch.uint8"),
            (torch.zeros(0, 3, 32, 32), r"\[0, 3, 32, 32\]"),
        ):
            with self.assertRaisesRegex(WorldError, part):
                measure(video)


if __name__ == "__main__":
    unittest.main()
