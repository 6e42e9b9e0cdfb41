"""A long text and the word times of a draft -> pieces of at most 30 seconds, cut at pauses. Pure.

The text and the draft's words are aligned. A pause is a place to cut only if the words on both sides are adjacent in
the text too (anchors): then the piece has exactly the words between. A piece without anchors at both ends is left out
with the reason `no-anchor`. So is a piece at the edge of the audio whose first or last word differs from the draft's,
because the draft may have missed words there.

Words of two channels alternate: a piece ends where the other channel begins to speak.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.samples.sample_pieces import MAX_S, DraftWord, SamplePiece
from training.scoring.alignment import blocks
from training.text import readings

PAUSE_S = 0.2
MARGIN_S = 0.25  # of silence kept before the first and after the last word


@dataclass(frozen=True)
class _Alignment:
    """`at[i]`: the place in the text of draft word i, None where it was changed."""

    hypothesis: tuple[DraftWord, ...]
    at: tuple[int | None, ...]
    length: int

    def clean(self, boundary: int) -> bool:
        """Whether the words on both sides of a boundary (before draft word `boundary`) are adjacent in the text."""
        if boundary == 0:
            return self.at[0] == 0
        before = self.at[boundary - 1]
        if boundary == len(self.hypothesis):
            return before == self.length - 1
        return before is not None and self.at[boundary] == before + 1


def cut(
    text: str, hypothesis: Sequence[DraftWord], *, start_s: float, end_s: float, language: str | None
) -> list[SamplePiece]:
    """Pieces between `start_s` and `end_s`. Without draft words it is one piece without anchors."""
    written = _words(text.split())
    spoken = [
        (word, key) for word in sorted(hypothesis, key=lambda w: (w.start_s, w.channel)) if (key := _key(word.text))
    ]
    if not written or not spoken:
        return [SamplePiece(start_s, end_s, 0, text, "no-anchor")] if written else []
    words = tuple(word for word, _ in spoken)
    aligned = _align(words, [key for _, key in spoken], [key for _, key in written], language)
    found, used = [], 0
    for first, last in _stretches(aligned):
        anchored = aligned.clean(first) and aligned.clean(last)
        upto = _text_end(aligned, last)
        said = " ".join(raw for raw, _ in written[used:upto])
        used = max(used, upto)
        begin, end = _sound(words, first, last, start_s, end_s)
        piece = SamplePiece(round(begin, 3), round(end, 3), words[first].channel, said, "" if anchored else "no-anchor")
        found.append(piece.but("too-long") if piece.length_s > MAX_S else piece)
    return found


def _stretches(aligned: _Alignment) -> Iterator[tuple[int, int]]:
    """Draft words [first, last) of each piece: as long as allowed between clean pauses; unclean pieces are short."""
    words, first = aligned.hypothesis, 0
    while first < len(words):
        forced = next((i for i in range(first + 1, len(words)) if words[i].channel != words[i - 1].channel), len(words))
        pauses = [i for i in range(first + 1, forced) if words[i].start_s - words[i - 1].end_s >= PAUSE_S]
        ends = [*pauses, forced]
        clean = [end for end in ends if aligned.clean(end)]
        if aligned.clean(first):
            fitting = [end for end in clean if words[end - 1].end_s - words[first].start_s <= MAX_S - 2 * MARGIN_S]
            last = fitting[-1] if fitting else ends[0]
        else:
            last = clean[0] if clean else forced
        yield first, last
        first = last


def _text_end(aligned: _Alignment, last: int) -> int:
    """The place in the text after the words of a piece that ends before draft word `last`."""
    if last == len(aligned.hypothesis):
        return aligned.length
    following = next((place for place in aligned.at[last:] if place is not None), aligned.length)
    before = next((place for place in reversed(aligned.at[:last]) if place is not None), -1)
    return before + 1 if aligned.clean(last) else following


def _sound(words: Sequence[DraftWord], first: int, last: int, start_s: float, end_s: float) -> tuple[float, float]:
    """Where a piece's audio begins and ends: in the middle of the pauses around it, on its own channel."""
    channel, begins, ends = words[first].channel, words[first].start_s, words[last - 1].end_s
    before = max((w.end_s for w in words[:first] if w.channel == channel), default=None)
    after = min((w.start_s for w in words[last:] if w.channel == channel), default=None)
    begin = max(start_s, begins - MARGIN_S, min(begins, (before + begins) / 2) if before is not None else start_s)
    end = min(end_s, ends + MARGIN_S, max(ends, (ends + after) / 2) if after is not None else end_s)
    return begin, max(end, begin)


def _align(
    hypothesis: tuple[DraftWord, ...], spoken: list[str], written: list[str], language: str | None
) -> _Alignment:
    """Align words; a word in the other script counts as equal."""
    reference, said = readings.pair(
        " ".join(written), " ".join(spoken), normaliser=readings.SCRIPT_NEUTRAL, language=language
    )
    at: list[int | None] = [None] * len(hypothesis)
    for block in blocks(said.split(), reference.split()):
        if block.same:
            for offset in range(block.hypothesis[1] - block.hypothesis[0]):
                at[block.hypothesis[0] + offset] = block.reference[0] + offset
    return _Alignment(hypothesis, tuple(at), len(written))


def _words(raw: Sequence[str]) -> list[tuple[str, str]]:
    """(as written, as compared) of each word; a separate sign belongs to the word before it."""
    found: list[tuple[str, str]] = []
    lead = ""
    for word in raw:
        key = _key(word)
        if key:
            found.append((f"{lead} {word}".strip(), key))
            lead = ""
        elif found:
            found[-1] = (f"{found[-1][0]} {word}", found[-1][1])
        else:
            lead = f"{lead} {word}".strip()
    return found


def _key(word: str) -> str:
    return readings.indic(word).replace(" ", "")
