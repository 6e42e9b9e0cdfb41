"""The week's run is asked for once, also by a service that was down on Sunday night."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import JobContext
from ml_backend.errors import ConfigurationError
from ml_backend.settings import Settings
from ml_backend.storage.local_store import LocalStore
from training.schedule import threshold

ZONE = "Asia/Kolkata"


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., JobContext]:
    """The job's context at a given moment."""
    settings = Settings(_env_file=None, data_dir=tmp_path, training_threshold=10)
    db.upgrade(settings.database)
    context = JobContext(settings, db.Database(settings.database), LocalStore(tmp_path / "objects"))

    def now(moment: str, **changes: object) -> JobContext:
        monkeypatch.setattr(tables, "now", lambda: datetime.fromisoformat(moment).replace(tzinfo=UTC))
        return JobContext(settings.model_copy(update=changes), context.db, context.store)

    return now


def asked(context: JobContext) -> list[tuple[str, str]]:
    rows = context.db.rows(sa.select(tables.runs.c.why, tables.runs.c.state).order_by(tables.runs.c.id))
    return [(row.why, row.state) for row in rows]


def test_a_new_service_waits_for_its_first_sunday(at: Callable[..., JobContext]) -> None:
    threshold.check_weekly(at("2026-11-18T10:00"))
    assert asked(at("2026-11-18T10:00")) == []


def test_the_moment_is_acted_upon_once_however_late(at: Callable[..., JobContext]) -> None:
    threshold.check_weekly(at("2026-11-18T10:00"))
    monday = at("2026-11-23T09:00")
    for _ in range(3):
        threshold.check_weekly(monday)
    assert len(asked(monday)) == 1
    threshold.check_weekly(at("2026-11-28T20:00"))
    assert len(asked(monday)) == 1
    threshold.check_weekly(at("2026-11-28T20:31"))
    assert len(asked(monday)) == 2, "Sunday 02:00 in India is Saturday 20:30 UTC"


def test_without_new_work_the_no_is_kept_with_its_reason(at: Callable[..., JobContext]) -> None:
    threshold.check_weekly(at("2026-11-18T10:00"))
    sunday = at("2026-11-22T10:00")
    threshold.check_weekly(sunday)
    assert asked(sunday) == [("weekly", "refused")]


def test_an_empty_setting_switches_it_off(at: Callable[..., JobContext]) -> None:
    for moment in ("2026-11-18T10:00", "2026-11-23T10:00"):
        threshold.check_weekly(at(moment, training_weekly=""))
    assert asked(at("2026-11-23T10:00")) == []


@pytest.mark.parametrize("stated", ["sunday", "xyz 02:00", "sun 2", "sun 25:00"])
def test_a_moment_that_is_none_is_a_mistake_in_the_settings(stated: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        threshold.last_moment(stated, tables.now(), zone=ZONE)
    assert caught.value.code == "bad-moment"
