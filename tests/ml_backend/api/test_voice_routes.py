"""/api/voices and /api/ratings: clips, what is missing, and what people think, as rows and a job left them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ml_backend import tables
from ml_backend.context import JobContext
from tests.ml_backend.api.serving import BEARER, Serving
from tests.training.voices.test_rating_rows import Raters
from training.voices import rating_rows


@dataclass
class _Voices:
    """What `Raters` needs of the voices' fixture."""

    context: Any


def clip(serving: Serving, number: int, **values: Any) -> int:
    row = {
        "bucket": "training-data", "key": f"tts/hi/{number}.wav", "text": f"वाक्य {number}", "language": "hi",
        "voice": "asha", "emotion": "neutral", "state": "accepted", "duration_s": 40.0, **values,
    }  # fmt: skip
    return serving.insert(tables.voice_clips, row)


def test_clips_come_newest_first_page_by_page_and_are_filtered(serving: Serving) -> None:
    for number in range(3):
        clip(serving, number)
    left_out = clip(serving, 9, state="excluded", reason_code="no-text", reason="There is no text.", text=None)
    first = serving.get("/api/voices?limit=2", BEARER).get_json()
    assert [one["id"] for one in first["clips"]] == [left_out, left_out - 1]
    rest = serving.get(f"/api/voices?limit=2&before={first['next']}", BEARER).get_json()
    assert len(rest["clips"]) == 2
    found = serving.get("/api/voices?state=excluded&reason=no-text", BEARER).get_json()["clips"]
    assert [one["reason"] for one in found] == ["There is no text."]
    assert serving.get(f"/api/voices/{left_out}", BEARER).get_json()["text"] is None


def test_the_coverage_names_what_is_missing_and_what_is_little(serving: Serving) -> None:
    for number in range(2):
        clip(serving, number)
    clip(serving, 5, emotion="happy", language="mr")
    found = serving.get("/api/voices/coverage", BEARER).get_json()
    assert {(one["language"], one["emotion"]) for one in found["missing"]} == {("hi", "happy"), ("mr", "neutral")}
    assert [(one["language"], one["seconds"]) for one in found["few"]] == [("mr", 40.0)]


def test_ratings_are_those_of_the_job_for_each_version_voice_and_language(serving: Serving) -> None:
    assert serving.get("/api/ratings/summary", BEARER).get_json() == {"summary": None, "made_at": None}
    raters = Raters(_Voices(serving.context))  # type: ignore[arg-type]
    for sentence in range(4):
        for version in ("divya-1", "divya-2"):
            task = raters.clip(sentence, version=version)
            for person in range(1, 7):
                raters.answer(task, person)
    made = JobContext(serving.context.settings, serving.context.db, serving.context.store)
    rating_rows.summarise_ratings(made)
    rating_rows.summarise_ratings(made)
    found = serving.get("/api/ratings/summary", BEARER).get_json()
    assert found["made_at"]
    assert {one["version"] for one in found["summary"]["versions"]} == {"divya-1", "divya-2"}
    mine = serving.get("/api/ratings/summary?version=divya-2&voice=divya&language=hi", BEARER).get_json()["summary"]
    assert [(one["version"], one["voice"], one["language"]) for one in mine["groups"]] == [("divya-2", "divya", "hi")]
    assert mine["groups"][0]["axes"]["naturalness"]["mean"] == 4.0
    assert serving.get("/api/ratings/summary?voice=nobody", BEARER).get_json()["summary"]["groups"] == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/voices?state=odd", 400), ("/api/voices?limit=0", 400), ("/api/voices/0", 400), ("/api/voices/7", 404),
        ("/api/voices/coverage?x=1", 400), ("/api/ratings/summary?rater=1", 400),
    ],
)  # fmt: skip
def test_what_is_not_there_or_not_known_is_said(serving: Serving, path: str, status: int) -> None:
    answer = serving.get(path, BEARER)
    assert answer.status_code == status
    assert answer.get_json()["next_step"]


def test_without_a_token_nothing_is_told(serving: Serving) -> None:
    for path in ("/api/voices", "/api/voices/coverage", "/api/ratings/summary"):
        assert serving.get(path).status_code == 401
