"""Scores of true and of wrong videos. Exits non-zero on a failure."""

import dataclasses
import unittest

import torch

from tests.world.drawings import film, places, scene
from world import sprites
from world.contents import WorldError
from world.scores import References, joint, scores, share

MOTIONS = [*sprites.MOTIONS, *sprites.HELD_OUT_MOTIONS]
BALL = ("circle", "half", "red", "white")
ASKED = scene(BALL, "teal", "figure_eight")
REFERENCES = References(frozenset({"green", "blue", "cyan"}), frozenset({"navy", "brown", "gray"}))


def of(subject, background="teal", motion="figure_eight"):
    return scores(film(subject, motion, background), ASKED, REFERENCES)


class Scores(unittest.TestCase):
    def test_truth_scores_near_one(self):
        for motion in MOTIONS:
            for subject in (BALL, ("heart", "band", "green", "yellow"), ("cross", "plain", "blue", "blue")):
                found = scores(
                    film(subject, motion, frames=9),
                    scene(subject, "teal", motion),
                    References(frozenset({"purple"}), REFERENCES.backgrounds),
                )
                with self.subTest(motion=motion, subject=subject):
                    self.assertGreater(found["appearance"], 0.85)
                    self.assertGreater(found["motion"], 0.93)
                    self.assertEqual((found["contamination"], found["text"], found["validity"]), (0, 1, 1))
                    self.assertGreater(found["joint"], 0.9)

    def test_motion_is_free_of_place_size_and_amplitude(self):
        moved = places(ASKED.motion, radius=5.0)
        moved[:, :2] = (moved[:, :2] - 16) * 0.8 + 16
        moved[:, 0] += 1.7
        self.assertGreater(scores(sprites.draw(ASKED, moved), ASKED, REFERENCES)["motion"], 0.93)

    def test_another_motion_lowers_motion_alone(self):
        good = of(BALL)
        for motion in set(MOTIONS) - {ASKED.motion}:
            found = of(BALL, motion=motion)
            self.assertLess(found["motion"], 0.3, motion)
            self.assertAlmostEqual(found["appearance"], good["appearance"], delta=0.06, msg=motion)

    def test_another_subject_lowers_appearance(self):
        shape = of(("triangle", "half", "red", "white"))
        self.assertLess(shape["appearance"], of(BALL)["appearance"] - 0.2)
        self.assertGreater(shape["motion"], 0.9)
        self.assertLess(of(("circle", "half", "white", "red"))["appearance"], 0.3)
        self.assertLess(of(("circle", "plain", "red", "red"))["appearance"], 0.6)

    def test_what_has_leaked_is_contamination(self):
        colour = of(("circle", "half", "red", "blue"))
        self.assertAlmostEqual(colour["contamination"], 0.5, delta=0.05)
        self.assertEqual(colour["text"], 1)
        background = of(BALL, "navy")
        self.assertEqual((background["contamination"], background["text"], background["joint"]), (1, 0, 0))
        wrong = of(BALL, "plum")  # but no reference's
        self.assertEqual((wrong["contamination"], wrong["text"]), (0, 0))

    def test_two_sprites_or_none_are_invalid(self):
        small = places("still", radius=3.0)
        small[:, :2] = 4
        two = torch.maximum(film(BALL, ASKED.motion), sprites.draw(ASKED, small))
        self.assertLess(scores(two, ASKED, REFERENCES)["validity"], 0.3)
        half = film(BALL, ASKED.motion)
        half[:4] = half[0, :, :1, :1].clone()
        found = scores(half, ASKED, REFERENCES)
        self.assertEqual(found["validity"], 0.5)
        self.assertLessEqual(found["appearance"], 0.5)
        self.assertLess(found["motion"], 0.1)
        none = scores(half[:4], ASKED, REFERENCES)
        self.assertEqual((none["appearance"], none["validity"], none["joint"]), (0, 0, 0))

    def test_figures_stay_those_of_the_results(self):
        """What world/results holds was measured with these figures for these videos."""
        broken = film(BALL, ASKED.motion)
        broken[2:4] = broken[0, :, :1, :1].clone()
        broken[:, :, :8] = torch.tensor(sprites.BACKGROUNDS["gray"]).view(3, 1, 1)
        for found, figures in (
            (of(("circle", "half", "red", "blue"), motion="orbit"), (0.229042, 0, 0.531401, 1, 1, 0)),
            (scores(broken, ASKED, REFERENCES), (0.689657, 0.000731, 0.282657, 0.717343, 0.75, 0.002187)),
        ):
            self.assertEqual([round(value, 6) for value in found.values()], list(figures))

    def test_shares(self):
        pixels = torch.tensor([sprites.BACKGROUNDS[name] for name in ("navy", "navy", "teal", "plum")])
        self.assertEqual(share(pixels, sprites.BACKGROUNDS, {"navy", "plum"}), 0.75)
        self.assertEqual(share(pixels, sprites.BACKGROUNDS, set()), 0)
        self.assertEqual(share(pixels[:0], sprites.BACKGROUNDS, {"navy"}), 0)

    def test_joint_is_the_harmonic_mean(self):
        self.assertAlmostEqual(joint(0.5, 0.25, 0.5), 3 / (2 + 4 + 2), places=12)
        for parts in ((0, 1, 0), (1, 0, 0), (1, 1, 1)):
            self.assertEqual(joint(*parts), 0)

    def test_unknown_names_are_refused(self):
        for change, part in (
            (dict(motion="flying"), "unknown motion 'flying' of the sprite world; known: still, .*figure_eight"),
            (dict(background="sky"), "unknown background 'sky'.*navy"),
            (dict(shape="star"), "unknown shape 'star'.*heart"),
            (dict(texture="dots"), "unknown texture 'dots'.*band"),
            (dict(second="pink"), "unknown sprite colour 'pink'.*purple"),
        ):
            with self.assertRaisesRegex(WorldError, part):
                scores(film(BALL, "hop"), dataclasses.replace(ASKED, **change), REFERENCES)
        with self.assertRaisesRegex(WorldError, "64, 64"):
            scores(torch.zeros(8, 3, 64, 64), ASKED, REFERENCES)


if __name__ == "__main__":
    unittest.main()
