"""Hotwords and prompt -> the tokens that stand before the audio, cut to what the decoder can hold.

A Whisper decoder has 448 positions, of which at most 223 may be context (Radford et al. 2022); the rest is for the
text. faster-whisper cuts prompt and hotwords to that limit separately, so together they overflow. Here they share it:
first the hotwords, as whole words in the order given, then the end of the prompt. What does not fit is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_SHOWN = 3


@dataclass(frozen=True)
class PromptContext:
    """`tokens` fit into the limit. What did not fit: a list of hotwords, and a count of prompt words or characters."""

    tokens: tuple[int, ...] = ()
    limit: int = 0
    hotwords: int = 0  # how many there were
    left_out: tuple[str, ...] = ()
    prompt_words: int = 0
    prompt_left_out: int = 0

    @property
    def sentence(self) -> str | None:
        """What was left out, for the project's owner; None if everything fits."""
        parts = []
        if self.left_out:
            shown = ", ".join(self.left_out[:_SHOWN]) + (", …" if len(self.left_out) > _SHOWN else "")
            parts.append(f"{len(self.left_out)} of {self.hotwords} hotwords ({shown})")
        if self.prompt_left_out:
            parts.append(f"the first {self.prompt_left_out} of {self.prompt_words} words of the prompt")
        if not parts:
            return None
        return (
            f"Prompt and hotwords together are longer than the {self.limit} tokens the model can hold: "
            f"{' and '.join(parts)} are left out."
        )


def fit(
    encode: Callable[[str], list[int]], prompt: str | None, hotwords: Sequence[str], *, limit: int
) -> PromptContext:
    """The context for one language. `encode` is the model's tokenizer without its special tokens."""
    words = [word.strip() for word in hotwords if word.strip()]
    pieces = (prompt or "").split() or []
    spaced = len(pieces) > 1
    if not spaced:
        pieces = list((prompt or "").strip())  # written without spaces: cut between characters

    def encoded(count: int) -> list[int]:
        return encode(" " + ", ".join(words[:count])) if count else []

    kept = _most(len(words), lambda count: len(encoded(count)) <= limit)
    first = encoded(kept)

    def said(count: int) -> list[int]:
        return encode(" " + _end(prompt or "", pieces, count, spaced=spaced)) if count else []

    rest = _most(len(pieces), lambda count: len(first) + len(said(count)) <= limit)
    return PromptContext(
        tokens=(*first, *said(rest)),
        limit=limit,
        hotwords=len(words),
        left_out=tuple(words[kept:]),
        prompt_words=len(pieces),
        prompt_left_out=len(pieces) - rest,
    )


def _end(prompt: str, pieces: list[str], count: int, *, spaced: bool) -> str:
    """The last `count` pieces; the prompt unchanged if nothing is cut."""
    if count == len(pieces):
        return prompt.strip()
    return (" " if spaced else "").join(pieces[-count:])


def _most(count: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to `count` that fits; 0 always does."""
    if fits(count):
        return count
    low, high = 0, count  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
