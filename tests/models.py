"""Whisper folders with random weights, for tests and measurements: right in form and cost, meaningless in content.

They load in the real faster-whisper, write something else for every audio, and stop after a fixed number of tokens:
one channel of the decoder is kept free for the end token, pushed down by the position table before that number and up
after it. What a test needs is made to be there: each position has words of its own, far above all others, and the audio
only chooses among them. So every window gets text, no text repeats itself, and no seed, audio or processor changes
that. Nothing here says anything about accuracy.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from faster_whisper.tokenizer import _LANGUAGE_CODES

LANGUAGES = tuple(code for code in _LANGUAGE_CODES if code != "yue")


@dataclass(frozen=True)
class Shape:
    """The size of a model; `tokens` is how many it writes per window."""

    width: int = 64
    layers: int = 2
    heads: int = 2
    tokens: int = 8
    cycle: int = 96  # positions before the words come round again
    positions: int = 1500
    words: int = 1024  # the output layer is most of a small decoder's work, so speed needs the published number


SMALL = Shape()
TINY = Shape(width=384, layers=4, heads=6, tokens=80, words=50_000)  # the published sizes
BASE = Shape(width=512, layers=6, heads=8, tokens=80, words=50_000)


def cached(shape: Shape = SMALL, *, seed: int = 2, quantization: str = "int8") -> Path:
    """The same, made once and kept beside pytest's cache: making one costs ten seconds of imports."""
    recipe = f"{Path(__file__).read_text()}{shape}{seed}{quantization}"
    name = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    kept = Path(__file__).parents[1] / ".pytest_cache" / "models" / name
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            made = make(Path(folder), shape=shape, seed=seed, quantization=quantization)
            with contextlib.suppress(OSError):  # another test process was first
                made.rename(kept)
    return kept


def make(folder: Path, *, shape: Shape = SMALL, seed: int = 2, quantization: str = "int8") -> Path:
    """A CTranslate2 Whisper folder in `folder`, the same for the same seed."""
    import ctranslate2
    import torch
    import transformers

    tokens, tokenizer = _tokenizer(shape.words)
    torch.manual_seed(seed)
    config = transformers.WhisperConfig(
        vocab_size=len(tokens),
        d_model=shape.width,
        encoder_layers=shape.layers,
        decoder_layers=shape.layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.width * 4,
        decoder_ffn_dim=shape.width * 4,
        max_source_positions=shape.positions,
        bos_token_id=tokens["<|endoftext|>"],
        eos_token_id=tokens["<|endoftext|>"],
        pad_token_id=tokens["<|endoftext|>"],
        decoder_start_token_id=tokens["<|startoftranscript|>"],
        suppress_tokens=[],
        begin_suppress_tokens=[],
        init_std=1.2 / shape.width**0.5,
    )
    model = transformers.WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        _speak(model.model.decoder, tokens["<|endoftext|>"], prompt=4, shape=shape)
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=tokens["<|endoftext|>"],
        eos_token_id=tokens["<|endoftext|>"],
        pad_token_id=tokens["<|endoftext|>"],
        decoder_start_token_id=tokens["<|startoftranscript|>"],
        is_multilingual=True,
        lang_to_id={f"<|{code}|>": tokens[f"<|{code}|>"] for code in LANGUAGES},
        task_to_id={"transcribe": tokens["<|transcribe|>"], "translate": tokens["<|translate|>"]},
        no_timestamps_token_id=tokens["<|notimestamps|>"],
        alignment_heads=[[shape.layers - 1, head] for head in range(shape.heads)],
        max_length=448,
    )
    source = folder / "source"
    model.save_pretrained(source)
    tokenizer.save(str(source / "tokenizer.json"))
    fast = transformers.WhisperTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<|endoftext|>",
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    )
    fast.save_pretrained(source)
    transformers.WhisperFeatureExtractor().save_pretrained(source)
    target = folder / "ctranslate2"
    converter = ctranslate2.converters.TransformersConverter(str(source), copy_files=["preprocessor_config.json"])
    converter.convert(str(target), quantization=quantization)
    tokenizer.save(str(target / "tokenizer.json"))
    return target


def _tokenizer(count: int):  # type: ignore[no-untyped-def]
    """Byte-level tokens, made-up words, the empty token CTranslate2 looks for, then Whisper's own in their order."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    syllables = [f"{a}{b}{c}" for a in "bdgklmnprstvzhjc" for b in "aeio" for c in "nrslmtkdbgpvzhfj"]
    words = [f"Ġ{syllable}" for syllable in syllables]
    words += [f"Ġ{one}{other}" for one in syllables for other in syllables[: 1 + count // len(syllables)]]
    text = [*letters, *words[:count], ""]
    marks = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES)]
    marks += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    times = [f"<|{step * 0.02:.2f}|>" for step in range(1501)]
    vocabulary = {token: index for index, token in enumerate([*text, *marks, *times])}
    tokenizer = Tokenizer(models.BPE(vocab={t: vocabulary[t] for t in [*text, *marks, *times]}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    tokenizer.add_tokens([AddedToken(time, special=False) for time in times])
    return vocabulary, tokenizer


def _speak(decoder, end: int, *, prompt: int, shape: Shape) -> None:  # type: ignore[no-untyped-def]
    """Make the random decoder listen (sharp, strong cross-attention), be sure of itself, and stop on time."""
    import torch

    words = shape.words + 257
    free = 0  # the channel that carries nothing but "stop now"
    # small token vectors (input and output share them, and large ones repeat themselves), then a loud last norm
    decoder.embed_tokens.weight.copy_(torch.randn_like(decoder.embed_tokens.weight) * 0.05)
    decoder.layer_norm.weight *= 25
    decoder.layer_norm.weight[free] = 1
    decoder.embed_tokens.weight[:256] *= 0.1  # bytes and marks lose against words
    decoder.embed_tokens.weight[words:] *= 0.1
    decoder.embed_positions.weight.copy_(torch.randn_like(decoder.embed_positions.weight) * 0.5)
    directions = torch.nn.functional.normalize(torch.randn(shape.cycle, decoder.embed_tokens.weight.shape[1]))
    for group in range(shape.cycle):
        decoder.embed_positions.weight[group :: shape.cycle] += 20 * directions[group]
        decoder.embed_tokens.weight[257 + group : words : shape.cycle] += 1.0 * directions[group]
    for layer in decoder.layers:
        layer.encoder_attn.q_proj.weight *= 3
        layer.encoder_attn.k_proj.weight *= 3
        layer.encoder_attn.out_proj.weight *= 3
        for part in (layer.self_attn.out_proj, layer.encoder_attn.out_proj, layer.fc2):
            part.weight[free] = 0
            part.bias[free] = 0
    decoder.embed_tokens.weight[:, free] = 0
    decoder.embed_tokens.weight[end, free] = 600
    last = prompt + shape.tokens - 1
    decoder.embed_positions.weight[:last, free] = -4
    decoder.embed_positions.weight[last:, free] = 4
