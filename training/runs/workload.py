"""The cost of a row: its padded length, and its approximate number of labels. Pure, and without a training library.

Batches and estimates use the same lengths, so that an estimate fits the run.
"""

from __future__ import annotations

import math

from ml_backend.models.manifest import WindowPolicy

AROUND_S = 0.75  # silence before and behind a row, at most
MOST_LABELS = 448  # positions of the decoder, in every published Whisper
STAMPS, FRAME = 2, 5  # tokens: a phrase's two timestamps; the prompt and the end
_LATIN_TOKENS, _OTHER_TOKENS = 0.32, 1.1  # per character, of a published Whisper's vocabulary (Devanagari measured)


def padded_s(seconds: float, window: WindowPolicy, *, tempo: float = 0.0) -> float:
    """The longest that a row can become in a batch: slowed down, with silence around it, and padded."""
    if window.pad_to_s is not None:
        return window.pad_to_s
    return min(window.max_s, seconds * (1 + tempo) + AROUND_S) + window.max_padding_s + window.margin_s


def labels_of(text: str) -> int:
    """The approximate number of a published Whisper's tokens; an exact count needs its tokenizer."""
    latin = sum(character.isascii() for character in text)
    return math.ceil(latin * _LATIN_TOKENS + (len(text) - latin) * _OTHER_TOKENS)
