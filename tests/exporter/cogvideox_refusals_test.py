"""CogVideoX pipelines that are broken in one way each: nothing is exported. Exits non-zero on a failure."""

import json
import shutil
import unittest
from unittest import mock

import torch

from exporter import causal_autoencoder, cogvideox
from tests.exporter.exporting import WORK, Refusals, edit_json, edit_weights, write_quietly

NANO_2B, NANO_15 = WORK / "nano_2b_pipeline", WORK / "nano_15_pipeline"


def setUpModule():
    write_quietly("nano_2b", NANO_2B)
    write_quietly("nano_15", NANO_15)


def tearDownModule():
    shutil.rmtree(WORK)


class Failures(Refusals):
    source = NANO_2B

    def config(self, part, **changes):
        edit_json(self.folder / part / "config.json", **changes)

    def test_image_to_video(self):
        for changes, words in (
            (dict(in_channels=8), "8 channels in and 4 out"),
            (dict(in_channels=4, ofs_embed_dim=16), "ofs_embed_dim 16"),
            (
                dict(ofs_embed_dim=None, use_rotary_positional_embeddings=True, use_learned_positional_embeddings=True),
                "learned positional embeddings",
            ),
        ):
            self.config("transformer", **changes)
            self.assert_refused("broken/transformer has " + words, "image-to-video", "only text-to-video")

    def test_wrong_class(self):
        self.index("transformer", ["diffusers", "HunyuanVideoTransformer3DModel"])
        self.assert_refused(
            "transformer is a HunyuanVideoTransformer3DModel, and this exporter knows only CogVideoXTransformer3DModel"
        )
        self.index("transformer", ...)
        self.assert_refused("names no unet and no transformer", "UNet3DConditionModel", "CogVideoXTransformer3DModel")

    def test_wrong_config_class(self):
        self.config("text_encoder", architectures=["T5ForConditionalGeneration"])
        self.assert_refused("text_encoder/config.json is of class T5ForConditionalGeneration, expected T5EncoderModel")

    def test_wrong_scheduler(self):
        self.index("scheduler", ["diffusers", "FlowMatchEulerDiscreteScheduler"])
        self.assert_refused(
            "scheduler is a FlowMatchEulerDiscreteScheduler; known are CogVideoXDDIMScheduler, CogVideoXDPMScheduler"
        )

    def test_parts_of_different_models(self):
        self.config("text_encoder", d_model=24)
        self.assert_refused("the text encoder is 24 wide and the transformer expects 16")
        self.config("vae", latent_channels=8)
        self.assert_refused("the autoencoder has 8 latent channels and the transformer 4")

    def test_foreign_vae_settings(self):
        self.config("vae", use_quant_conv=True)
        self.assert_refused("vae: use_quant_conv is set", "CogVideoX text-to-video pipelines")
        self.config("vae", use_quant_conv=False, latents_mean=[0.0] * 4)
        self.assert_refused("vae: latents_mean is set")

    def test_missing_shard(self):
        shutil.rmtree(self.folder)
        write_quietly("nano_2b", self.folder, max_shard_size="50KB")
        sorted((self.folder / "transformer").glob("*-of-*.safetensors"))[1].unlink()
        self.assert_refused("broken/transformer: the weights cannot be loaded")

    def test_absent_weights(self):
        edit_weights(
            self.folder / "transformer/diffusion_pytorch_model.safetensors",
            lambda t: t.pop("transformer_blocks.1.attn1.to_q.weight"),
        )
        self.assert_refused("transformer_blocks.1.attn1.to_q.weight")

    def test_absent_text_weight(self):
        edit_weights(self.folder / "text_encoder/model.safetensors", lambda t: t.pop("encoder.final_layer_norm.weight"))
        self.assert_refused("missing keys", "encoder.final_layer_norm.weight")

    def test_damaged_sentencepiece_model(self):
        path = self.folder / "tokenizer/spiece.model"
        content = path.read_bytes()
        for damaged in (
            content[:-1000],
            content[:700],
            b"not a model",
            b"",
            content[:20] + b"\xff" * 40 + content[60:],
        ):
            path.write_bytes(damaged)
            self.assert_refused("broken/tokenizer/spiece.model is no SentencePiece model", "copy the file again")
        path.unlink()
        self.assert_refused("spiece.model is missing", "copy the SentencePiece model")

    def test_other_sentencepiece_models(self):
        import io

        import sentencepiece

        for options, words in (
            (dict(model_type="bpe", vocab_size=30), "not a unigram model"),
            (dict(byte_fallback=True), "not a unigram model"),
            (dict(unk_id=0, pad_id=2), "unk is 0 and padding goes right"),
        ):
            out = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(["a cat sat on the mat and that was that"] * 3),
                model_writer=out,
                minloglevel=2,
                num_threads=1,
                hard_vocab_limit=False,
                **{**dict(vocab_size=290, pad_id=0, eos_id=1, unk_id=2, bos_id=-1), **options},
            )
            (self.folder / "tokenizer/spiece.model").write_bytes(out.getvalue())
            edit_json(self.folder / "tokenizer/tokenizer_config.json", added_tokens_decoder=...)
            self.assert_refused("broken/tokenizer", words)

    def test_foreign_special_token(self):
        path = self.folder / "tokenizer/tokenizer_config.json"
        added = json.loads(path.read_text())["added_tokens_decoder"]
        last = max(added, key=int)
        edit_json(path, added_tokens_decoder={**added, last: dict(added[last], single_word=True)})
        self.assert_refused(f"special token {added[last]['content']!r} is normalized, single_word or strips one side")

    def test_vocabulary_larger_than_the_text_encoder(self):
        self.config("text_encoder", vocab_size=100)
        self.assert_refused("the vocabulary holds id", "the text encoder knows only 100 tokens")

    def test_sizes(self):
        self.assert_refused(
            "--height 36: expected a positive multiple of 8", arguments=("--height", "36", "--width", "48")
        )
        self.assert_refused(
            "--frames 10: expected 1 more than a multiple of 4, such as 9 or 13", arguments=("--frames", "10")
        )
        self.assert_refused("--frames 0", arguments=("--frames", "0"))
        shutil.rmtree(self.folder)
        shutil.copytree(NANO_15, self.folder)
        self.assert_refused(
            "--width 72: this model's positions end at 64", arguments=("--height", "32", "--width", "72")
        )

    def test_self_check_finds_a_baked_table(self):
        class Own(cogvideox.TableDenoiser):
            def forward(self, latents, timestep, prompt_embedding, positional_table):
                return super().forward(
                    latents,
                    timestep,
                    prompt_embedding,
                    torch.zeros_like(positional_table) if torch.jit.is_tracing() else positional_table,
                )

        with mock.patch.object(cogvideox, "TableDenoiser", Own):
            self.assert_refused("self-check: denoiser.forward", "differs from the model")

    def test_self_check_finds_a_forgotten_cache(self):
        class Forgetful(causal_autoencoder.CausalAutoencoder):
            def encode(self, pixels, tensors=None):
                return super().encode(pixels)

        with mock.patch.object(causal_autoencoder, "CausalAutoencoder", Forgetful):
            self.assert_refused("self-check: autoencoder.encode at 17 frames of 2x3 latents", "differs from the model")


if __name__ == "__main__":
    unittest.main(verbosity=2)
