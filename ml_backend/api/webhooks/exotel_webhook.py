"""Exotel's callbacks -> rows in `events`, and nothing else: a job reads them.

Exotel sends twice more after 5 and 15 minutes, then never again, and takes every answer but 2xx, redirects too, as a
failure. So the request authenticates, commits the raw event and answers; it waits for nothing but the database, and
not long for that. What cannot be a call's event is kept as well, and refused with 400. Never 3xx (a Passthru applet
takes 302 as its other branch), never 500: when the commit failed it is 503, and the sender tries again.
"""

from __future__ import annotations

import hashlib
from typing import Any

from flask import Response, request
from sqlalchemy.engine import Connection
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from ml_backend import db, log, tables
from ml_backend.api.auth import without_key
from ml_backend.api.requests import answer, read_body, unreadable
from ml_backend.api.webhooks.group_commit import GroupCommit
from ml_backend.calls import events as callevents
from ml_backend.calls.fields import Fields, fields_of
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, RetryableError
from ml_backend.jobs import enqueueing, job_kinds

MAX_BODY_BYTES = 64 * 1024
MAX_TYPE_CHARS = 200
UNREADABLE_BYTES = 4096  # kept of what cannot be read: enough to see what it was
WAIT_S = 1.0  # for the database's one writer; a sender retries after a 503
_log = log.get("exotel")


class Exotel:
    """The receiver of call events, on both of its addresses."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._zone = context.settings.exotel_time_zone
        callevents.zone_of(self._zone)  # a wrong setting stops the start, not a request
        self._commits = GroupCommit(context.db, _write, wait_s=WAIT_S)

    def call_event(self, secret: str = "") -> Response:
        """Something happened to a call: keep the raw event, let a job read it, answer at once."""
        try:
            return self._receive()
        except (InvalidInput, RetryableError, HTTPException):
            raise
        except Exception:  # a bug or a damaged database: never 500, the sender has to come again
            _log.exception("a call event could not be kept")
            raise _not_kept() from None

    def _receive(self) -> Response:
        query = without_key(request.query_string)
        body = _body()
        if request.method != "POST" and not query and not body:
            return answer({"status": "ok", "message": "This address receives the call events of Exotel."})
        try:
            fields = fields_of(_content_type(), query, body)
            event = callevents.event_of(fields, zone=self._zone)
        except InvalidInput as error:
            self._keep(query, body, None, None, unreadable=error)
            raise
        self._keep(query, body, fields, event)
        _log.info("a call event is kept", call=event.call_sid if event else None)
        return answer({"status": "ok"})

    def _keep(
        self,
        query: bytes,
        body: bytes,
        fields: Fields | None,
        event: callevents.CallEvent | None,
        *,
        unreadable: InvalidInput | None = None,
    ) -> None:
        """Commit what came, as an event of its own or as one more copy of one."""
        content_type = _content_type()
        raw = hashlib.sha256(b"\0".join((request.method.encode(), content_type.encode(), query, body))).hexdigest()
        same = fields.digest() if fields is not None else raw
        values: dict[str, Any] = {
            "source": "exotel",
            "action": event.source if event else None,
            "method": request.method,
            "content_type": content_type,
            "query": query.decode("utf-8", "replace").replace("\x00", "\ufffd"),
            "body": body,
            "digest": raw,
            "once_key": f"exotel:{same}",
            "call_sid": event.call_sid if event else None,
            "said": event.to_json() if event else None,
            "state": "new",
        }
        if unreadable:
            values |= {"state": "unreadable", "reason_code": unreadable.code, "reason": unreadable.sentence}
            values |= {"query": values["query"][:UNREADABLE_BYTES], "body": body[:UNREADABLE_BYTES]}
        elif event is None:
            values |= {"state": "ignored", "reason_code": "not-a-call", "reason": "The event is about no call."}
        self._commit(values)

    def _commit(self, values: dict[str, Any]) -> None:
        self._commits.put(values)


def _write(connection: Connection, values: dict[str, Any]) -> None:
    """One row per event, counting its copies; the first one brings the job."""
    events = tables.events
    once_more = {"copies": events.c.copies + 1}
    columns = (events.c.id, events.c.copies, events.c.state)
    row = db.upsert(connection, events, values, key=("once_key",), change=lambda refused: once_more, returning=columns)
    if row.copies == 1 and row.state == "new":
        enqueueing.enqueue(connection, job_kinds.READ_CALL_EVENT, event_id=int(row.id))


def _content_type() -> str:
    """As much of it as is kept: the job has to read the same as this request did."""
    return request.headers.get("Content-Type", "")[:MAX_TYPE_CHARS].replace("\x00", "")


def _body() -> bytes:
    """The request's body, whole. The server hands over a body that ended early, or is over the cap, cut but calmly."""
    if request.content_encoding not in (None, "", "identity"):
        raise InvalidInput("encoded-body", "The body is compressed.", "Send it without Content-Encoding.", status=415)
    request.max_content_length = MAX_BODY_BYTES + 1
    try:
        body = read_body()
    except RequestEntityTooLarge:
        raise _too_large() from None
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    if len(body) < (request.content_length or 0):
        raise unreadable()
    return body


def _too_large() -> InvalidInput:
    sentence = f"The body is larger than {MAX_BODY_BYTES // 1024} KiB."
    return InvalidInput("body-too-large", sentence, "Send one event.", status=413)


def _not_kept() -> RetryableError:
    return RetryableError(
        "event-not-kept", "The event could not be kept just now.", "Send it again in a minute.", after_s=60
    )
