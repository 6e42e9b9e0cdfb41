"""One annotation -> its pieces of audio with text. Pure; times are from the start of the task's audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from training.samples.sample_pieces import MAX_S, MIN_S, Audio, SamplePiece
from training.samples.text_cutting import cut
from training.text.writing import strict

NEARLY_ALL = 0.8
SHARED_S = 0.5  # permitted overlap of neighbours: people do not draw to a tenth of a second


def pieces_of(
    text: str, segments: Sequence[Mapping[str, Any]], audio: Audio, language: str | None
) -> list[SamplePiece]:
    """Each region is a piece; a text over the whole audio is cut where the draft's word times allow.

    A region without a word is excluded. One over 30 seconds is cut too. Texts are in Unicode's composed form with
    single spaces, so that one word is one sequence of characters.
    """
    regions = [_region(segment, audio) for segment in segments if isinstance(segment, Mapping)]
    if any(region.text for region in regions):
        placed = _apart(_on_channels(regions, audio))
        return [piece for region in placed for piece in _checked(region, audio, language)]
    if not strict(text):
        return [SamplePiece(0.0, audio.length_s, 0, "", "no-text")]
    whole = SamplePiece(0.0, audio.length_s, 0, strict(text))
    if audio.channels == 1 and audio.length_s <= MAX_S:
        return [whole.but("too-short") if whole.length_s < MIN_S else whole]
    return cut(whole.text, audio.words, start_s=0.0, end_s=audio.length_s, language=language)


def _region(segment: Mapping[str, Any], audio: Audio) -> SamplePiece:
    start_s, end_s = float(segment.get("start_s") or 0.0), float(segment.get("end_s") or 0.0)
    channel = int(segment.get("channel") or 0)
    end_s = min(end_s, audio.length_s) if audio.length_s else end_s
    text = strict(str(segment.get("text") or ""))
    return SamplePiece(max(0.0, start_s), max(0.0, end_s), channel if 0 <= channel < audio.channels else 0, text)


def _on_channels(regions: Sequence[SamplePiece], audio: Audio) -> Sequence[SamplePiece]:
    """Regions on their true channel. A labelling interface that shows both channels as one puts all on the first.

    So if all regions are there, each goes to the channel with nearly all of the draft's words in it.
    """
    if audio.channels == 1 or any(region.channel for region in regions):
        return regions
    return [replace(region, channel=_leg(region, audio)) for region in regions]


def _leg(region: SamplePiece, audio: Audio) -> int:
    spoken: dict[int, float] = {}
    for word in audio.words:
        shared_s = min(word.end_s, region.end_s) - max(word.start_s, region.start_s)
        if shared_s > 0:
            spoken[word.channel] = spoken.get(word.channel, 0.0) + shared_s
    main_channel = max(spoken, key=lambda channel: (spoken[channel], -channel), default=region.channel)
    return main_channel if spoken and spoken[main_channel] >= NEARLY_ALL * sum(spoken.values()) else region.channel


def _apart(regions: Sequence[SamplePiece]) -> list[SamplePiece]:
    """Exclude overlapping regions with words on one channel: the audio of each contains both."""
    found = list(regions)
    for at, one in enumerate(regions):
        for other in range(at + 1, len(regions)):
            two = regions[other]
            shared_s = min(one.end_s, two.end_s) - max(one.start_s, two.start_s)
            if one.text and two.text and one.channel == two.channel and shared_s > SHARED_S:
                found[at], found[other] = found[at].but("overlap"), found[other].but("overlap")
    return found


def _checked(region: SamplePiece, audio: Audio, language: str | None) -> list[SamplePiece]:
    if not region.text:
        return [region.but("no-text")]
    if region.reason:
        return [region]
    if region.length_s < MIN_S:
        return [region.but("too-short")]
    if region.length_s <= MAX_S:
        return [region]
    inside = [
        replace(word, channel=region.channel)
        for word in audio.words
        if (word.channel == region.channel or audio.channels == 1)
        and region.start_s <= (word.start_s + word.end_s) / 2 < region.end_s
    ]
    if not inside:
        return [region.but("too-long")]
    return cut(region.text, inside, start_s=region.start_s, end_s=region.end_s, language=language)
