"""Accepted clips -> dataset lines whose test sentences nobody trained on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from training.voices import voice_lines


def clip(number: int, **changes: Any) -> Any:
    values = {
        "state": "accepted", "role": None, "digest": f"{number:064x}", "sha256": "a" * 64, "bucket": "training-data",
        "key": f"tts/hi/{number}.wav", "text": f"वाक्य {number}", "language": "hi", "voice": "asha", "emotion": "calm",
        "engine": "parler", "duration_s": 2.0, "rate_hz": 22_050,
    }  # fmt: skip
    return SimpleNamespace(**{**values, **changes})


def test_one_sentence_is_on_one_side_whoever_says_it_and_however_it_is_written() -> None:
    clips = [clip(n, voice=voice, text=text) for n in range(200) for voice, text in (
        ("asha", f"Order {n} is ready."), ("ravi", f"order {n} is ready"))]  # fmt: skip
    sides: dict[str, set[str]] = {}
    for line in voice_lines.lines(clips):
        sides.setdefault(line["family"], set()).add(line["split"])
    assert len(sides) == 200
    assert {len(each) for each in sides.values()} == {1}
    shares = [sum(each == {split} for each in sides.values()) / 200 for split in ("test", "validation", "train")]
    assert 0.08 < shares[0] < 0.22
    assert 0.04 < shares[1] < 0.17


def test_a_sentence_keeps_its_side_in_every_later_dataset() -> None:
    before = {line["family"]: line["split"] for line in voice_lines.lines(clip(n) for n in range(50))}
    after = {line["family"]: line["split"] for line in voice_lines.lines(clip(n) for n in range(100))}
    assert before.items() <= after.items()


def test_only_accepted_clips_of_voices_and_people_become_lines() -> None:
    clips = [
        clip(1),
        clip(2, state="excluded"),
        clip(3, role="degraded"),
        clip(4, role="reference"),
        clip(5, text=None),
    ]
    assert [line["key"] for line in voice_lines.lines(clips)] == ["tts/hi/1.wav", "tts/hi/4.wav"]


def test_a_line_has_what_the_trainer_and_the_lineage_need() -> None:
    [line] = voice_lines.lines([clip(1)])
    assert set(line) == {
        "id", "digest", "audio_sha256", "bucket", "key", "text", "language", "voice", "emotion", "engine",
        "duration_s", "rate_hz", "split", "source", "family",
    }  # fmt: skip


def test_a_voice_without_a_test_sentence_is_reported() -> None:
    lines = list(voice_lines.lines(clip(n) for n in range(100)))
    rare = next(line for line in lines if line["split"] == "train")
    assert voice_lines.untested([*lines, {**rare, "voice": "rare"}]) == ["rare"]
