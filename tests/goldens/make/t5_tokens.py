"""Goldens of the SentencePiece tokenizer: what transformers' T5Tokenizer, loaded from a folder as CogVideoXPipeline
loads it, makes of 10,000 lines, of 5,000 lines with special tokens in them, and of every Unicode code point.

    python -m tests.goldens.make.t5_tokens [OUTPUT]
    python -m tests.goldens.make.t5_tokens OUTPUT --model spiece.model

The first writes tests/goldens/text/t5 (transformers 5.23.0, tokenizers 0.23.3, sentencepiece 0.2.3), the second the
same for another model, such as T5's own.

The lines follow from their number by the recipe of clip_tokens.py; those of the second kind have SPECIALS among the
fragments. Files written: spiece.model, recipe.json, cases.json (lines with their ids in full; "padded": a long line cut
to 226 tokens) and hashes.bin: little-endian uint32, one for each line, one for each line with special tokens, then one
for each block of 4,096 code points in a line (clip_tokens.code_point_line) and one for each block's text after the
model's normalisation (`marked`): FNV-1a of ids; of texts the first 4 bytes of the SHA-256. "unmapped" in recipe.json:
lines with their ids by the model without its character map."""

import argparse
import hashlib
import io
import json
import os
import shutil
import struct
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
from .clip_tokens import CASES, LINES, NASTY, RANGES, SENTENCES, SEPARATORS, WORDS, code_point_line, fnv1a, line

SPECIAL_LINES, MAX_LENGTH, EXTRA_IDS = 5000, 226, 100
UNMAPPED = [
    "a▁b",
    "▁a",
    "▁▁a bear▁",
    "²\u0301 ﬁ x\u3000y",
    "▁",
    "▁ ▁",
    "a\u0301</s>▁b",
    "\u200b",
]  # lines for the model without its character map
NO_MAP = b"\x1a\x02\x12\x00"  # put behind a model: normalizer_spec { precompiled_charsmap: "" }
SPECIALS = (
    """</s> <pad> <unk> <extra_id_0> <extra_id_1> <extra_id_10> <extra_id_99> <extra_id_100> <extra_id_ </S>
<PAD> <s> </s </s>> <</s> <unk><unk>
＜/s＞ ＜unk＞ ＜pad＞ ＜extra_id_7＞ <ｐad> ▁ ▁▁ a▁b ▁the <0x41> 字<unk>字 字字 ²\u0301 ﬁ\u0301 a\u0323\u0302
\u0600e\u0301 ¼\u0308 ⅷ\u0489 \u0344\u0301 ｶﾞ が ™\u0301
1000 {10,1000} sort... 👍\u200d™\u0301 क्\u0958\u0301 \u0958\u0301 ᄀ\u1161\u0301 \u3000\u0301 \u00a0\u0301
\u0301 \u200d\u0301 \ufb2a\u05b7""".split()
    + [
        "<extra_id_0>\u3000\u0301",
        "\u3000<extra_id_5>\u3000",
        " </s> ",
        "</s>\u3000\u0301",
        "\r\n\u0301",
        "\x00</s>\x00",
        "\u2028<extra_id_3>\u2029",
    ]
)


def train(path):
    """A small unigram model with T5's settings: <pad> 0, </s> 1, <unk> 2, nmt_nfkc, no fall-back to bytes."""
    import sentencepiece

    lines = [*SENTENCES, *WORDS, *(n for n in NASTY if n.isprintable() and not n.isspace())] * 2
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=out,
        model_type="unigram",
        vocab_size=900,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        byte_fallback=False,
        num_threads=1,
        minloglevel=2,
    )
    path.write_bytes(out.getvalue())


