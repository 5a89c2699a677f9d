"""The tokenizer part of a bundle: its files, and the ids that go around a prompt, as transformers resolves them."""

import json
import shutil

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
        raise ExportError(
            f"{folder} holds neither vocab.json with merges.txt nor tokenizer.json: copy the tokenizer's files of the "
            "pipeline there"
        )
    model = read_json(folder / "tokenizer.json").get("model", {})
    if model.get("type", "BPE") != "BPE" or not model.get("vocab") or "merges" not in model:
        raise ExportError(f"{folder}/tokenizer.json holds no BPE vocabulary with merges: expected a CLIP tokenizer")
    return model["vocab"], [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]


def transformers_tokenizer(name, folder):
    import transformers

    try:
        return getattr(transformers, name).from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise ExportError(f"{folder}: transformers cannot read this tokenizer ({one_line(error)})") from error


def clip_tokenizer(source, target, vocabulary):
    """Writes vocab.json and merges.txt into `target`; the limit on tokens and the manifest's `tokenizer`. vocabulary:
    the text encoder's size."""
    vocab, merges = vocab_and_merges(source)
    tokenizer = transformers_tokenizer("CLIPTokenizer", source)
    for name in ("bos_token", "eos_token", "pad_token"):
        token = getattr(tokenizer, name)
        if token not in vocab or vocab[token] != tokenizer.convert_tokens_to_ids(token):
            raise ExportError(
                f"{source}: {name} {token!r} is not an entry of vocab.json: the C++ tokenizer knows no added tokens"
            )
    if max(vocab.values()) >= vocabulary:
        raise ExportError(
            f"{source}: the vocabulary holds id {max(vocab.values())}, and the text encoder knows only {vocabulary} "
            "tokens"
        )
    ids = sorted({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id})
    added = tokenizer.added_tokens_decoder  # AddedToken(normalized=True): found in the normalised text
    if extra := sorted(set(added) - set(ids)):
        raise ExportError(
            f"{source}: special token {str(added[extra[0]])!r} is neither bos, eos nor pad: the C++ tokenizer knows "
            "only those"
        )
    target.mkdir()
    (target / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (target / "merges.txt").write_text("#version: 0.2\n" + "".join(m + "\n" for m in merges), encoding="utf-8")
    return tokenizer.model_max_length, {
        "kind": "clip_bpe",
        "vocab": "tokenizer/vocab.json",
        "merges": "tokenizer/merges.txt",
        "bos_id": tokenizer.bos_token_id,
        "eos_id": tokenizer.eos_token_id,
        "pad_id": tokenizer.pad_token_id,
        "normalized_ids": [i for i in ids if i in added and added[i].normalized],
    }


def unigram_pieces(path):
    """The pieces of a SentencePiece model, in the order of their ids."""
    from sentencepiece import sentencepiece_model_pb2

    if not path.exists():
        raise ExportError(
            f"{path} is missing: copy the SentencePiece model of the original tokenizer there (newer programs save "
            "only tokenizer.json)"
        )
    model = sentencepiece_model_pb2.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:
        raise ExportError(f"{path} is no SentencePiece model ({one_line(error)}): copy the file again") from error
    if not model.pieces or not model.HasField("trainer_spec"):
        raise ExportError(f"{path} is no SentencePiece model: copy the file again")
    if model.trainer_spec.model_type != model.trainer_spec.UNIGRAM or model.trainer_spec.byte_fallback:
        raise ExportError(
            f"{path} is not a unigram model without bytes to fall back to, as T5's is: the C++ tokenizer knows no other"
        )
    return [piece.piece for piece in model.pieces]


def sentencepiece_tokenizer(source, target, vocabulary):
    """Writes spiece.model into `target`; the manifest's `tokenizer`. Every special token that transformers finds in a
    prompt is listed."""
    pieces = unigram_pieces(source / "spiece.model")
    tokenizer = transformers_tokenizer("T5Tokenizer", source)
    for i, piece in enumerate(pieces):
        if tokenizer.convert_ids_to_tokens(i) != piece:
            other = tokenizer.convert_ids_to_tokens(i)
            raise ExportError(
                f"{source}: id {i} is {piece!r} in spiece.model and {other!r} for transformers: the files belong to "
                "different tokenizers"
            )
    if tokenizer.unk_token_id != 2 or tokenizer.padding_side != "right":
        raise ExportError(
            f"{source}: unk is {tokenizer.unk_token_id} and padding goes {tokenizer.padding_side}: expected 2 and "
            "right, as T5 has it"
        )
    special = []
    for i, token in sorted(tokenizer.added_tokens_decoder.items()):
        if token.normalized or token.single_word or token.lstrip != token.rstrip:
            raise ExportError(
                f"{source}: special token {str(token)!r} is normalized, single_word or strips one side: the C++ "
                "tokenizer knows no such token"
            )
        special.append({"text": str(token), "id": i, "strip": bool(token.lstrip)})
    if (last := max(len(pieces) - 1, special[-1]["id"])) >= vocabulary:
        raise ExportError(
            f"{source}: the vocabulary holds id {last}, and the text encoder knows only {vocabulary} tokens"
        )
    target.mkdir()
    shutil.copyfile(source / "spiece.model", target / "spiece.model")
    return {
        "kind": "sentencepiece",
        "model": "tokenizer/spiece.model",
        "eos_id": tokenizer.eos_token_id,
        "pad_id": tokenizer.pad_token_id,
        "special_tokens": special,
    }
