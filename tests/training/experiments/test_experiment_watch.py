"""What annotators do decides an experiment: a worse version is withdrawn, a better one said to be, luck is neither."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context, JobContext
from ml_backend.db import Database
from ml_backend.models import routing
from ml_backend.settings import Settings
from ml_backend.storage.local_store import LocalStore
from ml_backend.views import version_views
from tests.training.quality.rows import Rows, measures
from training.experiments import arm_figures, experiment_watch


@pytest.fixture
def context(database: Database, tmp_path: Path) -> Context:
    return Context(Settings(_env_file=None, data_dir=tmp_path), database, LocalStore(tmp_path / "objects"))


@pytest.fixture
def begin(context: Context) -> Callable[..., int]:
    """An experiment; gives its id."""

    def make(**changes: Any) -> int:
        values = {"name": "try", "champion": "small-1", "challenger": "small-2", "traffic_share": 0.5, "salt": "s"}
        return experiment_watch.begin(context, {**values, "ends_at": tables.now() + timedelta(days=7), **changes})

    return make


def work(rows: Rows, experiment_id: int, number: int, arm: str, edits: int, **annotation: Any) -> None:
    """One call: its task on a side, and what its annotator left."""
    rows.task(number, experiment_id=experiment_id, arm=arm, state="annotated")
    rows.annotation(number, number, measures=measures(10, edits), **annotation)


def calls(rows: Rows, experiment_id: int, *, champion: float, challenger: float, number: int = 160) -> None:
    """Calls of ten words; a word is wrong with the given chance of its side."""
    random_ = random.Random(5)
    for each in range(1, number + 1):
        arm = random_.choice([routing.CHAMPION, routing.CHALLENGER])
        chance = challenger if arm == routing.CHALLENGER else champion
        work(rows, experiment_id, each, arm, sum(random_.random() < chance for _ in range(10)))


def row(context: Context, experiment_id: int) -> sa.Row[Any]:
    return context.db.row(tables.experiments, experiment_id)


def redrafts(context: Context) -> int:
    return len(context.db.rows(sa.select(tables.jobs).where(tables.jobs.c.name == "redraft-project")))


def watch(context: Context) -> None:
    experiment_watch.watch_experiments(JobContext(context.settings, context.db, context.store))


def test_a_harmful_version_is_withdrawn_by_itself(context: Context, rows: Rows, begin: Callable[..., int]) -> None:
    experiment_id = begin()
    calls(rows, experiment_id, champion=0.1, challenger=0.45)
    watch(context)
    ended = row(context, experiment_id)
    assert (ended.state, ended.reason_code) == ("withdrawn", "withdrawn")
    assert ended.ended_at is not None
    assert "small-2" in ended.reason
    assert redrafts(context) == 1, "its open tasks go back to the champion"
    assert ended.outcome["challenger"]["wer"] > ended.outcome["champion"]["wer"]


def test_a_better_version_is_said_to_be_and_promotes_nothing(
    context: Context, rows: Rows, begin: Callable[..., int]
) -> None:
    experiment_id = begin()
    calls(rows, experiment_id, champion=0.45, challenger=0.1)
    watch(context)
    ended = row(context, experiment_id)
    assert ended.state == "decided"
    assert "promote small-2" in ended.reason
    assert context.db.rows(sa.select(tables.aliases)) == []


def test_where_auto_promote_is_on_the_gate_is_asked_in_a_job_once(
    context: Context, rows: Rows, begin: Callable[..., int]
) -> None:
    allowed = replace(context, settings=context.settings.model_copy(update={"auto_promote": True}))
    calls(rows, begin(), champion=0.45, challenger=0.1)
    watch(allowed)
    watch(allowed)
    [job] = context.db.rows(sa.select(tables.jobs).where(tables.jobs.c.name == "promote-version"))
    assert (job.queue, job.arguments["version"], job.arguments["who"]) == ("training", "small-2", "experiment")
    assert context.db.rows(sa.select(tables.aliases)) == []


def test_two_equal_versions_go_on_until_the_time_is_over_and_the_champion_stays(
    context: Context, rows: Rows, begin: Callable[..., int]
) -> None:
    experiment_id = begin()
    calls(rows, experiment_id, champion=0.2, challenger=0.2)
    watch(context)
    assert row(context, experiment_id).state == "running"
    context.db.update(tables.experiments, experiment_id, ends_at=tables.now() - timedelta(seconds=1))
    watch(context)
    ended = row(context, experiment_id)
    assert ended.state == "undecided"
    assert "small-1 stays" in ended.reason
    watch(context)
    assert row(context, experiment_id).ended_at == ended.ended_at, "what has ended is left alone"


def test_a_comparison_with_a_champion_that_serves_no_more_ends_and_holds_up_no_other(
    context: Context, rows: Rows, begin: Callable[..., int]
) -> None:
    experiment_id = begin()
    calls(rows, experiment_id, champion=0.45, challenger=0.1)
    with context.db.transaction() as connection:
        values = {"version": "small-3", "kind": "asr", "location": "hub:small-3", "manifest": {}, "languages": []}
        made = sa.insert(tables.model_versions).values(**values).returning(tables.model_versions.c.id)
        alias = {"kind": "asr", "language": "*", "alias": "champion", "revision": 1}
        version_id = connection.execute(made).scalar_one()
        connection.execute(sa.insert(tables.aliases).values(model_version_id=version_id, **alias))
    watch(context)
    ended = row(context, experiment_id)
    assert (ended.state, "small-3 serves now" in ended.reason) == ("stopped", True)
    assert not experiment_watch.is_running(context)


def test_few_calls_decide_nothing_however_bad_they_are(context: Context, rows: Rows, begin: Callable[..., int]) -> None:
    experiment_id = begin()
    calls(rows, experiment_id, champion=0.0, challenger=1.0, number=30)
    watch(context)
    assert row(context, experiment_id).state == "running"


def test_work_that_says_nothing_about_the_drafts_does_not_count(
    context: Context, rows: Rows, begin: Callable[..., int]
) -> None:
    experiment_id = begin()
    work(rows, experiment_id, 1, routing.CHALLENGER, 5)
    work(rows, experiment_id, 2, routing.CHALLENGER, 5, skipped=True)
    work(rows, experiment_id, 3, routing.CHALLENGER, 5, before_attach=True)
    rows.task(4)
    rows.annotation(4, 4)
    with context.db.reading() as connection:
        found = arm_figures.of(connection, row(context, experiment_id))
    assert [(call.key, call.words, call.word_edits) for call in found] == [("s3://calls/1.wav", 10, 5)]


def test_an_annotation_counts_as_it_is_now(context: Context, rows: Rows, begin: Callable[..., int]) -> None:
    experiment_id = begin()
    work(rows, experiment_id, 1, routing.CHAMPION, 5)
    rows.annotation(1, 1, measures=measures(10, 2))
    with context.db.reading() as connection:
        [call] = arm_figures.of(connection, row(context, experiment_id))
    assert call.word_edits == 2


def test_in_shadow_each_call_is_compared_with_itself(context: Context, rows: Rows, begin: Callable[..., int]) -> None:
    experiment_id = begin(kind=routing.SHADOW, traffic_share=1.0)
    said = "मेरा ऑर्डर कहाँ है"
    for number in range(1, 81):
        work(rows, experiment_id, number, routing.CHAMPION, 0, text=said)
        heard = {"segments": [{"start_s": 0.0, "end_s": 4.0, "text": "मेरा कहाँ", "channel": 0}]}
        values = {
            "recording_id": number, "audio_sha256": f"{number:064x}", "model_version": "small-2", "decoding_hash": "d",
            "decoding": {}, "text": "मेरा कहाँ", "transcript": heard, "confidence": 0.5, "duration_s": 20.0,
        }  # fmt: skip
        if number <= 75:
            with context.db.transaction() as connection:
                connection.execute(sa.insert(tables.transcriptions).values(**values))
    watch(context)
    ended = row(context, experiment_id)
    assert ended.state == "withdrawn"
    assert ended.outcome["observations"] == 75, "a call that the challenger has not heard is on neither side"
    assert ended.outcome["challenger"]["word_edits"] == 75 * 2
    assert ended.outcome["champion"]["word_edits"] == 0


def test_one_stopped_by_hand_stays_stopped(context: Context, rows: Rows, begin: Callable[..., int]) -> None:
    experiment_id = begin()
    with context.db.transaction() as connection:
        assert experiment_watch.stop(connection, row(context, experiment_id), who="asha")
        assert not experiment_watch.stop(connection, row(context, experiment_id), who="ravi")
    calls(rows, experiment_id, champion=0.1, challenger=0.9)
    watch(context)
    assert row(context, experiment_id).reason == "Stopped by asha."


def test_each_look_keeps_the_course_of_the_interval_and_says_what_would_end_it(
    context: Context, rows: Rows, begin: Callable[..., int]
) -> None:
    experiment_id = begin()
    calls(rows, experiment_id, champion=0.2, challenger=0.2)
    watch(context)
    told = row(context, experiment_id).outcome
    assert told["course"][-1] == [told["observations"], told["difference"], *told["interval"]]
    assert 40 < len(told["course"]) <= 80
    widths = [high - low for _, _, low, high in told["course"]]
    assert widths[-1] < widths[5], "it narrows with every call"
    said = " ".join(told["would_end"])
    assert "more calls, if the difference stays" in said
    assert "latency by more than 10 %" in said
    assert "small-1 stays" in said
    assert version_views.experiment(row(context, experiment_id))["would_end"] == told["would_end"]


def test_an_experiment_without_enough_calls_says_how_many_are_missing(
    context: Context, rows: Rows, begin: Callable[..., int]
) -> None:
    experiment_id = begin()
    assert "first look" in version_views.experiment(row(context, experiment_id))["would_end"][0]
    calls(rows, experiment_id, champion=0.2, challenger=0.2, number=30)
    watch(context)
    assert "20 more calls" in row(context, experiment_id).outcome["would_end"][0]


def test_the_job_of_a_person_who_ends_one_keeps_who_and_why_and_the_last_figures(
    context: Context, rows: Rows, begin: Callable[..., int]
) -> None:
    experiment_id = begin()
    calls(rows, experiment_id, champion=0.2, challenger=0.2, number=30)
    job = JobContext(context.settings, context.db, context.store)
    experiment_watch.end_experiment(job, "try", "asha", "too slow on Sundays")
    ended = row(context, experiment_id)
    assert (ended.state, ended.reason) == ("stopped", "Stopped by asha: too slow on Sundays.")
    assert ended.outcome["observations"] == 30
    assert version_views.experiment(ended)["would_end"] == [ended.reason]
    experiment_watch.end_experiment(job, "try", "ravi", "again")
    assert row(context, experiment_id).reason == ended.reason
