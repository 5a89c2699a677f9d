"""Goldens of the CLIP tokenizer: what transformers' CLIPTokenizer makes of 10,000 lines and of every Unicode code
point.

    python -m tests.goldens.make.clip_tokens [OUTPUT]
    python -m tests.goldens.make.clip_tokens OUTPUT --vocab vocab.json --merges merges.txt

The first writes tests/goldens/text (transformers 5.23.0, tokenizers 0.23.3), the second the same for another
vocabulary, such as OpenAI's.

The lines are not stored: line i follows from i by the recipe of `line` below, which tests/text/line_recipe.h repeats in
C++, and from the fragments in recipe.json. Files written: vocab.json, merges.txt, recipe.json, cases.json (200 lines
with their ids in full) and hashes.bin: little-endian uint32, one for each line with the exact tokenizer, one for each
with the normalised one, one for each block of 4,096 code points."""

import argparse
import json
import os
import struct
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
from tests.pipelines.tokenizers import SENTENCES, train_bpe

LINES, CASES, MASK = 10000, 200, (1 << 64) - 1
WORDS = (
    sorted({w for s in SENTENCES for w in s.split()})
    + """
Hello WORLD Zürich naïve façade Ångström ΟΔΟΣ Σας ΣΊΣΥΦΟΣ Москва ПРИВЕТ İstanbul ışık ẞTRASSE straße coöperate I'm
DON'T they'Ve we'LL he'D it'S y'all
'tis rock'n'roll 's ''s 't' x2 3.14 1,000,000 ½ Ⅷ ² ٣٤ ४२ 3rd 4K a_b c-d e@f.g http://x.y/z?q=1 C++ #tag $5 100% (a)
[b] {c} "d" <e> f|g
""".split()
)
NASTY = [
    "<|startoftext|>",
    "<|endoftext|>",
    "<|STARTOFTEXT|>",
    "<|EndOfText|>",
    "<|endoftext|",
    "|endoftext|>",
    "<|startoftext|>!!",
    "..<|endoftext|>..",
    "<|İ|>",
    "!",
    "!!",
    "!!!",
    "?!",
    "'",
    "''",
    "’s",
    "…",
    "—",
    "\u00ab\u00bb",
    "\u201cquote\u201d",
    "</w>",
    "Ġ",
    "Âģ",
    "##",
    "👍",
    "👍🏽",
    "👨‍👩‍👧‍👦",
    "🏳️‍🌈",
    "🇩🇪🇫🇷",
    "❤️",
    "☃",
    "1️⃣",
    "🫠",
    "😀😀😀😀",
    "\u200d",
    "\u200b",
    "\ufe0f",
    "\u2060",
    "\ufeff",
    "e\u0301",
    "E\u0301\u0323",
    "o\u0308\u0304",
    "a\u0323\u0302",
    "\u1112\u1161\u11ab",
    "한글",
    "가\u11a8",
    "Z\u0334\u0351\u035d\u0325a\u0329l\u0300g\u0335o",
    "\u0301",
    "q\u0307\u0323",
    "\u212b",
    "\u2126",
    "K",
    "ﬁ",
    "ﬃ",
    "ǅ",
    "\u0958",
    "\u2adc",
    "\u0f73",
    "\u0344",
    "\uf900",
    "\U0002f800",
    "\u1e9b\u0323",
    "a\u07fd\u0323\u0301",
    "a\u0301\u05b0\u0898\u0327",
    "\U00011935\U00011930",
    "e\u1abf\u0323\u0302",  # combining marks newer than the normaliser's Unicode 9: they stay where they are
    "一只可爱的熊猫在跳舞",
    "東京タワー",
    "カタカナ",
    "ｶﾞ",
    "ひらがな",
    "，。！",
    "　",
    "𠮷野家",
    "㍿",
    "①②③",
    "مرحبا بالعالم",
    "שָׁלוֹם עולם",
    "\u202eabc\u202c",
    "\u200fא\u200e",
    "فيديو 123",
    "हिन्दी में वीडियो",
    "ภาษาไทย",
    "தமிழ்",
    "ខ្មែរ",
    "မြန်မာ",
    "\u0001",
    "\u0000",
    "\u001b[31m",
    "\u007f",
    "\u0085",
    "\u00a0",
    "\u00ad",
    "\u2028",
    "\u2029",
    "\u202f",
    "\u180e",
    "\u001c\u001f",
    "\t",
    "\r\n",
    "\v\f",
    "\ue000",
    "\U000f0000",
    "\U0010ffff",
    "\uffff",
    "\ufdd0",
    "\U0001f9ff",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "Ｆｕｌｌ",
    "\u2c2f",
    "Ა",
    "ᲀ",
    "Ꭰ",
    "Ɐ",
    "\U0001e900",
    "\U00010400",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "thethethethethethe",
    "................................",
    "abcabcabcabcabcabcabcabc",
]
SEPARATORS = [" ", " ", " ", " ", "", "", "  ", "\t", "\n", "\u3000", "\u00a0", ",", ". ", "-"]
# blocks from which single characters are drawn: Latin, Greek, Cyrillic, combining, Arabic, Indic, punctuation, symbols,
# kana, CJK, Hangul, emoji, astral
RANGES = [
    [1, 0x24F],
    [0x250, 0x36F],
    [0x370, 0x52F],
    [0x590, 0x6FF],
    [0x900, 0xDFF],
    [0x1100, 0x11FF],
    [0x1E00, 0x206F],
    [0x20A0, 0x214F],
    [0x2190, 0x2BFF],
    [0x3040, 0x30FF],
    [0x4E00, 0x4FFF],
    [0xAC00, 0xAD00],
    [0xFB00, 0xFFEF],
    [0x10000, 0x1067F],
    [0x1D400, 0x1D7FF],
    [0x1F300, 0x1FAFF],
    [1, 0x10FFFF],
]


