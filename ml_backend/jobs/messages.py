"""What a worker believes of a message in Redis: that it is a hint with our name on it, and nothing else it says.

Whoever can write to Redis could otherwise name functions to call (the job's, its callbacks'), addresses to report to,
dependents, repeats and retries. So a message is judged by its id and its one field `data`, which is measured before it
is unpacked, has to name our one function with two whole numbers, and is JSON. Nothing else of it is read. What is not
ours is removed and counted, once: it is never put back.
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
REFUSED: list[Callable[[str, str], None]] = []  # told (queue key, why) of each message that was removed


def numbers_of(message_id: bytes) -> tuple[int, int] | None:
    """(job id, attempts made) out of the id of a message of ours."""
    found = MESSAGE_ID.fullmatch(message_id)
    return (int(found[1]), int(found[2])) if found else None


class Message(Job):
    """RQ's job, made from the id of a message that was judged. The rest of its hash is never read."""

    def refresh(self) -> None:
        self.restore({})

    def restore(self, raw_data: Any) -> None:
        """Ours, as `transport.put` wrote it: no callbacks, no dependencies, no repeat, no retry."""
        found = numbers_of(self.id.encode())
        arguments = list(found) if found else []
        self.data = self.serializer.dumps((PERFORM if found else "", None, arguments, {}))
        self.timeout, self.result_ttl, self.failure_ttl = -1, 0, FAILED_MESSAGE_TTL_S
        self._status = JobStatus.QUEUED


class Messages(Queue):
    """A queue out of which only messages of ours come."""

    job_class = Message

    @classmethod
    def lmove(cls, connection: redis.Redis, queue_key: str, timeout: int | None) -> Any:
        """RQ's taking of a message; one that is not ours is removed, and the next is taken."""
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
            for tell in REFUSED:
                tell(queue_key, why)

    @classmethod
    def _fetch_dequeued_job(cls, *arguments: Any, **options: Any) -> Any:
        """RQ's, with the queue it came from instead of the one it names."""
        found = super()._fetch_dequeued_job(*arguments, **options)
        if found is not None:
            found[0].origin = found[1].name
        return found

    def move_dependents_to_ready(self, *arguments: Any, **options: Any) -> dict[str, list[str]]:
        """See below."""
        return {}

    def enqueue_dependents(self, *arguments: Any, **options: Any) -> dict[str, list[str]]:
        """Nothing waits for a message of ours."""
        return {}


def _why_not(connection: redis.Redis, message_id: bytes) -> str:
    """Why a message is not ours; empty when it is, and for one whose hash is gone, which RQ passes over."""
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
        told = json.loads(data)
    except (zlib.error, ValueError, RecursionError):
        return "not-json"
    given = told[2] if isinstance(told, list) and len(told) == 4 else None
    ours = given == list(wanted) and all(type(each) is int for each in given) and told[0] == PERFORM
    return "" if ours and told[1] is None and told[3] == {} else "not-our-function"
