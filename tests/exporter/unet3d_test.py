"""Exports tiny UNet3D pipelines in several file layouts, and pipelines that are broken in one way each. Exits non-zero
on a failure."""

import hashlib
import json
import resource
import shutil
import unittest
from unittest import mock

import torch

from exporter import families, selfcheck
from exporter.unet3d import UNet3D
from tests.exporter.exporting import WORK, Refusals, edit_json, edit_weights, load_file, run, write_quietly

NANO = WORK / "nano_pipeline"


def setUpModule():
    write_quietly("nano", NANO)


def tearDownModule():
    shutil.rmtree(WORK)


class Choice(unittest.TestCase):
    def test_families_that_share_a_folders_name_are_told_apart_by_class(self):
        class Other(UNet3D):
            parts = UNet3D.parts | {"denoiser": ("unet", "diffusers", "UNetMotionModel")}

        for order in ((Other, UNet3D), (UNet3D, Other)):
            with mock.patch.object(families, "FAMILIES", order):
                self.assertIs(type(families.open_folder(NANO)[0]), UNet3D)


class Exports(unittest.TestCase):
    """Whole exports, self-check included."""

    @classmethod
    def setUpClass(cls):
        cls.bundle = WORK / "bundle"
        code, cls.log = run(NANO, cls.bundle)
        assert code == 0, cls.log
        cls.manifest = json.loads((cls.bundle / "bundle.json").read_text())

    def test_manifest(self):
        m = self.manifest
        self.assertEqual(
            (m["format"], m["version"], m["family"], m["denoiser"]["dtype"]),
            ("jointtuner-bundle", 2, "unet3d", "float32"),
        )
        self.assertEqual(m["source"], {"class": "TextToVideoSDPipeline", "name": "nano_pipeline"})
        self.assertEqual(m["exporter"], {"torch": "2.11.0", "diffusers": "0.42.1", "transformers": "5.23.0"})
        self.assertEqual(
            (
                m["denoiser"]["inputs"],
                m["denoiser"]["layout"],
                m["denoiser"]["module_root"],
                m["denoiser"]["positional"],
            ),
            (["latents", "timestep", "prompt_embedding"], "BCFHW", "unet", {"kind": "none"}),
        )
        # 4 blocks with attention (down 1, mid 1, up 2): 6 spatial linears each; temporal 10 each, and transformer_in
        self.assertEqual(
            [(r["ancestor_class"], r["names"], r["group"], r["sites"]) for r in m["denoiser"]["adapter_rules"]],
            [
                ("Transformer2DModel", ["attn1", "ff"], "spatial", 24),
                ("TransformerTemporalModel", ["attn1", "attn2", "ff"], "temporal", 50),
            ],
        )
        self.assertEqual(
            m["schedule"],
            {
                "train_timesteps": 1000,
                "beta_schedule": "scaled_linear",
                "beta_start": 0.00085,
                "beta_end": 0.012,
                "prediction_type": "epsilon",
                "rescale_zero_snr": False,
                "snr_shift": 1.0,
                "timestep_spacing": "leading",
                "steps_offset": 1,
                "final_alpha_one": False,
                "clip_sample": False,
                "clip_sample_range": 1.0,
                "default_sampler": "ddim",
            },
        )
        self.assertEqual(
            m["latents"],
            {"channels": 4, "spatial_compression": 2, "temporal_compression": 1, "scaling_factor": 0.18215},
        )
        vocab = json.loads((self.bundle / "tokenizer/vocab.json").read_text(encoding="utf-8"))
        tokenizer = m["text"]["tokenizer"]
        self.assertEqual(
            (tokenizer["bos_id"], tokenizer["eos_id"], tokenizer["pad_id"]),
            (vocab["<|startoftext|>"], vocab["<|endoftext|>"], vocab["!"]),
        )
        self.assertEqual(
            (m["text"]["max_length"], m["text"]["embedding_width"], tokenizer["normalized_ids"]), (16, 16, [])
        )
        self.assertEqual(
            m["preferred"],
            {
                "height": 16,
                "width": 16,
                "frames": 16,
                "fps": 8,
                "steps": 30,
                "guidance": 12.0,
                "guidance_schedule": "constant",
            },
        )

    def test_files_have_their_hashes(self):
        on_disk = {str(p.relative_to(self.bundle)) for p in self.bundle.rglob("*") if p.is_file()}
        self.assertEqual(on_disk, {*self.manifest["files"], "bundle.json"})
        for name, entry in self.manifest["files"].items():
            content = (self.bundle / name).read_bytes()
            self.assertEqual(
                (entry["sha256"], entry["bytes"]), (hashlib.sha256(content).hexdigest(), len(content)), name
            )
        self.assertEqual([p for p in WORK.iterdir() if p.name.endswith(".tmp")], [])

    def test_denoiser_is_the_model_at_a_size_nobody_traced(self):
        from diffusers import UNet3DConditionModel

        unet = UNet3DConditionModel.from_pretrained(NANO / "unet").eval().requires_grad_(False)
        inputs = (torch.randn(1, 4, 6, 11, 14), torch.tensor([321]), torch.randn(1, 16, 16))
        with torch.no_grad():
            found, expected = torch.jit.load(self.bundle / "denoiser.pt")(*inputs), unet(*inputs, return_dict=False)[0]
        self.assertLess(selfcheck.difference(found, expected), 1e-5)  # fp32, same operations

    def test_shards_and_tokenizer_json_alone_give_the_same_bundle(self):
        folder = WORK / "sharded_pipeline"
        write_quietly("nano", folder, max_shard_size="150KB")
        self.assertGreater(len(list((folder / "unet").glob("*-of-*.safetensors"))), 1)
        (folder / "tokenizer/vocab.json").unlink()
        (folder / "tokenizer/merges.txt").unlink()
        code, log = run(folder, WORK / "sharded")
        self.assertEqual(code, 0, log)
        for name in (
            "denoiser.pt",
            "autoencoder.pt",
            "text_encoder.pt",
        ):  # not by bytes: TorchScript numbers class names through a process
            found, expected = (
                dict(torch.jit.load(b / name).named_parameters()) for b in (WORK / "sharded", self.bundle)
            )
            self.assertEqual(list(found), list(expected))
            self.assertTrue(all(torch.equal(found[k], expected[k]) for k in found), name)
        for name in ("vocab.json", "merges.txt"):
            self.assertEqual(
                (WORK / "sharded/tokenizer" / name).read_bytes(), (self.bundle / "tokenizer" / name).read_bytes()
            )

    def test_bin_files_as_fp16(self):
        folder = WORK / "bin_pipeline"
        write_quietly("nano", folder, safe_serialization=False)
        if not list((folder / "text_encoder").glob("*.bin")):  # transformers 5 writes safetensors whatever it is told
            weights = folder / "text_encoder/model.safetensors"
            torch.save(load_file(weights), folder / "text_encoder/pytorch_model.bin")
            weights.unlink()
        self.assertEqual(list(folder.rglob("*.safetensors")), [])
        code, log = run(
            folder,
            WORK / "half",
            "--dtype",
            "fp16",
            "--height",
            "32",
            "--width",
            "48",
            "--frames",
            "9",
            "--fps",
            "12",
            "--steps",
            "7",
            "--guidance",
            "2.5",
        )
        self.assertEqual(code, 0, log)
        manifest = json.loads((WORK / "half/bundle.json").read_text())
        self.assertEqual([manifest[part]["dtype"] for part in ("denoiser", "autoencoder", "text")], ["float16"] * 3)
        self.assertEqual(
            [manifest["preferred"][key] for key in ("height", "width", "frames", "fps", "steps", "guidance")],
            [32, 48, 9, 12, 7, 2.5],
        )
        for name in ("denoiser.pt", "autoencoder.pt", "text_encoder.pt"):
            self.assertEqual(
                {p.dtype for p in torch.jit.load(WORK / "half" / name).parameters()}, {torch.float16}, name
            )

    def test_fp16_variant_as_bf16_with_another_schedule(self):
        folder = WORK / "variant_pipeline"
        write_quietly("nano", folder, variant="fp16")
        self.assertTrue((folder / "unet/diffusion_pytorch_model.fp16.safetensors").exists())
        config = json.loads((folder / "scheduler/scheduler_config.json").read_text())
        # what a DPM solver's file holds: its class has no set_alpha_to_one and no clip_sample
        (folder / "scheduler/scheduler_config.json").write_text(
            json.dumps(
                {
                    "_class_name": "DPMSolverMultistepScheduler",
                    "beta_schedule": "linear",
                    "beta_start": config["beta_start"],
                    "prediction_type": "v_prediction",
                }
            )
        )
        index = json.loads((folder / "model_index.json").read_text())
        index["scheduler"][1] = "DPMSolverMultistepScheduler"
        (folder / "model_index.json").write_text(json.dumps(index))
        edit_json(
            folder / "tokenizer/tokenizer_config.json",
            bos_token={
                "__type": "AddedToken",
                "content": "<|startoftext|>",
                "lstrip": False,
                "normalized": True,
                "rstrip": False,
                "single_word": False,
            },
        )
        (folder / "tokenizer/tokenizer.json").unlink()
        code, log = run(folder, WORK / "brain", "--dtype", "bf16")
        self.assertEqual(code, 0, log)
        manifest = json.loads((WORK / "brain/bundle.json").read_text())
        self.assertEqual(manifest["denoiser"]["dtype"], "bfloat16")
        schedule = manifest["schedule"]
        self.assertEqual(
            (
                schedule["beta_schedule"],
                schedule["beta_end"],
                schedule["prediction_type"],
                schedule["timestep_spacing"],
                schedule["clip_sample"],
                schedule["default_sampler"],
            ),
            ("linear", 0.02, "v_prediction", "linspace", False, "dpmpp_2m"),
        )
        self.assertEqual(manifest["text"]["tokenizer"]["normalized_ids"], [manifest["text"]["tokenizer"]["bos_id"]])


