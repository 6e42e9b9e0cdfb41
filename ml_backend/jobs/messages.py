"""Validation of messages in Redis: a worker trusts nothing in a message but a job id and an attempt number.

Otherwise anyone who can write to Redis could name functions to call (the job's or its callbacks'), addresses to report
to, dependents, repeats and retries. So only a message's id and its field `data` are read. The size of `data` is checked
before it is unpacked; it must be JSON that names our one function with two whole numbers. A message that is not ours is
removed and counted once, and never put back.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from typing import Any

import redis
from rq import Queue
from rq.job import Job, JobStatus

PERFORM = "ml_backend.jobs.worker_process.perform"  # the only function a message may name
MESSAGE_ID = re.compile(rb"job-([0-9]{1,18})-([0-9]{1,9})-[0-9a-f]{8}", re.ASCII)
MAX_PACKED, MAX_DATA = 1024, 4096  # bytes; ours are about 80
FAILED_MESSAGE_TTL_S = 600
REFUSED: list[Callable[[str, str], None]] = []  # called with (queue key, reason) for each removed message


def numbers_of(message_id: bytes) -> tuple[int, int] | None:
    """(job id, attempts made) from a message id of ours."""
    found = MESSAGE_ID.fullmatch(message_id)
    return (int(found[1]), int(found[2])) if found else None


class Message(Job):
    """An RQ job built from the id of a validated message. The rest of its hash is never read."""

    def refresh(self) -> None:
        self.restore({})

    def restore(self, raw_data: Any) -> None:
        """Restore it as `transport.put` wrote it: no callbacks, dependencies, repeats or retries."""
        found = numbers_of(self.id.encode())
        arguments = list(found) if found else []
        self.data = self.serializer.dumps((PERFORM if found else "", None, arguments, {}))
        self.timeout, self.result_ttl, self.failure_ttl = -1, 0, FAILED_MESSAGE_TTL_S
        self._status = JobStatus.QUEUED


class Messages(Queue):
    """A queue that returns only messages of ours."""

    job_class = Message

    @classmethod
    def lmove(cls, connection: redis.Redis, queue_key: str, timeout: int | None) -> Any:
        """Take a message as RQ does; remove one that is not ours and take the next."""
        while True:
            found = super().lmove(connection, queue_key, timeout)
            if found is None:
                return None
            message_id = found[1] if isinstance(found[1], bytes) else str(found[1]).encode()
            why = _why_not(connection, message_id)
            if not why:
                return found
            connection.lrem(f"{queue_key}:intermediate", 1, message_id)  # type: ignore[arg-type]
            connection.unlink(b"rq:job:" + message_id)
            for report in REFUSED:
                report(queue_key, why)

    @classmethod
    def _fetch_dequeued_job(cls, *arguments: Any, **options: Any) -> Any:
        """As in RQ, but with the queue that the message came from instead of the one it names."""
        found = super()._fetch_dequeued_job(*arguments, **options)
        if found is not None:
            found[0].origin = found[1].name
        return found

    def move_dependents_to_ready(self, *arguments: Any, **options: Any) -> dict[str, list[str]]:
        """Do nothing, as in `enqueue_dependents`."""
        return {}

    def enqueue_dependents(self, *arguments: Any, **options: Any) -> dict[str, list[str]]:
        """Do nothing: our messages have no dependents."""
        return {}


def _why_not(connection: redis.Redis, message_id: bytes) -> str:
    """Why a message is not ours; empty if it is ours, or if its hash is gone, because RQ skips it."""
    wanted = numbers_of(message_id)
    if wanted is None:
        return "strange-id"
    key = b"rq:job:" + message_id
    try:
        packed_bytes = int(connection.hstrlen(key, "data"))
        if packed_bytes > MAX_PACKED:
            return "too-large"
        packed: Any = connection.hget(key, "data")
    except redis.ResponseError:  # not a hash at all
        return "strange-shape"
    if not packed:
        return "no-data"
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(packed, MAX_DATA)
        if not unpacker.eof:
            return "too-large"
        message = json.loads(data)
    except (zlib.error, ValueError, RecursionError):
        return "not-json"
    given = message[2] if isinstance(message, list) and len(message) == 4 else None
    ours = given == list(wanted) and all(type(each) is int for each in given) and message[0] == PERFORM
    return "" if ours and message[1] is None and message[3] == {} else "not-our-function"
