"""Training text -> WhisperTokenizer: a small byte-level vocabulary, then Whisper's own special tokens."""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import WhisperTokenizer
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from training.trainers.asr import artefacts

PIECES = 1400
TIMESTAMPS = 1501
# CTranslate2 calls a vocabulary multilingual only when it holds the empty token; Whisper's is its last text token.
MULTILINGUAL_MARK = ""


def build(texts: list[str]) -> WhisperTokenizer:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        [" " + text for text in texts],
        trainers.BpeTrainer(vocab_size=PIECES, initial_alphabet=sorted(alphabet), show_progress=False),
    )
    state = json.loads(bpe.to_str())["model"]
    vocabulary = dict(state["vocab"])
    vocabulary[MULTILINGUAL_MARK] = len(vocabulary)
    tokenizer = WhisperTokenizer(
        vocab=vocabulary,
        merges=[tuple(pair) for pair in state["merges"]],
        pad_token="<|endoftext|>",  # noqa: S106
    )
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in special_tokens()])
    # Not special, and after <|notimestamps|>: Whisper's decoding distinguishes timestamps from text by this.
    tokenizer.add_tokens(
        [AddedToken(f"<|{n * 0.02:.2f}|>", special=False, normalized=False) for n in range(TIMESTAMPS)]
    )
    return artefacts.name_special_tokens(tokenizer)


def special_tokens() -> list[str]:
    languages = [f"<|{code}|>" for code in list(LANGUAGES)[:99]]
    return [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *languages,
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
    ]


def build_once(texts: list[str], folder: Path) -> WhisperTokenizer:
    """Stored beside the checkpoints, because a resumed run must use the same token ids."""
    if not (folder / "tokenizer.json").exists():
        build(texts).save_pretrained(folder)
    tokenizer: WhisperTokenizer = WhisperTokenizer.from_pretrained(folder)
    return tokenizer
