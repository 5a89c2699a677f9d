"""Golden prompt embeddings of a CogVideoX pipeline's T5, from its own encode_prompt, run eagerly.

    python -m tests.pipelines.tiny WORK --only nano_2b
    python -m tests.goldens.make.t5_embedding WORK/nano_2b_pipeline tests/goldens

Writes backbone/text_nano_2b.safetensors: embedding [P,L,D] of the prompts in its metadata, truncated [1,L,D] of
long_prompt. Provenance: torch 2.11.0, diffusers 0.42.1, transformers 5.23.0, one thread."""

import json
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file

warnings.simplefilter("ignore")
PROMPTS = ["", "a cat", "A Hat!", "  a  person\u3000rides\n", "naïve <extra_id_0> cat</s> <pad>²", "＜/s＞ 龘龘"]


def main():
    from diffusers import CogVideoXPipeline

    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    pipe = CogVideoXPipeline.from_pretrained(folder)
    length = pipe.tokenizer.model_max_length
    long_prompt = "a person rides a bicycle over the hills " * length

    def embedding(prompts):
        with torch.no_grad():
            return torch.cat(
                [
                    pipe.encode_prompt(p, do_classifier_free_guidance=False, max_sequence_length=length)[0]
                    for p in prompts
                ]
            )

    path = Path(sys.argv[2]) / f"backbone/text_{folder.name.removesuffix('_pipeline')}.safetensors"
    save_file(
        {"embedding": embedding(PROMPTS).contiguous(), "truncated": embedding([long_prompt]).contiguous()},
        path,
        {"prompts": json.dumps(PROMPTS), "long_prompt": long_prompt},
    )
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