class Splitmix:
    """splitmix64: the next 64-bit number of a stream."""

    def __init__(self, seed):
        self.state = seed & MASK

    def below(self, count):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return (z ^ (z >> 31)) % count


def line(index, recipe):
    """1 to 40 fragments; every 64th line has 1,100 (about 5,000 characters)."""
    stream = Splitmix(index)
    out = []
    for _ in range(1100 if index % 64 == 63 else 1 + stream.below(40)):
        kind = stream.below(8)
        if kind < 4:
            out.append(recipe["words"][stream.below(len(recipe["words"]))])
        elif kind < 6:
            out.append(recipe["nasty"][stream.below(len(recipe["nasty"]))])
        else:
            low, high = recipe["ranges"][stream.below(len(recipe["ranges"]))]
            code = low + stream.below(high - low + 1)
            out.append("\ufffd" if 0xD800 <= code < 0xE000 else chr(code))
        out.append(recipe["separators"][stream.below(len(recipe["separators"]))])
    return "".join(out)


def code_point_line(first):
    """64 code points from `first` on, each between letters, digits and marks."""
    return "".join(f"a{chr(c)}1{chr(c)}.{chr(c)}X " for c in range(first, first + 64) if not 0xD800 <= c < 0xE000)


def fnv1a(ids, value=0x811C9DC5):
    for byte in struct.pack(f"<{len(ids)}i", *ids):
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def tokenizer(vocab, merges, normalized):
    from tokenizers import AddedToken
    from transformers import CLIPTokenizer

    special = {
        k: AddedToken(t, normalized=normalized, special=True)
        for k, t in (("bos_token", "<|startoftext|>"), ("eos_token", "<|endoftext|>"), ("unk_token", "<|endoftext|>"))
    }
    made = CLIPTokenizer(vocab=vocab, merges=merges, pad_token="!", **special)
    for token in special.values():
        assert made.added_tokens_decoder[vocab[str(token)]].normalized == normalized
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, nargs="?", default=Path("tests/goldens/text"))
    parser.add_argument("--vocab", type=Path)
    parser.add_argument("--merges", type=Path)
    arguments = parser.parse_args()
    out = arguments.output
    out.mkdir(parents=True, exist_ok=True)
    if arguments.vocab:
        vocab = json.loads(arguments.vocab.read_text(encoding="utf-8"))
        merges = [tuple(m.split(" ")) for m in arguments.merges.read_text(encoding="utf-8").split("\n")[1:] if m]
    else:
        vocab, merges = train_bpe(
            [*SENTENCES, *WORDS, *(n for n in NASTY if n.isprintable() and not n.isspace())] * 2, 500
        )
    (out / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (out / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in merges), encoding="utf-8")
    recipe = {
        "lines": LINES,
        "words": WORDS,
        "nasty": NASTY,
        "separators": SEPARATORS,
        "ranges": RANGES,
        "bos_id": vocab["<|startoftext|>"],
        "eos_id": vocab["<|endoftext|>"],
        "pad_id": vocab["!"],
    }
    (out / "recipe.json").write_text(json.dumps(recipe), encoding="ascii")
    exact, normalized = tokenizer(vocab, merges, False), tokenizer(vocab, merges, True)

    hashes, cases = [[], []], []
    for i in range(LINES):
        text = line(i, recipe)
        ids = [t(text).input_ids for t in (exact, normalized)]
        for column, sequence in zip(hashes, ids):
            column.append(fnv1a(sequence))
        if i % 64 != 63 and len(cases) < CASES:
            cases.append({"text": text, "exact": ids[0], "normalized": ids[1]})
    blocks = []
    for block in range(0x110000 // 4096):
        value = 0x811C9DC5
        for first in range(block * 4096, (block + 1) * 4096, 64):
            value = fnv1a(normalized(code_point_line(first)).input_ids, value)
        blocks.append(value)
    with open(out / "hashes.bin", "wb") as stream:
        for column in (*hashes, blocks):
            stream.write(struct.pack(f"<{len(column)}I", *column))
    (out / "cases.json").write_text(json.dumps(cases, ensure_ascii=True, separators=(",", ":")), encoding="ascii")
    lengths = [len(line(i, recipe)) for i in range(LINES)]
    print(
        f"{len(vocab)} tokens, {len(merges)} merges, {LINES} lines (longest {max(lengths)} characters, "
        f"{sum(n > 5000 for n in lengths)} over 5000), {len(blocks)} blocks"
    )


if __name__ == "__main__":
    main()
