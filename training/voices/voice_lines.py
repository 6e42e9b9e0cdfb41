"""Accepted clips -> the lines of a dataset of kind tts. Pure.

The split goes by sentence: the same sentence, in whatever voice, emotion or version, is on one side, so that a test
sentence was never trained on. It is a hash, so a sentence keeps its side in every later dataset. Every voice that has
clips in training is tested on its own held-out sentences; a voice none of whose sentences falls into the test is
reported by `untested`, never moved. A language of which there is too little to hold anything out stays in training.

Degraded copies and clips that nobody may learn from never become lines.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from training.datasets.splits import TEST, TRAIN, VALIDATION
from training.voices import clip_checks

SALT = "kaan-voices@1"
TEST_SHARE, VALIDATION_SHARE = 0.15, 0.1
LEARNT_ROLES = (None, "reference")


def lines(clips: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Rows of `voice_clips` -> dataset lines, in the rows' order. Rows that are not accepted are left out."""
    for clip in clips:
        if clip.state != "accepted" or clip.role not in LEARNT_ROLES or not clip.text:
            continue
        yield {
            "id": (clip.digest or "")[:32],
            "digest": clip.digest,
            "audio_sha256": clip.sha256,
            "bucket": clip.bucket,
            "key": clip.key,
            "text": clip.text,
            "language": clip.language,
            "voice": clip.voice,
            "emotion": clip.emotion,
            "engine": clip.engine,
            "duration_s": clip.duration_s,
            "rate_hz": clip.rate_hz,
            "split": side(clip.text, clip.language),
            "source": clip.engine or "unknown",
            "family": family(clip.text, clip.language),
        }


def family(text: str, language: str | None) -> str:
    """The name of a sentence: equal for its copies in any voice, case and punctuation."""
    return clip_checks.text_key(text, language)[:16]


def side(text: str, language: str | None) -> str:
    """The split of a sentence."""
    place = int(hashlib.sha256(f"{SALT}|{family(text, language)}".encode()).hexdigest()[:13], 16) / 16**13
    if place < TEST_SHARE:
        return TEST
    return VALIDATION if place < TEST_SHARE + VALIDATION_SHARE else TRAIN


def untested(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """Voices with clips in training and none in the test, so that no figure speaks of them."""
    by_split: dict[str, Counter[str]] = {split: Counter() for split in (TRAIN, VALIDATION, TEST)}
    for line in found:
        by_split[line["split"]][str(line["voice"] or "unknown")] += 1
    return sorted(voice for voice in by_split[TRAIN] if not by_split[TEST][voice])
