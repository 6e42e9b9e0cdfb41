"""Recording -> the project that takes it: the first attached one whose routing rule (`project_rules`) accepts it.

A rule on language cannot be evaluated before the language is set or detected. Such a recording is `undecided`: it waits
for its first transcription and does not go to the next project.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.labelling import labelconfig, project_rules
from ml_backend.tables import calls, projects
from sync.recordings import recording_language


@dataclass(frozen=True)
class Destination:
    """Where a recording goes; `undecided` while a rule needs its unknown language."""

    project: sa.Row[Any] | None = None
    undecided: bool = False


def destination(connection: Connection, recording: sa.Row[Any]) -> Destination:
    """The attached project with the lowest id that accepts a recording."""
    attached = sa.select(projects).where(projects.c.state == "attached").order_by(projects.c.id)
    facts = _facts(connection, recording)
    for project in connection.execute(attached).all():
        if _over_texts(project):
            continue
        answer = accepts(project.routing, facts)
        if answer is None:
            return Destination(undecided=True)
        if answer:
            return Destination(project)
    return Destination()


def may_take(connection: Connection, project: sa.Row[Any], recording: sa.Row[Any]) -> bool:
    """Whether a project's rule accepts a recording, or may once its language is known."""
    return not _over_texts(project) and accepts(project.routing, _facts(connection, recording)) is not False


def _over_texts(project: sa.Row[Any]) -> bool:
    """Whether a project has no place for audio."""
    return labelconfig.parse(project.label_config or "").parses


@dataclass(frozen=True)
class RecordingFacts:
    """The facts that rules test. `language` is None while `language_known` is False."""

    source: str
    place: str
    synthetic: bool = False
    language: str | None = None
    language_known: bool = True
    direction: str | None = None
    company_number: str | None = None


def _facts(connection: Connection, recording: sa.Row[Any]) -> RecordingFacts:
    call = None
    if recording.call_id is not None:
        columns = (calls.c.direction, calls.c.company_number)
        call = connection.execute(sa.select(*columns).where(calls.c.id == recording.call_id)).first()
    language, known = recording_language.known(connection, recording)
    return RecordingFacts(
        source=recording.source,
        place=f"{recording.bucket}/{recording.object_key}",
        synthetic=bool(recording.synthetic),
        language=language,
        language_known=known,
        direction=call.direction if call is not None else None,
        company_number=call.company_number if call is not None else None,
    )


def accepts(stored: Any, facts: RecordingFacts) -> bool | None:
    """Whether a routing rule accepts a recording; None while only its language is missing."""
    rule = project_rules.routing(stored)
    if rule is None or rule.synthetic != facts.synthetic:
        return False
    if rule.prefix is not None and not facts.place.startswith(rule.prefix):
        return False
    for wanted, value in (
        (rule.source, facts.source),
        (rule.direction, facts.direction),
        (rule.company_number, facts.company_number),
    ):
        if wanted is not None and value not in wanted:
            return False
    if rule.language is None:
        return True
    if not facts.language_known:
        return None
    return facts.language in rule.language or recording_language.spoken(facts.language) in rule.language
