"""How calls went, and which versions answered them, for commands and /api. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend.calls import phone_numbers
from ml_backend.db import Database
from ml_backend.errors import InvalidInput
from ml_backend.models import kinds
from ml_backend.outcomes.call_outcomes import CALL
from ml_backend.tables import calls, outcomes
from ml_backend.views.queries import PagedQuery, Time, one_of

_Kind = one_of(
    (CALL, *kinds.KINDS),
    InvalidInput("bad-kind", "There is no such kind of outcome.", f"Use one of: {CALL}, {', '.join(kinds.KINDS)}."),
)


class OutcomeQuery(PagedQuery):
    """Which outcomes."""

    kind: Annotated[str, Field(description="call: what was reported; asr, nlu, tts: what answered."), _Kind] = CALL
    since: Annotated[Time | None, Field(description="Only what was written then or later.")] = None


def find(database: Database, query: OutcomeQuery) -> list[dict[str, Any]]:
    """Outcomes of one kind, the newest row first."""
    statement = _with_calls().where(outcomes.c.kind == query.kind).order_by(outcomes.c.id.desc()).limit(query.limit)
    if query.since is not None:
        statement = statement.where(outcomes.c.updated_at >= query.since)
    if query.before is not None:
        statement = statement.where(outcomes.c.id < query.before)
    return [to_dict(row) for row in database.rows(statement)]


def of_call(database: Database, call_sid: str, *, key: bytes = b"") -> dict[str, Any]:
    """`outcome` (what was reported; None where nothing was) and `answered_by`, the versions that answered the call."""
    names = {call_sid, phone_numbers.hidden(call_sid, key)} if key else {call_sid}
    rows = database.rows(_with_calls().where(outcomes.c.call_sid.in_(names)).order_by(outcomes.c.kind))
    reported = next((to_dict(row) for row in rows if row.kind == CALL), None)
    return {"outcome": reported, "answered_by": [to_dict(row) for row in rows if row.kind != CALL]}


def to_dict(row: sa.Row[Any]) -> dict[str, Any]:
    """A row as JSON: a report, or what one kind of model answered."""
    shared = {"id": row.id, "call": row.call_sid, "known": row.known is not None, "updated_at": row.updated_at}
    if row.kind == CALL:
        return shared | {
            "success": row.success, "satisfaction": row.satisfaction, "automated": row.automated,
            "intent": row.intent, "latencies_s": row.latencies or {}, "latency_s": row.latency_s,
            "tags": row.tags or {}, "reported_at": row.reported_at, "source": row.source,
        }  # fmt: skip
    return shared | {
        "kind": row.kind, "version": row.model_version, "experiment_id": row.experiment_id, "arm": row.arm,
        "requests": row.requests, "failed": row.failed, "latency_s": row.latency_s,
        "shadow": row.shadow or None,
    }  # fmt: skip


def sentences(found: dict[str, Any]) -> Sequence[tuple[str, str]]:
    """(title, text) of what `of_call` found, for people."""
    lines = [("outcome", text)] if found["outcome"] and (text := sentence(found["outcome"])) else []
    for each in found["answered_by"]:
        arm = f", {each['arm']} of experiment {each['experiment_id']}" if each["arm"] else ""
        late = f", {1000 * each['latency_s']:.0f} ms on average" if each["latency_s"] is not None else ""
        bad = f", {each['failed']} failed" if each["failed"] else ""
        times = f"{each['requests']} request{'s' if each['requests'] != 1 else ''}"
        lines.append(("answered", f"{each['kind']} {each['version'] or '-'}: {times}{bad}{late}{arm}"))
    return lines


def sentence(outcome: dict[str, Any]) -> str:
    """One report in a line."""
    said = {True: "yes", False: "no"}
    parts = [f"{name} {said[outcome[name]]}" for name in ("success", "automated") if outcome[name] is not None]
    if outcome["satisfaction"] is not None:
        parts.append(f"satisfaction {outcome['satisfaction']:.2f} of 1")
    if outcome["intent"]:
        parts.append(f"intent {outcome['intent']}")
    parts += [f"{name} {1000 * seconds:.0f} ms" for name, seconds in outcome["latencies_s"].items()]
    parts += [f"{name}={text}" if text else name for name, text in outcome["tags"].items()]
    return ", ".join(parts)


def _with_calls() -> sa.Select[Any]:
    known = sa.select(sa.func.min(calls.c.id)).where(calls.c.call_sid == outcomes.c.call_sid).scalar_subquery()
    return sa.select(outcomes, known.label("known"))
