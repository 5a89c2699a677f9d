"""The pretraining of world/'s pipelines, a few steps of every stage: a run in pieces equals a run in one, what it
writes is a pipeline, and the curricula show what they say. Exits non-zero on a failure."""

import contextlib
import io
import json
import os
import tempfile
import unittest
import warnings
from pathlib import Path
from unittest import mock

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.simplefilter("ignore")
import torch  # noqa: E402
import transformers  # noqa: E402

from world import sprites  # noqa: E402
from world.pretraining import curriculum, pretrain  # noqa: E402
from world.pretraining.pipelines import FAMILIES  # noqa: E402

transformers.utils.logging.disable_progress_bar()
SHORT = dict(
    SETTINGS={
        "unet3d": dict(autoencoder=(1, 2, 2e-3), decoder=(0, 0, 0), images=(2, 4, 1e-3), videos=(3, 2, 1e-3)),
        "cogvideox": dict(autoencoder=(1, 2, 2e-3), decoder=(1, 2, 5e-4), images=(2, 4, 1e-3), videos=(3, 2, 1e-3)),
    },
    POOL=dict(images=40, clips=60),
    WHITENING_CLIPS=50,
    CLIP_WINDOW=((1, 0.25), (2, 0.5)),
    FIRST_STEPS=1,
    PICTURE_WINDOW={"unet3d": (), "cogvideox": ((0, 0.2), (1, 0.5), (2, 0.7))},
    PICTURE_NOISE={"unet3d": ((0, 0, 0, 1000),), "cogvideox": ((0, 0.5, 750, 1000), (1, 0.75, 450, 800))},
    CLIP_NOISE={"unet3d": ((0, 0.75, 750, 1000),), "cogvideox": ((0, 0.75, 750, 1000), (1, 0.75, 450, 1000))},
)


def run(family, work, minutes=1e9, start=None):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        pretrain.Run(FAMILIES[family], work, minutes, pretrain.STAGES, start).all()
    return out.getvalue()


def files(folder):
    """The bytes of its files but for progress.json, which knows how long it took."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.name != "progress.json"
    }


def leaves(value, name=""):
    """(name, leaf) of nested dictionaries and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else None
    return [(name, value)] if items is None else [leaf for k, v in items for leaf in leaves(v, f"{name}/{k}")]


class Pretraining(unittest.TestCase):
    def setUp(self):
        torch.set_num_threads(1)
        self.work = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.multiple(curriculum, **SHORT))

    def check_family(self, family):
        whole, pieces = self.work / "whole", self.work / "pieces"
        self.assertIn("done", run(family, whole))
        calls = 1
        while "done" not in run(family, pieces, minutes=0):  # a step a call, and one that finds nothing left
            calls += 1
            self.assertLess(calls, 30)
        self.assertEqual(calls, 1 + sum(steps for steps, _, _ in SHORT["SETTINGS"][family].values()))

        a, b = (dict(leaves(torch.load(w / family / "state.pt", weights_only=True))) for w in (whole, pieces))
        self.assertEqual(a.keys(), b.keys())
        for name, value in a.items():
            if torch.is_tensor(value):
                self.assertTrue(torch.equal(value, b[name]), name)
            elif name != "/seconds":
                self.assertEqual(value, b[name], name)
        written = files(whole / family / "pipeline")
        self.assertTrue(written == files(pieces / family / "pipeline"))  # no difference of bytes in the message
        self.assertEqual(
            json.loads((whole / family / "pipeline" / "progress.json").read_text()),
            dict(stage="videos", step=3, seconds=mock.ANY),
        )
        lines = [json.loads(line) for line in (whole / family / "log.jsonl").read_text().splitlines()]
        self.assertEqual(
            [(line["stage"], line["step"]) for line in lines],
            [(stage, steps) for stage, (steps, _, _) in SHORT["SETTINGS"][family].items() if steps],
        )

        # From what it has written, without its state: the same weights, at the same place, so that nothing is left to
        # do.
        again = self.work / "again"
        self.assertIn("done", run(family, again, start=whole / family / "pipeline"))
        self.assertTrue(written == files(again / family / "pipeline"))

    def test_unet3d(self):
        self.check_family("unet3d")

    def test_cogvideox(self):
        self.check_family("cogvideox")


