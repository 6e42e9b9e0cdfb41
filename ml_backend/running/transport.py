"""RQ messages over Redis: hints that a job is due, never the record of it.

A message holds a job's id and the number of attempts made so far; everything else is read from the row, so an old
or repeated message does nothing, and emptying Redis loses nothing. JSON, never pickle. Calls end within a second
or so: a Redis that is silent must not hold up the relay.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import redis
import rq
from redis.backoff import NoBackoff
from redis.retry import Retry

from ml_backend.errors import ConfigurationError, RetryableError

PERFORM = "ml_backend.running.worker.perform"  # the only function a message may name
FAILED_MESSAGE_TTL_S = 600


def queue_name(queue: str) -> str:
    """The RQ queue of one of our queues."""
    return f"kaan-{queue}"


def connect(url: str, *, timeout_s: float = 1.0) -> redis.Redis:
    """A client that gives up soon and does not retry by itself. Connects when first used."""
    retry = Retry(NoBackoff(), 0)
    return redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=retry)


@contextmanager
def errors() -> Iterator[None]:
    """Redis being away, full or silent is a RetryableError."""
    try:
        yield
    except redis.RedisError as error:
        raise RetryableError(
            "redis-unavailable",
            f"Redis does not take messages ({type(error).__name__}).",
            "Check that it runs at REDIS_URL and has memory left. Nothing is lost: jobs wait in the database.",
        ) from error


def check(connection: redis.Redis) -> None:
    """Refuse a Redis that may drop messages to make room: it would do so without telling anybody."""
    with errors():
        policy = str(connection.info("memory").get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        raise ConfigurationError(
            "redis-evicts",
            f"Redis may drop queued jobs when its memory is full: its maxmemory-policy is {policy}.",
            "Set it with `redis-cli config set maxmemory-policy noeviction` and in redis.conf, or use another Redis.",
        )


def put(connection: redis.Redis, queue: str, job_id: int, *, attempt: int, in_front: bool = False) -> None:
    """Send one message. Time limits and retries are the runner's, so RQ's are off."""
    with errors():
        rq.Queue(queue_name(queue), connection=connection, serializer="json").enqueue_call(
            PERFORM,
            args=(job_id, attempt),
            job_id=f"job-{job_id}-{attempt}-{uuid.uuid4().hex[:8]}",
            timeout=-1,
            result_ttl=0,
            failure_ttl=FAILED_MESSAGE_TTL_S,
            description=f"job {job_id}",
            at_front=in_front,
        )


def lying(connection: redis.Redis, queue: str) -> set[tuple[int, int]]:
    """(job id, attempts made) of every message nobody has taken yet."""
    with errors():
        ids = rq.Queue(queue_name(queue), connection=connection, serializer="json").get_job_ids()
    parts = [message_id.split("-") for message_id in ids if message_id.startswith("job-")]
    return {(int(part[1]), int(part[2])) for part in parts if len(part) == 4}
