"""Which leg is the agent: the recording's own setting, its company number's, or learnt once from annotators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.labelling import agent_channel, labelconfig
from sync.exotel.callbacks import learn_channels
from tests.sync import offline
from tests.sync.offline import Offline

NUMBER = f"{'0' * 24}-01"


@pytest.fixture
def service(tmp_path: Path) -> Offline:
    return offline.opened(tmp_path)


def number(service: Offline, **known: Any) -> None:
    service._insert(tables.company_numbers, {"pseudonym": NUMBER, **known})


def asked(service: Offline, recording: Any) -> int | None:
    with service.context.db.reading() as connection:
        return agent_channel.agent_channel(connection, recording)


def test_a_recordings_own_setting_comes_before_its_numbers(service: Offline) -> None:
    number(service, agent_channel=1)
    call_id = service.call(company_number=NUMBER)
    assert asked(service, service.recording(call_id, channels=2)) == 1
    assert asked(service, service.recording(call_id, channels=2, agent_channel=0)) == 0
    assert asked(service, service.recording(call_id, channels=1)) is None
    assert asked(service, service.recording(service.call(), channels=2)) is None


def test_a_role_follows_from_the_channel() -> None:
    assert [agent_channel.role(channel, 1) for channel in (0, 1)] == ["customer", "agent"]
    assert agent_channel.role(0, None) is None


def annotated(service: Offline, agent: int, *, label: str = "Agent", deleted: bool = False) -> None:
    """A two-leg call of the number in which a person labelled one region as the agent's."""
    with service.context.db.transaction() as connection:
        project_id = connection.execute(sa.select(tables.projects.c.id)).scalar()
    if project_id is None:
        values = {"instance_url": "http://127.0.0.1", "ls_project_id": 1, "state": "attached"}
        project_id = service._insert(tables.projects, {**values, "label_config": labelconfig.read("calls")})
    recording = service.recording(service.call(company_number=NUMBER), channels=2)
    task = {"project_id": project_id, "recording_id": recording.id, "external_key": f"k{recording.id}"}
    task_id = service._insert(tables.tasks, {**task, "origin": "ours", "state": "annotated"})
    controls = agent_channel.labelconfig.parse(labelconfig.read("calls")).labels
    assert controls is not None
    name = {"Agent": controls.agent, "Customer": controls.customer}[label]
    item = {"from_name": controls.name, "type": "labels", "value": {"channel": agent, "labels": [name]}}
    values = {"project_id": project_id, "task_id": task_id, "ls_annotation_id": recording.id, "result": [item]}
    values |= {"ls_updated_at": tables.now(), "deleted_at": tables.now() if deleted else None}
    service._insert(tables.annotations, values)


def learnt(service: Offline) -> int | None:
    learn_channels(service.context)  # type: ignore[arg-type]
    [row] = service.context.db.rows(sa.select(tables.company_numbers))
    return row.agent_channel


def test_three_calls_that_agree_teach_the_leg_and_two_do_not(service: Offline) -> None:
    number(service)
    annotated(service, 1)
    annotated(service, 0, label="Customer")
    assert learnt(service) is None
    annotated(service, 1)
    assert learnt(service) == 1
    assert len(service.waiting("redraft-project")) == 1


def test_annotators_who_do_not_agree_teach_nothing(service: Offline) -> None:
    number(service)
    for agent in (1, 1, 1, 0):
        annotated(service, agent)
    for _ in range(5):
        annotated(service, 1, deleted=True)
    assert learnt(service) is None


def test_what_was_set_is_not_learnt_over(service: Offline) -> None:
    number(service, agent_channel=0)
    for _ in range(5):
        annotated(service, 1)
    assert learnt(service) == 0
