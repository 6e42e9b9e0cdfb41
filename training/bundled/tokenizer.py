"""Training text -> WhisperTokenizer with a small byte-level vocabulary and Whisper's special tokens in Whisper's order."""
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import WhisperTokenizerFast
from transformers.models.whisper.tokenization_whisper import LANGUAGES

PIECES = 1400
TIMESTAMPS = 1501
# CTranslate2 calls a vocabulary multilingual only when it holds the empty token; Whisper's is its last text token.
MULTILINGUAL_MARK = ""


def build(texts: list[str]) -> WhisperTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        [" " + text for text in texts],
        trainers.BpeTrainer(vocab_size=PIECES, initial_alphabet=sorted(alphabet), show_progress=False),
    )
    state = _state(bpe)
    vocabulary = dict(state["vocab"])
    vocabulary[MULTILINGUAL_MARK] = len(vocabulary)
    tokenizer = WhisperTokenizerFast(
        vocab=vocabulary, merges=[tuple(pair) for pair in state["merges"]], pad_token="<|endoftext|>"
    )
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in special_tokens()])
    # Not special, and after <|notimestamps|>: that is how Whisper's decoding tells timestamps from text.
    tokenizer.add_tokens([AddedToken(f"<|{n * 0.02:.2f}|>", special=False, normalized=False) for n in range(TIMESTAMPS)])
    return tokenizer


def special_tokens() -> list[str]:
    languages = [f"<|{code}|>" for code in list(LANGUAGES)[:99]]
    return ["<|endoftext|>", "<|startoftranscript|>", *languages, "<|translate|>", "<|transcribe|>", "<|startoflm|>",
            "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]


def _state(bpe: Tokenizer) -> dict:
    import json

    return json.loads(bpe.to_str())["model"]


def load(folder: Path) -> WhisperTokenizerFast:
    return WhisperTokenizerFast.from_pretrained(folder)