class Curricula(unittest.TestCase):
    def test_window(self):
        stops = ((600, 0.2), (1800, 0.5), (3000, 0.7))
        for step, expected in (
            (0, (0, 0.2)),
            (600, (0, 0.2)),
            (1200, (0, 0.35)),
            (2400, (0, 0.6)),
            (3000, (0.7, 1)),
            (1e9, (0.7, 1)),
        ):
            self.assertEqual(tuple(round(x, 12) for x in curriculum.window(step, stops)), expected, step)
        self.assertEqual(curriculum.window(5, ()), (0, 1))

    def test_noise_band(self):
        bands = ((0, 0.5, 750, 1000), (300, 0.75, 450, 800))
        for step, expected in (
            (0, [0.5, 750, 1000]),
            (299, [0.5, 750, 1000]),
            (300, [0.75, 450, 800]),
            (float("inf"), [0.75, 450, 800]),
        ):
            self.assertEqual(curriculum.noise_band(step, bands), expected, step)

    def test_pictures_leave_the_middle_on_the_grid_of_latents(self):
        stops = ((600, 0.2), (1800, 0.5), (3000, 0.7))
        moved = 0
        for i in range(200):
            g, _ = curriculum.rng("images", i)
            scene = curriculum.picture_scene(g)
            room = sprites.SIZE / 2 - 1.1 * scene.radius
            middle, grid, anywhere = (
                [room * s for s in curriculum.picture_place(scene, share, stops).shift] for share in (0.2, 0.5, 0.7)
            )
            self.assertEqual([abs(x) for x in middle], [0, 0])
            for x, far in zip(grid, scene.shift):
                self.assertAlmostEqual(x / 4, round(x / 4), 9)
                self.assertLessEqual(abs(x), room + 1e-9)
                self.assertLessEqual(abs(x - room * far), 4)
                moved += x != 0
            for x, far in zip(anywhere, scene.shift):
                self.assertAlmostEqual(x, room * far, 9)
            self.assertEqual(curriculum.picture_place(scene, 0.3, ()), scene)
        self.assertGreater(moved, 200)

    def test_clips_leave_the_middle(self):
        scene = sprites.Scene("circle", "plain", "red", "red", "black", "left", shift=(0.5, -1.0))
        for share, expected in ((0, (0, 0)), (0.25, (0, 0)), (0.375, (0.25, -0.5)), (0.5, (0.5, -1)), (1, (0.5, -1))):
            self.assertEqual(tuple(x + 0 for x in curriculum.clip_place(scene, share).shift), expected, share)

    def test_wandering_sprites_stay_inside_and_get_about(self):
        reached, grown = [], 0
        for i in range(200):
            g, _ = curriculum.rng("autoencoder", i)
            scene = sprites.random_scene(g)
            places = sprites.wander(scene, g, 9)
            x, y, radius = places.T
            for at in (x, y):
                self.assertTrue(((at - 1.1 * radius >= -1e-9) & (at + 1.1 * radius <= sprites.SIZE + 1e-9)).all())
            reached.append(places[:, :2].diff(dim=0).norm(dim=1).max())
            grown += bool((radius != scene.radius).any())
        self.assertGreater(torch.stack(reached).median(), 4)  # pixels from one frame to the next
        self.assertTrue(60 < grown < 140)

    def test_drawn_ahead_is_what_is_drawn_when_asked_for(self):
        drawings = pretrain.Drawings(lambda i: torch.rand(2, 3, generator=torch.Generator().manual_seed(i)))
        for one, other in zip(drawings.from_to(range(3, 9), 0), drawings.from_to(range(3, 9), 2), strict=True):
            self.assertTrue(torch.equal(one, other))

    def test_learning_rate(self):
        for step, decay, expected in (
            (0, 0.5, 0.02),
            (99, 0.5, 2),
            (499, 0, 2),
            (500, 0.5, 2),
            (750, 0.5, 1),
            (999, 0.5, 0.04),
        ):
            self.assertAlmostEqual(curriculum.learning_rate(step, 1000, 2, decay), expected, 9)


if __name__ == "__main__":
    unittest.main()
