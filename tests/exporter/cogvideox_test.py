"""Exports tiny CogVideoX pipelines of the three published kinds. Exits non-zero on a failure."""

import json
import shutil
import unittest

import torch

from exporter import manifest, selfcheck
from tests.exporter.exporting import WORK, run, write_quietly

KINDS = ("nano_2b", "nano_5b", "nano_15")


def folder_of(kind):
    return WORK / f"{kind}_pipeline"


def setUpModule():
    for kind in KINDS:
        write_quietly(kind, folder_of(kind))


def tearDownModule():
    shutil.rmtree(WORK)


def open_pipeline(kind):
    from diffusers import CogVideoXPipeline

    pipe = CogVideoXPipeline.from_pretrained(folder_of(kind))
    for model in (pipe.transformer, pipe.vae, pipe.text_encoder):
        model.eval().requires_grad_(False)
    return pipe


def piecewise(file, name, clip, lengths):
    """A clip in chunks of stated lengths -> the joined results; every cache tensor holds two frames."""
    results, cache, start = [], None, 0
    for length in lengths:
        part = clip[:, :, start : start + length].contiguous()
        *tensors, cache = (
            getattr(file, f"{name}_next")(part, cache) if start else getattr(file, f"{name}_first_{length}")(part)
        )
        assert {t.shape[2] for t in cache} == {2}, [t.shape for t in cache]
        results.append(tensors)
        start += length
    return [torch.cat(pieces, 2) for pieces in zip(*results, strict=True)]


