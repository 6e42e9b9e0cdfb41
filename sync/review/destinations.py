"""Recording -> the project that takes it: the first attached one whose routing rule accepts it.

`projects.routing` is null (takes every call that is not our own synthetic voice) or an object whose conditions must
all hold:

    {"source": ["exotel"], "direction": ["inbound"], "language": ["hi"], "company_number": ["<pseudonym>"],
     "prefix": ["call-recordings/recordings/"], "synthetic": true}

`synthetic: true` makes a project that takes only synthetic voice, such as the one that rates it; no other takes any.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.errors import InvalidInput
from ml_backend.tables import calls, projects
from sync.review.choices import REVIEWERS, Policy, fits

CONDITIONS = ("source", "direction", "language", "company_number", "prefix", "synthetic")


def rule(name: str, text: str) -> dict[str, Any] | None:
    """A project's `selection` or `routing` as a person types it; None for an empty object. InvalidInput for slips."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InvalidInput("bad-rule", f"--{name} is not a JSON object.", """Write it like '{"review": "all"}'.""")
    known = CONDITIONS if name == "routing" else (*(field.name for field in fields(Policy)), REVIEWERS)
    if unknown := sorted(set(value) - set(known)):
        raise InvalidInput("bad-rule", f"--{name} does not know {unknown[0][:40]!r}.", f"Known: {', '.join(known)}.")
    if name == "selection" and value:
        wrong = [key for key in value if not fits(key, value[key])]
        if wrong:
            raise InvalidInput("bad-rule", f"--selection has a wrong value for {wrong[0]}.", "See the README.")
    return value or None


def project_for(connection: Connection, recording: sa.Row[Any]) -> sa.Row[Any] | None:
    """The attached project with the lowest id that accepts a recording."""
    attached = sa.select(projects).where(projects.c.state == "attached").order_by(projects.c.id)
    call = _call(connection, recording)
    return next((p for p in connection.execute(attached).all() if accepts(p.routing, recording, call)), None)


def accepted(connection: Connection, project: sa.Row[Any], recording: sa.Row[Any]) -> bool:
    """Whether a project's rule takes a recording."""
    return accepts(project.routing, recording, _call(connection, recording) if project.routing else None)


def _call(connection: Connection, recording: sa.Row[Any]) -> sa.Row[Any] | None:
    if recording.call_id is None:
        return None
    return connection.execute(sa.select(calls).where(calls.c.id == recording.call_id)).first()


def accepts(rule: Any, recording: Any, call: Any | None = None) -> bool:
    """Whether a routing rule takes a recording; a rule with a condition we do not know takes nothing."""
    if not isinstance(rule, Mapping):
        return not recording.synthetic
    if bool(rule.get("synthetic", False)) != bool(recording.synthetic):
        return False
    facts = {
        "source": recording.source,
        "direction": getattr(call, "direction", None),
        "language": recording.language,
        "company_number": getattr(call, "company_number", None),
    }
    for name, wanted in rule.items():
        values = [wanted] if isinstance(wanted, str) else wanted
        if name == "synthetic":
            continue
        if name == "prefix":
            place = f"{recording.bucket}/{recording.object_key}"
            if not any(place.startswith(str(value)) for value in values):
                return False
        elif name not in facts or facts[name] not in values:
            return False
    return True
