"""Every error of an evaluation can be looked at, and what is looked at adds up to the scores exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput
from ml_backend.models import kinds
from ml_backend.settings import Settings
from ml_backend.views import error_views
from ml_backend.views.error_views import ErrorsQuery, EvaluationQuery, UtterancesQuery
from tests.servers import postgres
from tests.training import candidates, spoken
from tests.training.spoken import Line
from training.evaluation import explorer_rows
from training.evaluation.evaluation import Evaluation
from training.scoring.scores import MAIN
from training.text.readings import CURRENT

TEXTS = (
    ("hi", "मेरा ऑर्डर कब आएगा", "मेरा order कब आएगा जी"),
    ("hi", "मुझे ढाई हज़ार रुपये वापस चाहिए", "मुझे 2500 रुपए वापस"),
    ("hi", "नमस्ते", "namaste"),
    ("mr", "माझी ऑर्डर कुठे आहे", "माझी ऑर्डर कुठे आहेत"),
    ("en", "Where is my order?", "where is my odor"),
    ("en", "Where is my refund", "where is my refund"),
    ("en", "I want to cancel my order", ""),
    ("en", "", "thank you for watching"),
    ("en", "my order is late", "my odor is late"),
    ("en", "=cmd|' /C calc'!A0 <script>alert(1)</script> \u202eabc", "cmd script alert 1 script abc"),
)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    opened = spoken.opened(tmp_path / "data")
    yield opened
    opened.db.dispose()


@pytest.fixture
def calls(context: Context, tmp_path: Path) -> int:
    lines = [
        Line(f"row-{n:02}", spoken.tone(n, seconds=0.5 + n), text, language, f"caller-{n}", "test")
        for n, (language, text, _) in enumerate(TEXTS)
    ]
    return spoken.dataset_of(context, "calls", lines, tmp_path / "scratch")


def scored(
    context: Context, folder: Path, name: str, dataset_id: int, written: dict[str, str] | None = None
) -> Evaluation:
    """A version that wrote these texts, as an evaluation leaves it; by default those of TEXTS."""
    by = candidates.version(context, folder, name)
    answers = {f"row-{n:02}": text for n, (_, _, text) in enumerate(TEXTS)} | (written or {})
    return candidates.wrote(context, by, dataset_id, answers)


def rows_of(context: Context, evaluation_id: int) -> list[Any]:
    each = tables.evaluation_utterances
    return list(context.db.rows(sa.select(each).where(each.c.evaluation_id == evaluation_id).order_by(each.c.number)))


def page(context: Context, evaluation_id: int, **filters: Any) -> dict[str, Any]:
    return error_views.utterances(context, evaluation_id, UtterancesQuery(**filters))


def lines_on(found: dict[str, Any]) -> list[str]:
    return [row["line"] for row in found["utterances"]]


def test_the_rows_of_an_evaluation_add_up_to_its_scores_under_every_reading(context, calls, tmp_path):
    found = scored(context, tmp_path, "one", calls)
    rows = rows_of(context, found.id)
    assert len(rows) == len(TEXTS) == found.scores["utterances"]
    for reading in CURRENT:
        rates = found.scores["rates"][reading]
        sums = [sum(row.counts[reading][place] for row in rows) for place in range(4)]
        assert sums == [rates[name] for name in ("words", "word_edits", "chars", "char_edits")]
        for row in rows:
            one = error_views.utterance(context, found.id, row.number)["readings"][reading]
            drawn = Counter(step[0] for step in one["steps"])
            assert [drawn["S"], drawn["D"], drawn["I"]] == row.edits[reading]
            assert sum(row.edits[reading]) == row.counts[reading][1]
        selected = page(context, found.id, reading=reading)["selected"]
        assert [selected[name] for name in ("words", "word_edits", "chars", "char_edits")] == sums
        assert (selected["wer"], selected["cer"]) == (rates["wer"][0], rates["cer"][0])
        errors = error_views.errors(context, found.id, ErrorsQuery(reading=reading))
        assert sum(errors["sums"].values()) == sums[1]
    errors = error_views.errors(context, found.id, ErrorsQuery())
    assert list(errors["sums"].values()) == list(found.scores["edits"].values())
    for kind, some in found.scores["slices"].items():
        for name, one in some.items():
            selected = page(context, found.id, slice=(f"{kind}={name}",))["selected"]
            assert (selected["utterances"], selected["words"]) == (one["utterances"], one["words"])
            assert selected["wer"] == (one["wer"][0] if one["wer"] else None)


def test_what_a_version_learnt_from_is_shown_and_not_counted(context, calls, tmp_path):
    by = candidates.version(context, tmp_path, "one")
    answers = {f"row-{n:02}": text for n, (_, _, text) in enumerate(TEXTS)}
    found = candidates.wrote(context, by, calls, answers, learnt={"row-04", "row-06"})
    assert found.scores["utterances"] == len(TEXTS) - 2
    shown = page(context, found.id)
    assert {row["line"] for row in shown["utterances"] if not row["counted"]} == {"row-04", "row-06"}
    assert (shown["selected"]["utterances"], shown["selected"]["counted"]) == (len(TEXTS), len(TEXTS) - 2)
    assert shown["selected"]["word_edits"] == found.scores["rates"][MAIN]["word_edits"]
    errors = error_views.errors(context, found.id, ErrorsQuery())
    assert list(errors["sums"].values()) == list(found.scores["edits"].values())


def test_utterances_are_found_by_word_confusion_missed_and_invented_word_slice_and_language(context, calls, tmp_path):
    found = scored(context, tmp_path, "one", calls)
    assert set(lines_on(page(context, found.id, word="ORDER?"))) == {"row-00", "row-04", "row-06", "row-08"}
    assert set(lines_on(page(context, found.id, word="order my"))) == {"row-04", "row-06", "row-08"}
    assert set(lines_on(page(context, found.id, said="order", written="odor"))) == {"row-04", "row-08"}
    assert lines_on(page(context, found.id, said="order")) == ["row-06"]
    assert lines_on(page(context, found.id, written="जी")) == ["row-00"]
    assert lines_on(page(context, found.id, language="mr")) == ["row-03"]
    both = page(context, found.id, slice=("language=en", "duration=3-10 s"), said="order", written="odor")
    assert set(lines_on(both)) == {"row-04", "row-08"}
    assert lines_on(page(context, found.id, word="nobody said this")) == []
    assert page(context, found.id, word="nobodysaidthis")["selected"]["wer"] is None
    first = error_views.errors(context, found.id, ErrorsQuery(word="order"))["errors"][0]
    assert (first["kind"], first["said"], first["written"], first["times"]) == ("substitution", "order", "odor", 2)
    free = error_views.errors(context, found.id, ErrorsQuery(reading="script-neutral", word="namaste"))
    assert not free["errors"], "a word in the other script is no error under this reading"


@pytest.mark.parametrize("sort", ["worst", "errors", "characters", "longest", "number"])
def test_pages_hold_every_utterance_once_in_the_order_that_was_asked_for(context, calls, tmp_path, sort):
    found = scored(context, tmp_path, "one", calls)
    seen, before = [], None
    while True:
        shown = page(context, found.id, sort=sort, limit=3, **({"before": before} if before else {}))
        seen += shown["utterances"]
        before = shown["next"]
        if before is None:
            break
    assert sorted(row["line"] for row in seen) == [f"row-{n:02}" for n in range(len(TEXTS))]
    value = {"worst": "wer", "errors": "word_edits", "characters": "cer", "longest": "duration_s", "number": "number"}
    values = [row[value[sort]] for row in seen if row[value[sort]] is not None]
    assert values == sorted(values, reverse=sort != "number")
    whole = page(context, found.id, sort=sort)["utterances"]
    assert [row["number"] for row in whole] == [row["number"] for row in seen]


def test_two_versions_stand_side_by_side_on_the_same_utterances(context, calls, tmp_path):
    before = scored(context, tmp_path, "one", calls)
    now = scored(context, tmp_path, "two", calls, {"row-04": "where is my order", "row-05": "there is a refund"})
    shown = page(context, now.id, against=before.id)
    assert shown["against"] == {
        "evaluation": before.id, "version": before.version, "utterances": 10, "better": 1, "worse": 1, "equal": 8,
        "word_edits": 1,
    }  # fmt: skip
    assert lines_on(shown)[:2] == ["row-05", "row-04"], "what changed most comes first"
    first = shown["utterances"][0]
    assert (first["outcome"], first["word_edits"], first["against"]["word_edits"]) == ("worse", 2, 0)
    assert first["against"]["line"] == first["line"]
    assert lines_on(page(context, now.id, against=before.id, outcome="better")) == ["row-04"]
    assert lines_on(page(context, before.id, against=now.id, outcome="worse")) == ["row-04"]
    with pytest.raises(InvalidInput, match="no-against"):
        page(context, now.id, outcome="better")
    comparable = error_views.one(context, now.id)["comparable"]
    assert [each["evaluation"] for each in comparable] == [before.id]


def test_versions_are_compared_on_the_utterances_that_both_have_and_count(context, calls, tmp_path):
    before = scored(context, tmp_path, "one", calls)
    by = candidates.version(context, tmp_path, "two")
    answers = {f"row-{n:02}": text for n, (_, _, text) in enumerate(TEXTS)} | {"row-04": "where is my order"}
    learnt = {"row-05"}
    fewer = candidates.wrote(context, by, calls, answers, learnt=learnt, without={"row-00", "row-01"})
    shown = page(context, before.id, against=fewer.id)
    assert not {"row-00", "row-01"} & set(lines_on(shown))
    assert (shown["selected"]["utterances"], shown["against"]["utterances"]) == (8, 7)
    assert (shown["against"]["better"], shown["against"]["worse"]) == (0, 1)
    assert lines_on(shown)[0] == "row-04"
    assert shown["utterances"][0]["against"]["line"] == "row-04"


def test_an_evaluation_of_an_earlier_release_is_listed_by_the_job(context, calls, tmp_path):
    found = scored(context, tmp_path, "one", calls)
    rows = rows_of(context, found.id)
    with context.db.transaction() as connection:
        connection.execute(sa.delete(tables.evaluation_utterances))
        connection.execute(sa.delete(tables.evaluation_indexes).where(tables.evaluation_indexes.c.name > "errors"))
    (shown,) = error_views.every(context, EvaluationQuery())
    assert not shown["listed"]
    with pytest.raises(InvalidInput, match="evaluation-not-listed"):
        page(context, found.id)
    explorer_rows.list_evaluations(context)
    assert [row.steps for row in rows_of(context, found.id)] == [row.steps for row in rows]
    (shown,) = error_views.every(context, EvaluationQuery())
    assert shown["listed"]
    assert shown["wer"] == found.scores["rates"][MAIN]["wer"][0]
    assert not context.db.scalars(explorer_rows.not_listed())


def test_what_is_not_there_is_said_with_what_is(context, calls, tmp_path):
    found = scored(context, tmp_path, "one", calls)
    for filters, code in (
        ({"slice": ("mood=good",)}, "bad-slice"), ({"reading": "loud"}, "no-such-reading"),
        ({"sort": "best"}, "bad-sort"), ({"against": 999}, "no-such-evaluation"),
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match=code):
            page(context, found.id, **filters)
    with pytest.raises(InvalidInput, match="no-such-evaluation"):
        page(context, 999)
    with pytest.raises(InvalidInput, match="no-such-utterance"):
        error_views.utterance(context, found.id, 999)
    one = error_views.utterance(context, found.id, 1)
    assert set(one["readings"]) == set(CURRENT)


def test_every_kind_can_be_explored():
    assert all(kinds.of(name).explored and kinds.of(name).without_texts for name in kinds.names())


def test_it_is_the_same_on_postgresql(tmp_path):
    with postgres.running() as server:
        settings = Settings(_env_file=None, data_dir=tmp_path / "data", database_url=server.database(), asr_threads=1)
        db.upgrade(settings.database)
        context = open_context(settings)
        lines = [
            Line(f"row-{n:02}", spoken.tone(n, seconds=0.5 + n), text, language, f"caller-{n}", "test")
            for n, (language, text, _) in enumerate(TEXTS)
        ]
        calls = spoken.dataset_of(context, "calls", lines, tmp_path / "scratch")
        before = scored(context, tmp_path, "one", calls, {"row-03": "a NUL \x00 and more"})
        now = scored(context, tmp_path, "two", calls)
        explorer_rows.list_evaluation(context, now.id)  # again, over what is there
        shown = page(context, now.id, word="order", sort="longest")
        assert lines_on(shown) == ["row-08", "row-06", "row-04", "row-00"]
        assert page(context, now.id)["selected"]["wer"] == now.scores["rates"][MAIN]["wer"][0]
        assert lines_on(page(context, now.id, against=before.id, outcome="better")) == ["row-03"]
        assert error_views.utterance(context, now.id, 1)["steps"]
        assert [one["evaluation"] for one in error_views.every(context, EvaluationQuery())] == [now.id, before.id]
        context.db.dispose()
