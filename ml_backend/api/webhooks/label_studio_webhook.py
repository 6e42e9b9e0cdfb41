"""Webhook requests -> rows in `events`, and nothing else: a job reads them (design D4).

Label Studio waits one second inside the annotator's request and never sends again, so the receiver stores and
answers. Project objects carry secrets; they are removed before anything is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import orjson
import sqlalchemy as sa
from flask import Response, request
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.api.auth import Gate
from ml_backend.api.requests import answer, body, parse_object
from ml_backend.api.webhooks.group_commit import GroupCommit
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import project_rows

START_TRAINING = "START_TRAINING"
WAIT_S = 30.0  # Label Studio goes after one second, and the event is kept all the same
PROJECT_SECRETS = ("token", "task_data_login", "task_data_password")
_ACTION = re.compile(r"[A-Z][A-Z_]{0,59}", re.ASCII)
_SECRET_TEXT = re.compile(rb'"(token|task_data_login|task_data_password)"\s*:\s*(?:"(?:[^"\\]|\\.)*"?|[^\s,}\]]+)')


class Webhooks:
    """Receivers for what Label Studio reports."""

    def __init__(self, context: Context, plugin: type[Any], gate: Gate) -> None:
        self._context, self._plugin, self._gate = context, plugin, gate
        self._commits = GroupCommit(context.db, _write, wait_s=WAIT_S)

    def label_studio(self) -> Response:
        """Something changed in Label Studio: keep the event, let a job read it, answer at once."""
        raw = body()
        try:
            event = parse_object(raw)
            kept = kept_of(event)
        except InvalidInput as error:
            self._store(_unreadable(raw), None, unreadable=error)
            raise
        except orjson.JSONEncodeError:
            deep = InvalidInput("bad-json", "The body is nested too deeply.", "Send it as Label Studio does.")
            self._store(_unreadable(raw), None, unreadable=deep)
            raise deep from None
        if event.get("action") == START_TRAINING:
            return self._start_training(event)
        action = event.get("action")
        named = isinstance(action, str) and _ACTION.fullmatch(action)
        self._store(kept, action if named else None)
        return answer({"status": "ok"})

    def _start_training(self, event: dict[str, Any]) -> Response:
        """A person pressed Start Training. Only the basic auth opens this; the webhook secret does not."""
        self._gate.protocol(request)
        project = event.get("project")
        project = project if isinstance(project, dict) else {"id": project}
        ls_project_id = project_rows.id_of(project.get("id"))
        config = project.get("label_config")
        model = self._plugin(project_id=str(ls_project_id), label_config=config if isinstance(config, str) else None)
        result = model.fit(START_TRAINING, without_secrets(event))
        return answer(result if isinstance(result, dict) else {"status": "ok"}, 201)

    def _store(self, kept: bytes, action: str | None, *, unreadable: InvalidInput | None = None) -> None:
        values: dict[str, Any] = {
            "source": "label-studio",
            "action": action,
            "method": request.method,
            "content_type": (request.mimetype or "")[:200],
            "body": kept,
            "digest": hashlib.sha256(kept).hexdigest(),
        }
        if unreadable:
            values |= {"state": "unreadable", "reason_code": unreadable.code, "reason": unreadable.sentence}
        self._commits.put(values)


def _write(connection: Connection, values: dict[str, Any]) -> None:
    """One row per event; one that can be read brings its job."""
    insert = sa.insert(tables.events).values(**values).returning(tables.events.c.id)
    event_id = int(connection.execute(insert).scalar_one())
    if values.get("state") != "unreadable":
        enqueueing.enqueue(connection, job_kinds.READ_EVENT, event_id=event_id)


def without_secrets(event: dict[str, Any]) -> dict[str, Any]:
    """The event without the project's token and data credentials."""
    project = event.get("project")
    if isinstance(project, dict):
        event = {**event, "project": {name: value for name, value in project.items() if name not in PROJECT_SECRETS}}
    return event


def kept_of(event: dict[str, Any]) -> bytes:
    """What is stored. Where a secret's name is left (an unknown shape), all of that name are removed."""
    kept = orjson.dumps(without_secrets(event))
    if any(f'"{name}":'.encode() in kept for name in PROJECT_SECRETS):
        kept = orjson.dumps(_stripped(event))
    return kept


def _unreadable(raw: bytes) -> bytes:
    """What is stored of a body that is no JSON in UTF-8; one in UTF-16 or UTF-32 could hide the secrets' names."""
    encoding = json.detect_encoding(raw)
    text = raw if encoding.startswith("utf-8") else raw.decode(encoding, "replace").encode()
    return _SECRET_TEXT.sub(rb'"\1":""', text)


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _stripped(one) for name, one in value.items() if name not in PROJECT_SECRETS}
    return [_stripped(one) for one in value] if isinstance(value, list) else value
