"""Small tokenizers in the files of the published ones: CLIP's byte-level BPE, T5's SentencePiece."""

import io
import json
from collections import Counter

SENTENCES = """
a photo of a small red robot on a wooden table in the morning light
a corgi dog is running along the beach, waves in the background
a person lifting weights in a gym, slow motion video, high quality
a cat playing the golden guitar on the moon
a toy astronaut walking and dancing through the snowy forest at night
two birds flying over the mountains while the sun is setting
a panda skateboarding in the city, 4k, cinematic, detailed
bad anatomy, extra limbs, ugly, deformed, noisy, blurry, distorted, out of focus, poorly drawn face, missing fingers
the man's horse didn't jump; they've said it'll ride again, we're sure, i'm here and he'd know
an old car drives down a street in 1987 with 25 people watching
a video of a teddy bear swimming under water, camera moving slowly around it
""".strip().splitlines()
EXTRA_IDS = 100


def byte_letters():
    """GPT-2's printable letter for each byte, bytes in the order in which CLIP's vocabulary lists them."""
    order = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = [b for b in range(256) if b not in order]
    return {**{b: chr(b) for b in order}, **{b: chr(256 + n) for n, b in enumerate(spare)}}


def train_bpe(sentences, merge_count):
    """Byte-pair encoding: merges the most frequent pair (ties: alphabetical) until `merge_count` merges exist or no
    pair repeats."""
    letters = byte_letters()
    counts = Counter(word for s in sentences for word in s.replace(",", " , ").split())
    words = {w: [letters[b] for b in w.encode()] for w in counts}
    for symbols in words.values():
        symbols[-1] += "</w>"
    merges = []
    while len(merges) < merge_count:
        pairs = Counter()
        for w, symbols in words.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += counts[w]
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        for symbols in words.values():
            i = 0
            while i < len(symbols) - 1:
                if (symbols[i], symbols[i + 1]) == best:
                    symbols[i : i + 2] = ["".join(best)]
                i += 1
    alphabet = list(letters.values())
    tokens = alphabet + [a + "</w>" for a in alphabet]
    seen = set(tokens)
    for merge in ("".join(m) for m in merges):
        if merge not in seen:  # two merges may build the same token
            seen.add(merge)
            tokens.append(merge)
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {t: i for i, t in enumerate(tokens)}, merges


def write_tokenizer(folder, merge_count, max_length, pad_token, sentences=SENTENCES):
    """vocab.json, merges.txt and the config files that CLIPTokenizer.from_pretrained reads."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    vocab, merges = train_bpe(sentences, merge_count)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in merges), encoding="utf-8"
    )
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=max_length, pad_token=pad_token)
    tokenizer.save_pretrained(folder)
    return tokenizer


def train_sentencepiece(path, normalization="nmt_nfkc", sentences=SENTENCES):
    """A small unigram model with T5's settings: <pad> 0, </s> 1, <unk> 2, no fall-back to bytes; the number of its
    pieces. The table of nmt_nfkc takes 240 KB."""
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=out,
        model_type="unigram",
        vocab_size=180,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        character_coverage=1.0,
        normalization_rule_name=normalization,
        byte_fallback=False,
        num_threads=1,
        minloglevel=2,
    )
    path.write_bytes(out.getvalue())
    return sentencepiece.SentencePieceProcessor(model_file=str(path)).get_piece_size()


def write_t5_tokenizer(folder, max_length, normalization, sentences=SENTENCES):
    """spiece.model and tokenizer_config.json with the fields of CogVideoX's; the number of ids. No tokenizer.json, as
    there."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = train_sentencepiece(folder / "spiece.model", normalization, sentences)

    def token(text, strip):
        return dict(content=text, lstrip=strip, rstrip=strip, normalized=False, single_word=False, special=True)

    added = {str(i): token(text, False) for i, text in enumerate(("<pad>", "</s>", "<unk>"))}
    added |= {str(pieces + i): token(f"<extra_id_{EXTRA_IDS - 1 - i}>", True) for i in range(EXTRA_IDS)}
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            dict(
                add_prefix_space=True,
                added_tokens_decoder=added,
                additional_special_tokens=[f"<extra_id_{i}>" for i in range(EXTRA_IDS)],
                clean_up_tokenization_spaces=True,
                eos_token="</s>",
                extra_ids=EXTRA_IDS,
                legacy=True,
                model_max_length=max_length,
                pad_token="<pad>",
                sp_model_kwargs={},
                tokenizer_class="T5Tokenizer",
                unk_token="<unk>",
            ),
            indent=2,
        ),
        encoding="utf-8",
    )
    return pieces + EXTRA_IDS
