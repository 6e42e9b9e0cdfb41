"""Which channel of a two-channel recording is the company's agent, so that each segment has its speaker's role.

It differs between providers and between the numbers of one company, so it is a property of the company number. A person
sets it (`calls numbers set`), or it is learnt once: from at least 3 calls through the number whose annotators labelled
who speaks, if at least 9 of 10 put the agent on the same channel. Until then segments have a channel but no role.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig
from ml_backend.tables import annotations as annotation_rows
from ml_backend.tables import calls, company_numbers, projects, recordings, tasks

LEAST_CALLS, LEAST_SHARE = 3, 0.9
AGENT, CUSTOMER = "agent", "customer"
_MOST = 200  # annotations read per number, latest first


def agent_channel(connection: Connection, recording: Any) -> int | None:
    """The agent's channel: the recording's own, else that of its company number; None if unknown."""
    if recording.agent_channel is not None or recording.call_id is None or (recording.channels or 0) < 2:
        return None if recording.agent_channel is None else int(recording.agent_channel)
    found = (
        sa.select(company_numbers.c.agent_channel)
        .join(calls, calls.c.company_number == company_numbers.c.pseudonym)
        .where(calls.c.id == recording.call_id)
    )
    channel = connection.execute(found).scalar()
    return None if channel is None else int(channel)


def role(channel: int, agent: int | None) -> str | None:
    """The role of a segment's speaker."""
    if agent is None:
        return None
    return AGENT if channel == agent else CUSTOMER


def set_agent_channel(connection: Connection, pseudonym: str, channel: int | None) -> None:
    """Set it for a company number; open drafts that show roles are made again."""
    row_id, _ = db.insert_once(connection, company_numbers, {"pseudonym": pseudonym}, key=("pseudonym",))
    db.update(connection, company_numbers, row_id, agent_channel=channel)
    for project_id in connection.execute(sa.select(projects.c.id).where(projects.c.state == "attached")).scalars():
        enqueueing.enqueue(connection, job_kinds.REDRAFT_PROJECT, key=str(project_id), project_id=project_id)


def learnt(connection: Connection, pseudonym: str) -> int | None:
    """The channel by the rule for a company number; None if the rule decides nothing yet."""
    statement = (
        sa.select(recordings.c.id.label("recording_id"), annotation_rows.c.result, projects.c.label_config)
        .join(tasks, tasks.c.id == annotation_rows.c.task_id)
        .join(recordings, recordings.c.id == tasks.c.recording_id)
        .join(calls, calls.c.id == recordings.c.call_id)
        .join(projects, projects.c.id == annotation_rows.c.project_id)
        .where(calls.c.company_number == pseudonym, recordings.c.channels == 2)
        .where(annotation_rows.c.deleted_at.is_(None), annotation_rows.c.skipped.is_(False))
        .order_by(annotation_rows.c.id.desc())
        .limit(_MOST)
    )
    votes: dict[int, Counter[int]] = {}
    for row in connection.execute(statement):
        votes.setdefault(row.recording_id, Counter()).update(_votes(row.result, row.label_config))
    decided = [0 if tally[0] > tally[1] else 1 for tally in votes.values() if tally[0] != tally[1]]
    if len(decided) < LEAST_CALLS:
        return None
    channel, count = Counter(decided).most_common(1)[0]
    return channel if count >= LEAST_SHARE * len(decided) else None


def _votes(result: Any, label_config: str) -> Counter[int]:
    """How often one annotation labels each channel as the agent's."""
    labels = labelconfig.parse(label_config).labels
    found: Counter[int] = Counter()
    if labels is None or not (labels.agent and labels.customer):
        return found
    for item in result if isinstance(result, list) else ():
        value = item.get("value") if isinstance(item, dict) else None
        if not isinstance(value, dict) or item.get("from_name") != labels.name:
            continue
        given, channel = value.get("labels"), value.get("channel")
        if isinstance(given, list) and channel in (0, 1):
            found[channel] += labels.agent in given
            found[1 - channel] += labels.customer in given
    return found
