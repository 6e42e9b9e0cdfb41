"""What stands against serving a version, besides its words."""

from __future__ import annotations

from typing import Any

import pytest

from training.evaluation import fitness
from training.evaluation.gate_rules import Rules

PASSED = {"passed": True}


def scores(
    *, quiet: int = 0, music: int = 0, speed: float = 0.1, audio_s: float = 600.0, **more: Any
) -> dict[str, Any]:
    clips = [{"clip": "silence", "kind": "quiet", "words": quiet}, {"clip": "music", "kind": "sound", "words": music}]
    return {
        "silence": {"clips": clips, "with_words": (quiet > 0) + (music > 0), "of": 2}, "self_check": None,
        "speed": {"cpu_per_audio_s": speed, "real_time_factor": speed, "audio_s": audio_s},
        "conditions": {"device": "cpu"}, **more,
    }  # fmt: skip


def codes(
    champion: dict[str, Any], candidate: dict[str, Any], parity: Any = PASSED, *, trained: bool = True
) -> list[str]:
    return [one.code for one in fitness.objections(champion, candidate, parity, rules=Rules(), trained=trained)]


def test_a_fit_version_has_nothing_against_it():
    assert codes(scores(), scores()) == []


def test_silence_stays_empty_even_where_the_champion_writes_in_it():
    assert codes(scores(quiet=5), scores(quiet=1)) == ["silence"]


def test_over_music_a_version_may_write_no_more_than_the_champion():
    assert codes(scores(music=5), scores(music=9)) == []
    assert codes(scores(), scores(music=1)) == ["silence"]


def test_speed_is_held_where_there_was_enough_to_listen_to():
    assert codes(scores(), scores(speed=0.14)) == []
    assert codes(scores(), scores(speed=0.16)) == ["speed"]
    assert codes(scores(), scores(speed=0.16, audio_s=20.0)) == []


@pytest.mark.parametrize(("parity", "trained", "expected"), [
    (None, True, ["parity"]), (None, False, []), ({"passed": False}, False, ["parity"]), (PASSED, True, []),
])  # fmt: skip
def test_parity_is_asked_of_what_was_trained_here(parity: Any, trained: bool, expected: list[str]):
    assert codes(scores(), scores(), parity, trained=trained) == expected


def test_a_version_that_fails_its_self_check_is_not_served():
    assert codes(scores(), scores(self_check="It hears words in silence.")) == ["self-check"]
