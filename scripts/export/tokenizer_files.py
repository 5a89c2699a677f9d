"""The tokenizer part of a bundle: vocab.json and merges.txt of a CLIP BPE, and the ids that go around a prompt."""
import json

from .diffusers_folder import read_json
from .failure import ExportError, one_line


def vocab_and_merges(folder):
    """From vocab.json and merges.txt; where transformers 5 saved tokenizer.json alone, from its `model` section."""
    if (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        vocab = read_json(folder / "vocab.json")
        lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
        merges = [line for line in lines if line.strip() and not line.startswith("#version")]
        return vocab, merges
    if not (folder / "tokenizer.json").exists():
        raise ExportError(f"{folder} holds neither vocab.json with merges.txt nor tokenizer.json: copy the tokenizer's files of the pipeline there")
    model = read_json(folder / "tokenizer.json").get("model", {})
    if model.get("type", "BPE") != "BPE" or not model.get("vocab") or "merges" not in model:
        raise ExportError(f"{folder}/tokenizer.json holds no BPE vocabulary with merges: expected a CLIP tokenizer")
    return model["vocab"], [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]


def write_tokenizer(source, target, text_encoder):
    """Writes vocab.json and merges.txt into `target` and returns the manifest's `text` object, with ids as transformers resolves them."""
    from transformers import CLIPTokenizer
    vocab, merges = vocab_and_merges(source)
    try:
        tokenizer = CLIPTokenizer.from_pretrained(source, local_files_only=True)
    except Exception as error:
        raise ExportError(f"{source}: transformers cannot read this tokenizer ({one_line(error)})") from error
    for name in ("bos_token", "eos_token", "pad_token"):
        token = getattr(tokenizer, name)
        if token not in vocab or vocab[token] != tokenizer.convert_tokens_to_ids(token):
            raise ExportError(f"{source}: {name} {token!r} is not an entry of vocab.json: the C++ tokenizer knows no added tokens")
    if max(vocab.values()) >= text_encoder.config.vocab_size:
        raise ExportError(f"{source}: the vocabulary holds id {max(vocab.values())}, and the text encoder knows only {text_encoder.config.vocab_size} tokens")
    ids = sorted({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id})
    added = tokenizer.added_tokens_decoder   # AddedToken(normalized=True): found in the normalised text
    if extra := sorted(set(added) - set(ids)):
        raise ExportError(f"{source}: special token {str(added[extra[0]])!r} is neither bos, eos nor pad: the C++ tokenizer knows only those")
    target.mkdir()
    (target / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (target / "merges.txt").write_text("#version: 0.2\n" + "".join(m + "\n" for m in merges), encoding="utf-8")
    positions = text_encoder.config.max_position_embeddings
    return {"file": "text_encoder.pt", "tokenizer": "clip_bpe", "vocab": "tokenizer/vocab.json", "merges": "tokenizer/merges.txt",
            "max_length": min(positions, tokenizer.model_max_length), "bos_id": tokenizer.bos_token_id, "eos_id": tokenizer.eos_token_id,
            "pad_id": tokenizer.pad_token_id, "normalized_ids": [i for i in ids if i in added and added[i].normalized], "attention_mask": False, "embedding_width": text_encoder.config.hidden_size}