class Exports(unittest.TestCase):
    """Whole exports, self-check included; expected values come from diffusers' own pipeline."""

    @classmethod
    def setUpClass(cls):
        cls.manifests = {}
        for kind in KINDS:
            code, log = run(folder_of(kind), WORK / kind)
            assert code == 0, log
            cls.manifests[kind] = json.loads((WORK / kind / "bundle.json").read_text())

    def file(self, kind, name):
        return torch.jit.load(WORK / kind / f"{name}.pt")

    def assert_same(self, found, expected):
        self.assertEqual(found.shape, expected.shape)
        self.assertLess(selfcheck.difference(found, expected), 1e-5)  # fp32, same operations

    def test_manifest(self):
        m = self.manifests["nano_2b"]
        self.assertEqual(
            (m["version"], m["family"], m["source"]),
            (2, "cogvideox", {"class": "CogVideoXPipeline", "name": "nano_2b_pipeline"}),
        )
        self.assertEqual(
            m["denoiser"],
            {
                "file": "denoiser.pt",
                "dtype": "float32",
                "inputs": ["latents", "timestep", "prompt_embedding", "positional_table"],
                "layout": "BFCHW",
                "module_root": "transformer",
                "in_channels": 4,
                "height_multiple": 2,
                "width_multiple": 2,
                "frames_multiple": 1,
                "positional": {
                    "kind": "sincos_3d",
                    "width": 32,
                    "patch": 2,
                    "spatial_scale": 1.875,
                    "temporal_scale": 1.0,
                },
                "adapter_rules": [
                    {"ancestor_class": "CogVideoXBlock", "names": ["attn1", "ff"], "group": "joint", "sites": 12}
                ],
                "gate_init": "normal",
                "segments": ["transformer_blocks\\.[0-9]+"],
            },
        )
        self.assertEqual(
            m["schedule"],
            {
                "train_timesteps": 1000,
                "beta_schedule": "scaled_linear",
                "beta_start": 0.00085,
                "beta_end": 0.012,
                "prediction_type": "v_prediction",
                "rescale_zero_snr": True,
                "snr_shift": 3.0,
                "timestep_spacing": "trailing",
                "steps_offset": 0,
                "final_alpha_one": True,
                "clip_sample": False,
                "clip_sample_range": 1.0,
                "default_sampler": "ddim",
            },
        )
        self.assertEqual(
            m["latents"],
            {"channels": 4, "spatial_compression": 4, "temporal_compression": 4, "scaling_factor": 1.15258426},
        )
        self.assertEqual(
            m["autoencoder"],
            {
                "file": "autoencoder.pt",
                "dtype": "float32",
                "kind": "causal_3d",
                "encode": {"first": [1, 5, 9, 13], "next": 8},
                "decode": {"first": [1, 2, 3], "next": 2},
            },
        )
        self.assertEqual(
            {key: m["text"][key] for key in ("file", "dtype", "max_length", "attention_mask", "embedding_width")},
            {
                "file": "text_encoder.pt",
                "dtype": "float32",
                "max_length": 16,
                "attention_mask": False,
                "embedding_width": 16,
            },
        )
        self.assertEqual(
            m["preferred"],
            {
                "height": 32,
                "width": 48,
                "frames": 9,
                "fps": 8,
                "steps": 50,
                "guidance": 6.0,
                "guidance_schedule": "constant",
            },
        )

    def test_clipping_is_off_whatever_the_scheduler_says(self):
        from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler, DDIMScheduler

        for scheduler, clips in (
            (CogVideoXDDIMScheduler(), False),
            (CogVideoXDPMScheduler(), False),
            (DDIMScheduler(), True),
        ):  # all have clip_sample = True
            self.assertEqual(manifest.schedule(scheduler)["clip_sample"], clips)

    def test_what_differs_between_kinds(self):
        five, fifteen = self.manifests["nano_5b"], self.manifests["nano_15"]
        rope = {"kind": "rope_3d", "head_dim": 16, "theta": 10000.0, "patch": 2}
        self.assertEqual(
            five["denoiser"]["positional"],
            {**rope, "patch_frames": 1, "grid": "resize", "base_height": 4, "base_width": 6},
        )
        self.assertEqual(
            fifteen["denoiser"]["positional"],
            {**rope, "patch_frames": 2, "grid": "slice", "base_height": 8, "base_width": 8},
        )
        for m, frames in ((five, 1), (fifteen, 2)):
            self.assertEqual(
                (m["denoiser"]["inputs"][3:], m["denoiser"]["frames_multiple"]), (["rope_cos", "rope_sin"], frames)
            )
        self.assertEqual(
            (
                five["schedule"]["snr_shift"],
                five["schedule"]["default_sampler"],
                five["preferred"]["guidance_schedule"],
            ),
            (1.0, "dpmpp_2m_sde", "dynamic"),
        )
        self.assertEqual(
            (
                fifteen["schedule"]["default_sampler"],
                fifteen["preferred"]["fps"],
                fifteen["preferred"]["guidance_schedule"],
            ),
            ("ddim", 16, "constant"),
        )

    def test_denoiser_is_the_pipelines_at_a_size_nobody_traced(self):
        generator = torch.Generator().manual_seed(1)
        for kind, frames, height, width in (
            ("nano_2b", 5, 10, 4),
            ("nano_2b", 3, 8, 12),
            ("nano_5b", 5, 10, 16),
            ("nano_15", 6, 10, 8),
        ):
            pipe = open_pipeline(kind)
            latents, text = (
                torch.randn(1, frames, 4, height, width, generator=generator),
                torch.randn(1, 16, 16, generator=generator),
            )
            if kind == "nano_2b":  # its own table of this size, without the zeros for the text
                embed = pipe.transformer.patch_embed
                outside, rotary = (
                    (embed._get_positional_embeddings(height, width, (frames - 1) * 4 + 1)[0, 16:].float(),),
                    None,
                )
            else:
                outside = rotary = pipe._prepare_rotary_positional_embeddings(
                    height * 4, width * 4, frames, torch.device("cpu")
                )
            with torch.no_grad():
                expected = pipe.transformer(
                    latents, text, torch.tensor([321]), image_rotary_emb=rotary, return_dict=False
                )[0]
                self.assert_same(self.file(kind, "denoiser")(latents, torch.tensor([321]), text, *outside), expected)

    def test_autoencoder_is_diffusers_chunk_by_chunk(self):
        vae, file = open_pipeline("nano_2b").vae, self.file("nano_2b", "autoencoder")
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for frames, lengths in ((1, [1]), (9, [9]), (13, [13]), (21, [13, 8]), (49, [9] + [8] * 5)):
                clip = torch.randn(1, 3, frames, 20, 12, generator=generator)
                posterior = vae.encode(clip).latent_dist
                mean, std = piecewise(file, "encode", clip, lengths)
                self.assert_same(mean, posterior.mean)
                self.assert_same(std, posterior.std)
            for frames, lengths in ((1, [1]), (2, [2]), (3, [3]), (6, [2, 2, 2]), (13, [3] + [2] * 5)):
                latents = torch.randn(1, 4, frames, 5, 3, generator=generator)
                self.assert_same(piecewise(file, "decode", latents, lengths)[0], vae.decode(latents).sample)

    def test_denoiser_holds_no_table(self):
        self.assertNotIn(
            "pos_embedding", " ".join(name for name, _ in self.file("nano_2b", "denoiser").named_buffers())
        )

    def test_text_is_the_pipelines(self):
        pipe, file = open_pipeline("nano_2b"), self.file("nano_2b", "text_encoder")
        prompts = ["", "a cat playing the golden guitar on the moon and on and on and on"]
        ids = pipe.tokenizer(
            prompts, padding="max_length", max_length=16, truncation=True, return_tensors="pt"
        ).input_ids
        with torch.no_grad():
            self.assert_same(file(ids), pipe._get_t5_prompt_embeds(prompts, max_sequence_length=16))

    def test_special_tokens_are_those_of_transformers(self):
        tokenizer, listed = open_pipeline("nano_2b").tokenizer, self.manifests["nano_2b"]["text"]["tokenizer"]
        self.assertEqual((listed["kind"], listed["eos_id"], listed["pad_id"]), ("sentencepiece", 1, 0))
        self.assertEqual([t["text"] for t in listed["special_tokens"][:4]], ["<pad>", "</s>", "<unk>", "<extra_id_99>"])
        self.assertEqual(len(listed["special_tokens"]), 103)
        for token in listed["special_tokens"]:
            self.assertEqual(
                tokenizer(f"a{token['text']}b").input_ids.count(token["id"]), 2 if token["id"] == 1 else 1, token
            )
            self.assertEqual(token["strip"], token["text"].startswith("<extra_id_"))
        self.assertEqual(
            (WORK / "nano_2b/tokenizer/spiece.model").read_bytes(),
            (folder_of("nano_2b") / "tokenizer/spiece.model").read_bytes(),
        )

    def test_dtype_per_file_shards_and_options(self):
        folder = WORK / "sharded_pipeline"
        write_quietly("nano_5b", folder, max_shard_size="50KB")
        self.assertGreater(len(list((folder / "transformer").glob("*-of-*.safetensors"))), 1)
        code, log = run(
            folder,
            WORK / "mixed",
            "--dtype",
            "bf16",
            "--autoencoder-dtype",
            "fp32",
            "--text-dtype",
            "fp16",
            "--height",
            "64",
            "--frames",
            "17",
            "--fps",
            "12",
        )
        self.assertEqual(code, 0, log)
        mixed = json.loads((WORK / "mixed/bundle.json").read_text())
        self.assertEqual(
            [mixed[part]["dtype"] for part in ("denoiser", "autoencoder", "text")], ["bfloat16", "float32", "float16"]
        )
        self.assertEqual([mixed["preferred"][key] for key in ("height", "width", "frames", "fps")], [64, 64, 17, 12])
        for name, dtypes in (
            ("denoiser", {torch.bfloat16}),
            ("autoencoder", {torch.float32}),
            ("text_encoder", {torch.float16, torch.float32}),
        ):  # fp32: T5's wo
            self.assertEqual({p.dtype for p in self.file("mixed", name).parameters()}, dtypes, name)
        self.assertEqual(self.file("mixed", "text_encoder")(torch.ones(1, 4, dtype=torch.int64)).dtype, torch.float16)


if __name__ == "__main__":
    unittest.main(verbosity=2)
