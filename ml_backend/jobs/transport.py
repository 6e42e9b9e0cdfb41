"""RQ messages over Redis: hints that a job is due, never the record of it.

A message holds a job's id and the number of attempts so far; everything else is read from the row. So an old or
repeated message does nothing, and emptying Redis loses nothing. Messages are JSON, never pickle. Calls time out after
about a second, so that an unresponsive Redis does not block the relay.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import rq
from redis.backoff import NoBackoff
from redis.retry import Retry

from ml_backend import certificates
from ml_backend.errors import ConfigurationError, RetryableError
from ml_backend.jobs.messages import FAILED_MESSAGE_TTL_S, PERFORM, numbers_of

CODES = ("redis-", "certificate-", "no-tls")  # how the codes of errors about Redis begin
_NOT_LOST = "Nothing is lost: jobs wait in the database."
_REFUSALS: tuple[tuple[type[redis.RedisError], str, str, str, str], ...] = (
    (redis.exceptions.ReadOnlyError, "", "redis-read-only", "it is a read-only replica",
     "Set REDIS_URL to the primary."),
    (redis.exceptions.OutOfMemoryError, "", "redis-full", "its memory is full",
     "Raise its `maxmemory`, or find what else fills it."),
    (redis.exceptions.NoPermissionError, "", "redis-no-permission", "the user of REDIS_URL may not write there",
     "Give that user `+@all` on the keys `rq:*` and the channels `rq:*`, or use another."),
    (redis.exceptions.AuthenticationError, "", "redis-password", "it refused the password, or wants one",
     "Correct the user name and password in REDIS_URL."),
    (redis.exceptions.BusyLoadingError, "", "redis-loading", "it is still reading its data from disk",
     "Wait until it is done."),
    (redis.exceptions.ResponseError, "MISCONF", "redis-cannot-save", "it cannot save to its disk",
     "Free its disk or mend the folder's rights; its log says more."),
    (redis.exceptions.ResponseError, "NOREPLICAS", "redis-no-replicas", "too few of its replicas are there",
     "Start them, or lower `min-replicas-to-write`."),
    (redis.exceptions.ResponseError, "NOAUTH", "redis-password", "it wants a password",
     "Put the password into REDIS_URL."),
    (redis.exceptions.ResponseError, "DB index", "redis-no-database", "it has no database of the number in REDIS_URL",
     "Correct the number behind the last slash."),
)  # fmt: skip


def queue_name(queue: str) -> str:
    """The RQ queue of one of our queues."""
    return f"kaan-{queue}"


def connect(url: str, *, timeout_s: float = 1.0, ca_file: str = "") -> redis.Redis:
    """A client with a short timeout and no retries. It connects when first used."""
    options = {**trust(url, ca_file), "retry": Retry(NoBackoff(), 0)}
    return redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, **options)


def trust(url: str, ca_file: str) -> dict[str, Any]:
    """Client options that make a `rediss://` address trust CA_FILE besides the usual certificates."""
    return {"ssl_ca_certs": ca_file} if ca_file and url.startswith("rediss://") else {}


@contextmanager
def errors(connection: redis.Redis) -> Iterator[None]:
    """Map Redis errors to RetryableError; a Redis that answers but refuses messages gives the reason."""
    try:
        yield
    except redis.RedisError as error:
        if refusal := certificates.reason(error):
            options = connection.connection_pool.connection_kwargs
            raise certificates.refused(
                "Redis", refusal, where=f"rediss://{options.get('host')}:{options.get('port')}"
            ) from error
        said = str(error)  # names users and keys: matched, never shown
        for kind, mark, code, sentence, next_step in _REFUSALS:
            if isinstance(error, kind) and mark in said:
                raise RetryableError(
                    code, f"Redis takes no messages: {sentence}.", f"{next_step} {_NOT_LOST}"
                ) from error
        raise RetryableError(
            "redis-unavailable",
            f"Redis does not take messages ({type(error).__name__}).",
            f"Check that it runs at REDIS_URL, which begins with rediss:// if it speaks TLS. {_NOT_LOST}",
        ) from error


def check(connection: redis.Redis) -> None:
    """Refuse a Redis that evicts messages and one that accepts none: both answer PING."""
    with errors(connection):
        _write_something(connection)
        policy = str(connection.info("memory").get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        raise ConfigurationError(
            "redis-evicts",
            f"Redis may drop queued jobs when its memory is full: its maxmemory-policy is {policy}.",
            "Set it with `redis-cli config set maxmemory-policy noeviction` and in redis.conf, or use another Redis.",
        )


def _write_something(connection: redis.Redis) -> None:
    """Run the commands that a message needs, on a key of their own that expires."""
    key = f"rq:kaan-check:{uuid.uuid4().hex}"
    steps = connection.pipeline(transaction=True)
    steps.hset(key, "a", "1")
    steps.expire(key, 10)
    steps.rpush(f"{key}:list", "1")
    steps.expire(f"{key}:list", 10)
    steps.delete(key, f"{key}:list")
    steps.execute()


def put(connection: redis.Redis, queue: str, job_id: int, *, attempt: int, in_front: bool = False) -> None:
    """Send one message. The runner handles time limits and retries, so RQ's are off."""
    with errors(connection):
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
    """(job id, attempts made) of every message that no worker has taken yet."""
    with errors(connection):
        ids: list[bytes] = connection.lrange(rq.Queue(queue_name(queue), connection=connection).key, 0, -1)  # type: ignore[assignment]
    return {found for message_id in ids if (found := numbers_of(message_id))}
