"""The oracles of this folder against literals and against the formula written out once more. Exits non-zero on a
failure."""

import json
import tempfile
import unittest
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import numpy as np  # noqa: E402
import torch  # noqa: E402

from tests.oracle import families, glora, named_random  # noqa: E402
from tests.pipelines.tiny import write_pipeline  # noqa: E402

PIPELINES = tempfile.TemporaryDirectory()


def open_tiny(name):
    folder = Path(PIPELINES.name) / name
    if not folder.exists():
        write_pipeline(name, folder)
    return families.open_pipeline(folder)


class Random(unittest.TestCase):
    def test_philox_known_answers(self):
        """Random123's kat_vectors, philox4x32 with 10 rounds."""
        ones = 0xFFFFFFFF
        for counter, key, words in (
            ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
            ((ones,) * 4, (ones,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
            (
                (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
                (0xA4093822, 0x299F31D0),
                "d16cfe09 94fdcceb 5001e420 24126ea1",
            ),
        ):
            found = named_random.philox4x32([counter], key)[0]
            self.assertEqual(" ".join(f"{w:08x}" for w in found), words)

    def test_dropout_factors(self):
        mask = named_random.dropout_factors((3, 50, 7), 0.1, 2**62 + 5, 17)
        self.assertEqual(sorted(set(mask.flatten().tolist())), [0.0, float(torch.tensor(1 / 0.9))])
        self.assertLess(abs(float((mask == 0).float().mean()) - 0.1), 0.03)
        for element, factor in enumerate(mask.flatten().tolist()):  # word e % 4 of the counter (e / 4, 0, site, 0)
            word = int(named_random.philox4x32([(element // 4, 0, 17, 0)], (5, 1 << 30))[0][element % 4])
            self.assertEqual(factor != 0, word >= round(0.1 * 2**32), element)

    def test_generator_seed(self):
        """The first 8 bytes of: printf 42/0/noise | sha256sum"""
        self.assertEqual(named_random.generator_seed(42, 0, "noise").to_bytes(8, "little").hex(), "3fcef6267d87013d")
        a, b = (named_random.normal((3,), named_random.generator(2**64 - 1, 5, "noise")) for _ in range(2))
        self.assertTrue(torch.equal(a, b))


class OneFamily:
    """The tests of each family of families.json; a subclass for each gives its facts."""

    def setUp(self):
        torch.manual_seed(3)
        self.family = open_tiny(self.facts["pipeline"])
        self.size = (self.facts["frames"], self.facts["height"], self.facts["width"])
        shape = self.family.latents_shape(self.size)
        self.inputs = (
            torch.randn(2, *shape[1:]),
            torch.tensor([5, 800]),
            torch.cat([self.family.prompt_embedding(t) for t in ("a cat", "a dog")]),
        )
        self.settings = glora.Settings()

    def predicted(self, *inputs):
        with torch.no_grad():
            return self.family.predict(*(inputs or self.inputs))

    def inject(self, up):
        """With lora_up drawn, or zero."""
        self.adapters = glora.inject(self.family, 4, True, self.settings)
        glora.initialize(self.adapters, 11)
        self.settings.batch = 2
        with torch.no_grad():
            for a in self.adapters:
                a.lora_up.normal_(std=up)

    def test_zero_up_is_the_frozen_model(self):
        frozen = self.predicted()
        self.inject(0)
        self.assertTrue(torch.equal(self.predicted(), frozen))

    def test_formula_of_one_site(self):
        self.inject(0.05)
        site = self.adapters[3]
        settings = site.settings
        settings.scale, settings.group_scale, settings.dropout, settings.dropout_seed = 0.7, {site.group: 0.5}, 0.25, 99
        x = torch.randn(6, 5, site.linear.in_features)
        w, b, d, u, g = (
            t.detach().double().numpy()
            for t in (
                site.linear.weight,
                site.linear.bias if site.linear.bias is not None else torch.zeros(1),
                site.lora_down,
                site.lora_up,
                site.lora_gate,
            )
        )
        gates = 1 / (1 + np.exp(-(x.double().numpy() @ g.T)))
        mask = named_random.dropout_factors((6, 5, u.shape[0]), 0.25, 99, 3).double().numpy()
        for pooling, gate in (
            ("batch", gates.mean()),
            ("sample", np.repeat(gates.reshape(2, -1).mean(1), 3)[:, None, None]),
        ):
            settings.pooling = pooling
            expected = x.double().numpy() @ w.T + b + 0.35 * gate * mask * ((x.double().numpy() @ d.T) @ u.T)
            # fp32 sums of a few dozen numbers near 1
            np.testing.assert_allclose(site(x).detach().numpy(), expected, rtol=0, atol=4e-6)

    def test_first_gates(self):
        self.inject(0)
        gates = torch.cat(
            [
                a.lora_gate.detach()[0] * (4 if self.family.gate_init == "normal" else a.linear.in_features**0.5)
                for a in self.adapters
            ]
        )
        expected = {"normal": 1, "uniform": 3**-0.5}[self.family.gate_init]
        self.assertLess(abs(float(gates.std()) / expected - 1), 0.2)  # some hundred numbers
        self.assertEqual(bool(gates.abs().max() <= 1), self.family.gate_init == "uniform")

    def test_sample_pooling_keeps_samples_apart(self):
        self.inject(0.05)
        together = self.predicted()
        self.settings.batch = 1
        alone = torch.cat([self.predicted(*(t[i : i + 1] for t in self.inputs)) for i in range(2)])
        self.assertLess(float((together - alone).norm() / alone.norm()), 1e-6)  # rounding of other matrix shapes
        self.settings.batch, self.settings.pooling = 2, "batch"
        self.assertGreater(float((self.predicted() - alone).norm() / alone.norm()), 1e-5)

    def test_published_list(self):
        self.inject(0.05)
        expected, listed = self.predicted(), glora.published_list(self.adapters)
        self.assertEqual(tuple(listed[0].shape), (self.adapters[0].linear.out_features, 4))
        self.assertEqual(tuple(listed[2].shape), (1, self.adapters[0].linear.in_features))
        with torch.no_grad():
            for p in glora.parameters(self.adapters):
                p.zero_()
        glora.load_published_list(self.adapters, listed)
        self.assertTrue(torch.equal(self.predicted(), expected))

    def test_predict_is_what_the_pipeline_asks(self):
        """One step without guidance, written out with `predict`."""
        start = self.inputs[0][:1]
        found = self.family.sample(
            start, self.size, ("", "a cat"), "ddim", 0, num_inference_steps=1, guidance_scale=1.0
        )
        scheduler = self.family.pipe.scheduler
        t = scheduler.timesteps[0]
        step = scheduler.step(self.predicted(start, t[None], self.inputs[2][:1]), t, start, return_dict=False)[0]
        self.assertLess(float((found - step[:, :, -found.shape[2] :]).abs().max()), 1e-6)
        self.assertEqual(found.shape[2], self.family.latent_frames(self.size[0]))

    def test_there_and_back_have_the_sizes(self):
        frames = torch.randint(0, 256, (*self.size, 3), dtype=torch.uint8)
        mean, std = self.family.posterior(frames)
        self.assertEqual(mean.shape, std.shape)
        latents = mean.transpose(0, 1)[None]
        self.assertEqual(tuple(self.family.padded(latents).shape), self.family.latents_shape(self.size))
        self.assertEqual(self.family.frames(latents).shape, frames.shape)


for facts in json.loads(Path("tests/families.json").read_text()):
    globals()[facts["name"]] = type(facts["name"], (OneFamily, unittest.TestCase), {"facts": facts})


class Facts(unittest.TestCase):
    def test_published_order_of_unet3d(self):
        sites = glora.site_paths(open_tiny("nano"))
        groups = [group for _, group in sites]
        self.assertEqual(groups, sorted(groups))  # spatial before temporal
        temporal = [path for path, group in sites if group == "temporal"]
        self.assertEqual(temporal[0], "transformer_in.transformer_blocks.0.attn1.to_q")
        self.assertFalse(any(".attn2." in path for path, group in sites if group == "spatial"))

    def test_published_order_of_cogvideox(self):
        block = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "ff.net.0.proj", "ff.net.2")
        self.assertEqual(
            glora.site_paths(open_tiny("nano_2b")),
            [(f"transformer_blocks.{b}.{name}", "joint") for b in range(2) for name in block],
        )

    def test_first_gates(self):
        self.assertEqual((families.UNet3D.gate_init, families.CogVideoX.gate_init), ("uniform", "normal"))

    def test_padding_goes_in_front(self):
        """CogVideoX 1.5 joins two frames; 9 frames are 3 latent frames."""
        family = open_tiny("nano_15")
        self.assertEqual(family.latents_shape((9, 32, 48)), (1, 4, 4, 8, 12))
        self.assertEqual(family.latents_shape((13, 32, 48)), (1, 4, 4, 8, 12))
        latents = torch.arange(3.0).reshape(1, 1, 3, 1, 1)
        self.assertEqual(family.padded(latents).flatten().tolist(), [0, 0, 1, 2])

    def test_noise_of_a_step_by_name(self):
        """Step n adds sampler/n, the same in both draws of a second-order step, to frames before channels."""
        from diffusers import CogVideoXDPMScheduler

        shape = (1, 3, 2, 4, 5)
        x = torch.randn(shape).transpose(1, 2)
        found = []
        for seed in (7, 8):
            scheduler = CogVideoXDPMScheduler(prediction_type="v_prediction", timestep_spacing="trailing")
            scheduler.set_timesteps(4)
            families.name_noise(scheduler, seed, shape)
            first, x0 = scheduler.step(x, None, 999, None, x)
            found.append((first, scheduler.step(x, torch.zeros_like(x0), 749, 999, x)[0]))
        for n in range(2):
            difference = found[0][n] - found[1][n]
            noise = [
                named_random.normal(shape, named_random.generator(seed, 0, f"sampler/{n}")).transpose(1, 2)
                for seed in (7, 8)
            ]
            factor = difference / (noise[0] - noise[1])
            self.assertGreater(float(factor.mean()), 0.1)
            self.assertLess(float(factor.std()), 1e-4)  # differences of fp32 numbers near 1

    def test_refuses_what_the_pipeline_cannot_do(self):
        family = open_tiny("nano")
        with self.assertRaisesRegex(SystemExit, "sampled with ddim, not dpmpp_2m_sde"):
            family.sample(torch.zeros(1), (4, 32, 32), ("", ""), "dpmpp_2m_sde", 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
