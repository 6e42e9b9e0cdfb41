"""One stretch of a call is in a dataset once, however many tasks hold it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from tests.training.datasets import speech
from tests.training.datasets.speech import AT, Service, caller
from tests.training.datasets.test_dataset import REFUND, TWO_LEGS, left_out, lines
from training.datasets import dataset


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    opened = speech.opened(tmp_path)
    yield opened
    opened.context.db.dispose()


def exported(service: Service) -> tuple[list[str], dict[str, int]]:
    dataset_id = dataset.export(service.context, forms=())
    return [line["text"] for line in lines(service, dataset_id)], left_out(service, dataset_id)


def change(service: Service, ls_annotation_id: int, **values: Any) -> None:
    mine = tables.annotations.c.ls_annotation_id == ls_annotation_id
    with service.context.db.transaction() as connection:
        connection.execute(sa.update(tables.annotations).where(mine).values(**values))


def test_a_call_that_was_imported_twice_gives_each_stretch_once_the_latest_text(service: Service) -> None:
    recording = service.call(REFUND, who=caller(1))
    service.sample(recording, 0.0, 2.0, "पहला", ls=1)
    service.sample(recording, 2.0, 4.0, "दूसरा", ls=2)
    service.sample(recording, 0.1, 1.9, "और पहला", ls=3)
    change(service, 3, ls_updated_at=AT + timedelta(hours=1))
    assert exported(service) == (["और पहला", "दूसरा"], {"duplicate": 1})
    change(service, 1, ls_updated_at=AT + timedelta(hours=2))
    assert exported(service) == (["पहला", "दूसरा"], {"duplicate": 1})


def test_what_is_marked_as_the_truth_goes_before_a_reviewers_and_that_before_a_later_one(service: Service) -> None:
    recording = service.call(REFUND, who=caller(1))
    for ls, by in enumerate(("only", "ground-truth", "reviewer"), 1):
        service.sample(recording, 0.0, 2.0, by, ls=ls, chosen_by=by)
        change(service, ls, ls_updated_at=AT + timedelta(hours=ls))
    assert exported(service) == (["ground-truth"], {"duplicate": 2})


def test_neighbours_other_legs_and_one_tasks_own_regions_are_no_repetition(service: Service) -> None:
    recording = service.call(TWO_LEGS, who=caller(1))
    service.sample(recording, 0.0, 2.0, "एक", ls=1)
    service.sample(recording, 1.8, 4.0, "दो", ls=2)
    service.sample(recording, 0.0, 2.0, "तीन", ls=3, channel=1)
    assert exported(service) == (["एक", "तीन", "दो"], {})