class Failures(Refusals):
    source = NANO

    def setUp(self):
        super().setUp()
        self.unet = self.folder / "unet/diffusion_pytorch_model.safetensors"

    def test_no_folder(self):
        shutil.rmtree(self.folder)
        self.assert_refused("broken is not a folder")
        self.folder.mkdir()
        self.assert_refused("model_index.json is missing")

    def test_index(self):
        (self.folder / "model_index.json").write_text("{")
        self.assert_refused("model_index.json is not valid JSON")

    def test_missing_part(self):
        shutil.rmtree(self.folder / "vae")
        self.assert_refused("broken/vae is missing though model_index.json names it")
        self.index("vae", ...)
        self.assert_refused("names no vae")

    def test_foreign_class(self):
        self.index("unet", ["diffusers", "UNet2DConditionModel"])
        self.assert_refused("unet is a UNet2DConditionModel", "only UNet3DConditionModel")

    def test_foreign_config(self):
        edit_json(self.folder / "vae/config.json", _class_name="AutoencoderTiny")
        self.assert_refused("vae/config.json is of class AutoencoderTiny, expected AutoencoderKL")

    def test_foreign_vae_settings(self):
        edit_json(self.folder / "vae/config.json", shift_factor=0.1)
        self.assert_refused("vae: shift_factor is set")

    def test_no_weights(self):
        self.unet.unlink()
        self.assert_refused("broken/unet holds no weights: expected diffusion_pytorch_model.safetensors or .bin")

    def test_truncated_weights(self):
        self.unet.write_bytes(self.unet.read_bytes()[:-1000])
        self.assert_refused("broken/unet: the weights cannot be loaded", "truncated")

    def test_text_as_weights(self):
        (self.folder / "text_encoder/model.safetensors").write_text(
            "not weights at all, but long enough to be read as something"
        )
        self.assert_refused("broken/text_encoder: the weights cannot be loaded")

    def test_absent_weight(self):
        edit_weights(self.unet, lambda t: t.pop("conv_in.weight"))
        self.assert_refused("conv_in.weight")

    def test_absent_text_weight(self):
        edit_weights(
            self.folder / "text_encoder/model.safetensors",
            lambda t: t.pop(next(n for n in t if n.endswith("final_layer_norm.bias"))),
        )
        self.assert_refused("missing keys", "final_layer_norm.bias")

    def test_misshapen_weight(self):
        edit_weights(self.unet, lambda t: t.__setitem__("conv_in.weight", t["conv_in.weight"][:4].clone()))
        self.assert_refused("broken/unet", "conv_in.weight")

    def test_non_finite_weight(self):
        edit_weights(self.unet, lambda t: t["conv_in.weight"].view(-1).__setitem__(3, float("nan")))
        self.assert_refused("conv_in.weight holds a non-finite number")

    def test_weight_too_large_for_fp16(self):
        edit_weights(self.unet, lambda t: t["conv_in.weight"].view(-1).__setitem__(3, 1e6))
        self.assert_refused(
            "non-finite number in torch.float16", "try --dtype fp32 or bf16", arguments=("--dtype", "fp16")
        )

    def test_missing_merges(self):
        (self.folder / "tokenizer/merges.txt").unlink()
        (self.folder / "tokenizer/tokenizer.json").unlink()
        self.assert_refused("broken/tokenizer holds neither vocab.json with merges.txt nor tokenizer.json")

    def test_vocabulary_larger_than_the_text_encoder(self):
        vocab = json.loads((self.folder / "tokenizer/vocab.json").read_text(encoding="utf-8"))
        (self.folder / "tokenizer/vocab.json").write_text(
            json.dumps({**vocab, "more": 100000}, ensure_ascii=False), encoding="utf-8"
        )
        self.assert_refused("the vocabulary holds id 100000", "the text encoder knows only")

    def test_scheduler(self):
        path = self.folder / "scheduler/scheduler_config.json"
        for changes, words in (
            ({"prediction_type": "sample"}, "prediction_type = sample is not supported"),
            ({"prediction_type": "epsilon", "thresholding": True}, "thresholding = True is not supported"),
            ({"thresholding": False, "trained_betas": [0.1] * 1000}, "trained_betas = a list is not supported"),
            ({"trained_betas": None, "timestep_spacing": "sideways"}, "timestep_spacing = sideways is not supported"),
        ):
            edit_json(path, **changes)
            self.assert_refused(words)
        self.index("scheduler", ["diffusers", "FlowMatchEulerDiscreteScheduler"])
        self.assert_refused("scheduler is a FlowMatchEulerDiscreteScheduler; known are DDIMScheduler")

    def test_parts_of_different_models(self):
        other = WORK / "other_pipeline"
        write_quietly("tiny_v", other)
        for part in ("text_encoder", "tokenizer"):
            shutil.rmtree(self.folder / part)
            shutil.copytree(other / part, self.folder / part)
        shutil.rmtree(other)
        self.assert_refused("the text encoder is 48 wide and the UNet expects 16")

    def test_target(self):
        (WORK / "taken").mkdir()
        self.assert_refused("taken exists already", target=WORK / "taken")
        (WORK / "taken").rmdir()
        self.assert_refused("nowhere is not a folder", target=WORK / "nowhere/bundle")
        self.assert_refused("--height 33: expected a positive multiple of 2", arguments=("--height", "33"))

    def test_full_disk(self):
        """A limit on file sizes stands in for the full disk: writes fail half-way alike."""
        for limit, words in ((300_000, "cannot be written"), (4_000, "File too large: nothing was written to")):
            old = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
            try:
                self.assert_refused(words)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, old)

    def test_self_check_finds_a_baked_size(self):
        def even_trace(family, unet, dtype, original=UNet3D.denoiser_part):
            part = original(family, unet, dtype)
            part.examples = lambda module: {
                "forward": (torch.randn(2, 4, 3, 8, 8), torch.tensor([1, 2]), torch.randn(2, 7, 16))
            }
            return part

        with mock.patch.object(UNet3D, "denoiser_part", even_trace):
            self.assert_refused(
                "self-check", "denoiser.forward at batch 2, 3 frames, 3x5 latents", "a size was baked into the trace"
            )


if __name__ == "__main__":
    unittest.main(verbosity=2)
