"""The gate's verdict is read back slice by slice, and the page's actions are jobs that keep who and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import JobContext
from ml_backend.reports.learning import model_verdicts
from ml_backend.reports.learning.model_verdicts import VerdictQuery, VersionPairQuery
from tests.training import candidates
from tests.training.candidates import Ear
from tests.training.promotion.test_promotion import PASSED, Gate, gate_of
from training.promotion import promotion


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A champion, a candidate that was promoted, and one that was refused."""
    gate = gate_of(Path(tmp_path_factory.mktemp("judged")))
    gate.try_("worse", Ear(0.25))
    gate.try_("good", Ear(0.12), parity=PASSED)
    yield gate
    gate.context.db.dispose()


def named(gate: Gate, name: str) -> str:
    row = tables.model_versions.c
    found = gate.context.db.rows(sa.select(row.version).where(row.version.startswith(f"{name}-")))
    return str(found[0].version)


def job(gate: Gate, said: list[str]) -> JobContext:
    return JobContext(
        gate.context.settings, gate.context.db, gate.context.store, report=lambda fraction, note: said.append(note)
    )


def test_a_verdict_has_every_slice_before_and_now_with_its_interval_and_thin_ones_are_marked(judged: Gate) -> None:
    found = model_verdicts.of(judged.context, VerdictQuery(version=named(judged, "good")))
    [verdict] = found["verdicts"]
    assert (verdict["outcome"], verdict["passed"], verdict["against"]) == ("better", True, judged.champion.version)
    slices = {one["title"]: one for one in verdict["slices"]}
    whole = slices["all"]
    assert whole["before"] > whole["now"]
    assert whole["low"] < whole["now"] < whole["high"]
    assert whole["difference_high"] < 0
    assert whole["count"] == 90 * 20
    assert {"language: Hindi", "language: Marathi"} <= set(slices)
    rules = verdict["rules"]
    for one in verdict["slices"][1:]:
        counted = one["calls"] >= rules["slice_calls"] and one["count"] >= rules["slice_words"]
        assert one["enough"] == counted, "a thin slice is shown, without a vote"
    assert verdict["words"][0].startswith("Of 100 words")
    assert any("all: " in line for line in model_verdicts.lines(found))


def test_any_two_versions_stand_beside_each_other_with_the_newest_verdict_on_the_pair(judged: Gate) -> None:
    worse, first = named(judged, "worse"), judged.champion.version
    found = model_verdicts.compare(judged.context, VersionPairQuery(a=first, b=worse))
    assert found["comparable"]
    assert found["verdict"]["of"] == worse
    assert found["verdict"]["outcome"] == "worse"
    whole = next(one for one in found["slices"] if one["kind"] == "all")
    assert whole["before"] < whole["now"]
    assert any("Verdict on worse" in line for line in model_verdicts.comparison_lines(found))
    never = model_verdicts.compare(judged.context, VersionPairQuery(a=worse, b=named(judged, "good")))
    assert (never["comparable"], never["verdict"]) == (True, None)


def test_versions_without_scores_say_what_to_do(judged: Gate) -> None:
    candidates.version(judged.context, judged.folder, "unscored")
    found = model_verdicts.compare(judged.context, VersionPairQuery(a="champion", b=named(judged, "unscored")))
    assert not found["comparable"]
    assert "no scores yet of unscored" in found["why_not"]
    assert model_verdicts.of(judged.context, VerdictQuery(version=named(judged, "unscored")))["verdicts"] == []


def test_what_the_page_asks_for_is_done_by_jobs_that_keep_who_and_why(tmp_path: Path) -> None:
    gate, said = gate_of(tmp_path), []
    worse = gate.candidate("worse", Ear(0.25))
    good = gate.candidate("good", Ear(0.12), parity=PASSED)
    context = job(gate, said)
    promotion.promote_version(context, worse.version, "asha", "it looks good")
    assert said[-1].startswith("Refused: Of 100 words"), "the gate's refusal is in the job for all to read"
    promotion.compare_versions(context, gate.champion.version, good.version)
    assert gate.serves == gate.champion.version, "a comparison promotes nothing"
    promotion.promote_version(context, good.version, "asha", "fewer wrong words in Hindi")
    promotion.roll_back(context, "asr", "*", "", good.version, "ravi", "Marathi came out in English")
    promotion.roll_back(context, "asr", "*", "", good.version, "ravi", "Marathi came out in English")
    assert said[-1] == f"Refused: {good.version} no longer serves *."
    first, second = candidates.history(gate.context)[-2:]
    assert (first.who, first.why, first.to_version) == ("asha", "fewer wrong words in Hindi", good.version)
    assert (second.who, second.why) == ("ravi", "Rolled back: Marathi came out in English")
    assert gate.serves == gate.champion.version
    gate.context.db.dispose()