def write_folder(folder, model):
    """spiece.model and tokenizer_config.json, with the fields of CogVideoX's."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model, folder / "spiece.model")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model)).get_piece_size()

    def token(text, strip):
        return dict(content=text, lstrip=strip, rstrip=strip, normalized=False, single_word=False, special=True)

    extra = {str(pieces + i): token(f"<extra_id_{EXTRA_IDS - 1 - i}>", True) for i in range(EXTRA_IDS)}
    decoder = {str(i): token(text, False) for i, text in enumerate(("<pad>", "</s>", "<unk>"))} | extra
    config = dict(
        add_prefix_space=True,
        added_tokens_decoder=decoder,
        additional_special_tokens=[f"<extra_id_{i}>" for i in range(EXTRA_IDS)],
        clean_up_tokenization_spaces=True,
        eos_token="</s>",
        extra_ids=EXTRA_IDS,
        legacy=True,
        model_max_length=MAX_LENGTH,
        pad_token="<pad>",
        sp_model_kwargs={},
        tokenizer_class="T5Tokenizer",
        unk_token="<unk>",
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def marked(code):
    """A character alone, and between others of which the normaliser sees some with it as one: marks, and a sign that
    goes before a letter."""
    c = chr(code)
    return f"{c} \u00b2{c}. e{c}\u0301 {c}e\u0301 {c}\u0344\u0301 {c}\u0301 \u00bc{c}\u0301;{c}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, nargs="?", default=Path("tests/goldens/text/t5"))
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    out = arguments.output
    out.mkdir(parents=True, exist_ok=True)
    if arguments.model:
        shutil.copyfile(arguments.model, out / "spiece.model")
    else:
        train(out / "spiece.model")
    from transformers import AutoTokenizer, T5Tokenizer

    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), out / "spiece.model")
        tokenizer, automatic = T5Tokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        with open(Path(folder) / "spiece.model", "ab") as stream:
            stream.write(NO_MAP)
        unmapped = T5Tokenizer.from_pretrained(folder)
        assert unmapped.backend_tokenizer.normalizer is None
    specials = [{"text": str(t), "id": i, "strip": t.lstrip} for i, t in sorted(tokenizer.added_tokens_decoder.items())]
    assert all(
        t.lstrip == t.rstrip and not t.normalized and not t.single_word for t in tokenizer.added_tokens_decoder.values()
    )
    recipe = {
        "lines": SPECIAL_LINES,
        "nasty": SPECIALS,
        "max_length": MAX_LENGTH,
        "eos_id": tokenizer.eos_token_id,
        "pad_id": tokenizer.pad_token_id,
        "special_tokens": specials,
        "unmapped": [{"text": text, "ids": unmapped(text).input_ids} for text in UNMAPPED],
    }
    (out / "recipe.json").write_text(json.dumps(recipe), encoding="ascii")

    plain = {"lines": LINES, "words": WORDS, "nasty": NASTY, "separators": SEPARATORS, "ranges": RANGES}
    hashes, cases = [], []
    for kind, count in ((plain, LINES), (plain | {"nasty": NASTY + 3 * SPECIALS}, SPECIAL_LINES)):
        taken, long = 0, 0
        for i in range(count):
            text = line(i, kind)
            ids = tokenizer(text).input_ids
            hashes.append(fnv1a(ids))
            if i % 64 == 63 and long < 1:
                long += 1
                cut = tokenizer(
                    text, padding="max_length", max_length=MAX_LENGTH, truncation=True, add_special_tokens=True
                ).input_ids
                cases.append({"text": text, "ids": ids, "padded": cut})
            elif i % 64 != 63 and taken < CASES // 2:
                assert automatic(text).input_ids == ids
                cases.append({"text": text, "ids": ids})
                taken += 1
    cases += [{"text": text, "ids": tokenizer(text).input_ids} for text in ("", " ", "\u200b", *SPECIALS)]
    texts = []
    for block in range(0x110000 // 4096):
        value, digest = 0x811C9DC5, hashlib.sha256()
        for first in range(block * 4096, (block + 1) * 4096, 64):
            value = fnv1a(tokenizer(code_point_line(first)).input_ids, value)
        for code in range(block * 4096, (block + 1) * 4096):
            if not 0xD800 <= code < 0xE000:
                digest.update(tokenizer.backend_tokenizer.normalizer.normalize_str(marked(code)).encode())
        hashes.append(value)
        texts.append(struct.unpack("<I", digest.digest()[:4])[0])
    (out / "hashes.bin").write_bytes(struct.pack(f"<{len(hashes) + len(texts)}I", *hashes, *texts))
    (out / "cases.json").write_text(json.dumps(cases, ensure_ascii=True, separators=(",", ":")), encoding="ascii")
    print(f"{len(tokenizer)} tokens, {LINES} + {SPECIAL_LINES} lines, {len(cases)} cases, {len(texts)} blocks")


if __name__ == "__main__":
    main()
