#!/usr/bin/env python
"""The oracles of scripts/oracle against literals and against the formula written out once more. Exits non-zero on a failure."""
import sys
import unittest
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "scripts/oracle")]
import numpy as np  # noqa: E402
import torch  # noqa: E402

import design_random  # noqa: E402
import glora  # noqa: E402
from make_tiny_pipelines import UNET, give_weights  # noqa: E402


class Random(unittest.TestCase):
    def test_philox_known_answers(self):
        """Random123's kat_vectors, philox4x32 with 10 rounds."""
        ones = 0xFFFFFFFF
        for counter, key, words in (
                ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
                ((ones,) * 4, (ones,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
                ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), "d16cfe09 94fdcceb 5001e420 24126ea1")):
            found = design_random.philox4x32([counter], key)[0]
            self.assertEqual(" ".join(f"{w:08x}" for w in found), words)

    def test_dropout_factors(self):
        mask = design_random.dropout_factors((3, 50, 7), 0.1, 2**62 + 5, 17)
        self.assertEqual(sorted(set(mask.flatten().tolist())), [0.0, float(torch.tensor(1 / 0.9))])
        self.assertLess(abs(float((mask == 0).float().mean()) - 0.1), 0.03)
        for element, factor in enumerate(mask.flatten().tolist()):   # word e % 4 of the counter (e / 4, 0, site, 0)
            word = int(design_random.philox4x32([(element // 4, 0, 17, 0)], (5, 1 << 30))[0][element % 4])
            self.assertEqual(factor != 0, word >= round(0.1 * 2**32), element)

    def test_generator_seed(self):
        """The first 8 bytes of: printf 42/0/noise | sha256sum"""
        self.assertEqual(design_random.generator_seed(42, 0, "noise").to_bytes(8, "little").hex(), "3fcef6267d87013d")
        a, b = (design_random.normal((3,), design_random.generator(2**64 - 1, 5, "noise")) for _ in range(2))
        self.assertTrue(torch.equal(a, b))


class GLoRA(unittest.TestCase):
    def setUp(self):
        from diffusers import UNet3DConditionModel
        torch.manual_seed(3)
        # frozen before the first run: ATen's matmul multiplies in another order where a weight wants a gradient
        self.unet = give_weights(UNet3DConditionModel(**UNET["nano"])).requires_grad_(False)
        self.inputs = (torch.randn(2, 4, 3, 8, 8), torch.tensor([5, 800]), torch.randn(2, 7, 16))
        with torch.no_grad():
            self.frozen = self.unet(*self.inputs, return_dict=False)[0]
        self.settings = glora.Settings()
        self.adapters = glora.inject(self.unet, 4, True, self.settings)
        glora.initialize(self.adapters, 11)
        self.settings.batch = 2

    def run_unet(self, *inputs):
        with torch.no_grad():
            return self.unet(*(inputs or self.inputs), return_dict=False)[0]

    def raise_up(self):
        with torch.no_grad():
            for a in self.adapters:
                a.lora_up.normal_(std=0.05)

    def test_zero_up_is_the_frozen_model(self):
        self.assertTrue(torch.equal(self.run_unet(), self.frozen))

    def test_formula_of_one_site(self):
        self.raise_up()
        site = self.adapters[3]
        settings = site.settings
        settings.scale, settings.group_scale, settings.dropout, settings.dropout_seed = 0.7, {site.group: 0.5}, 0.25, 99
        x = torch.randn(6, 5, site.linear.in_features)
        w, b, d, u, g = (t.detach().double().numpy() for t in (site.linear.weight, site.linear.bias if site.linear.bias is not None else torch.zeros(1),
                                                              site.lora_down, site.lora_up, site.lora_gate))
        gates = 1 / (1 + np.exp(-(x.double().numpy() @ g.T)))
        mask = design_random.dropout_factors((6, 5, u.shape[0]), 0.25, 99, 3).double().numpy()
        for pooling, gate in (("batch", gates.mean()), ("sample", np.repeat(gates.reshape(2, -1).mean(1), 3)[:, None, None])):
            settings.pooling = pooling
            expected = x.double().numpy() @ w.T + b + 0.35 * gate * mask * ((x.double().numpy() @ d.T) @ u.T)
            # fp32 sums of a dozen numbers near 1
            np.testing.assert_allclose(site(x).detach().numpy(), expected, rtol=0, atol=2e-6)

    def test_sample_pooling_keeps_samples_apart(self):
        self.raise_up()
        together = self.run_unet()
        self.settings.batch = 1
        alone = torch.cat([self.run_unet(*(t[i:i + 1] for t in self.inputs)) for i in range(2)])
        self.assertLess(float((together - alone).norm() / alone.norm()), 1e-6)   # rounding of other matrix shapes
        self.settings.batch, self.settings.pooling = 2, "batch"
        self.assertGreater(float((self.run_unet() - alone).norm() / alone.norm()), 1e-5)

    def test_published_order_and_list(self):
        groups = [a.group for a in self.adapters]
        self.assertEqual(groups, sorted(groups))   # spatial before temporal
        temporal = [a.path for a in self.adapters if a.group == "temporal"]
        self.assertEqual(temporal[0], "transformer_in.transformer_blocks.0.attn1.to_q")
        self.assertFalse(any(".attn2." in a.path for a in self.adapters if a.group == "spatial"))
        self.raise_up()
        expected, listed = self.run_unet(), glora.published_list(self.adapters)
        self.assertEqual(tuple(listed[0].shape), (self.adapters[0].linear.out_features, 4))
        self.assertEqual(tuple(listed[2].shape), (1, self.adapters[0].linear.in_features))
        with torch.no_grad():
            for p in glora.parameters(self.adapters):
                p.zero_()
        glora.load_published_list(self.adapters, listed)
        self.assertTrue(torch.equal(self.run_unet(), expected))


if __name__ == "__main__":
    unittest.main(verbosity=2)
