"""Taking away the guards of callbacks, of jobs and of the store they use."""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.faults.guards.guards import guard, module


@guard("answered-after-the-commit")
def _answered_after() -> None:
    """The answer goes out first, and the commit comes a moment later."""
    groups = module("ml_backend.api.webhooks.group_commit").GroupCommit
    real = groups.put

    def put(self: Any, item: Any) -> None:
        threading.Timer(0.3, real, (self, item)).start()

    groups.put = put


@guard("downloads-lie-aside")
def _downloads_lie_aside() -> None:
    """A recording is downloaded to where whole files wait for the store."""
    downloads = module("sync.exotel.downloads")
    real = downloads._fetch

    def fetch(context: Any, recording: Any, path: Path) -> Any:
        place = context.settings.data_dir / "spool" / f"{recording.id}.mp3"
        place.parent.mkdir(exist_ok=True)
        found = real(context, recording, place)
        shutil.move(place, path)
        return found

    downloads._fetch = fetch


@guard("the-same-bytes-are-no-conflict")
def _same_bytes() -> None:
    """An object that is there is in the way, whatever it holds."""
    module("ml_backend.storage.s3_store").S3Store._digest_of = lambda self, bucket, key, head: ""


@guard("heard-once")
def _heard_once() -> None:
    """Every hearing is kept, and nobody looks whether there is one."""
    transcribe, db, tables = (
        module("sync.transcription.transcription"),
        module("ml_backend.db"),
        module("ml_backend.tables"),
    )
    transcribe._missing = lambda context, recording, version: transcribe.profiles_for(context, recording)
    real = db.insert_once

    def insert_once(connection: Any, table: Any, values: Any, *, key: Any) -> Any:
        row_id, fresh = real(connection, table, values, key=key)
        if table is tables.transcriptions and not fresh:
            return real(connection, table, {**values, "decoding_hash": uuid.uuid4().hex}, key=key)
        return row_id, fresh

    db.insert_once = insert_once


@guard("trouble-is-said-once-a-minute")
def _said_once() -> None:
    """Every round of the relay says what is wrong."""
    relay = module("ml_backend.jobs.relay")
    real = relay.Relay._complain

    def complain(self: Any, error: Any) -> None:
        self._complaints.clear()
        real(self, error)

    relay.Relay._complain = complain


@guard("lasting-trouble-is-said-seldom")
def _said_seldom() -> None:
    """Each turn of a loop says what is wrong."""
    module("ml_backend.log").Lasting.is_news = lambda self: True


@guard("redis-is-waited-out")
def _redis_is_waited_out() -> None:
    """A worker ends with its Redis: neither RQ nor we wait for another."""
    base = module("rq.worker.base")
    base.time = _With(base.time, sleep=lambda seconds: os._exit(1))
    module("ml_backend.jobs.worker_process")._redis_is_there = lambda settings, service, stop: True


@guard("stopping-is-noticed")
def _stopping_is_noticed() -> None:
    """Who was asked to stop goes on with whatever is due."""
    worker = module("ml_backend.jobs.worker_process")
    worker.processes.is_stopping = lambda database, name: False
    worker.GO_ON_S = 60.0


@guard("jobs-end-at-their-limit")
def _jobs_end() -> None:
    """A job may take as long as it likes."""
    pulse = module("ml_backend.jobs.attempt").Pulse
    real = pulse.__init__
    pulse.__init__ = lambda self, attempt, *, time_limit_s: real(self, attempt, time_limit_s=1e6)


@guard("failures-are-tried-again")
def _tried_again() -> None:
    """The first failure of a job is its last."""
    leases = module("ml_backend.jobs.leases")
    real = leases.failed
    leases.failed = lambda *arguments, **options: real(*arguments, **{**options, "max_attempts": 0})


@guard("whole-objects-only")
def _whole_objects() -> None:
    """What the store sent before it broke off is the object."""
    store, urllib3 = module("ml_backend.storage.s3_store"), module("urllib3")
    real = store.Minio.get_object

    def get_object(self: Any, *arguments: Any, **options: Any) -> Any:
        response = real(self, *arguments, **options)
        pieces = response.stream

        def stream(*given: Any, **more: Any) -> Iterator[bytes]:
            with suppress(urllib3.exceptions.HTTPError):
                yield from pieces(1, **more)

        response.stream = stream
        return response

    store.Minio.get_object = get_object


@guard("a-busy-store-is-left-alone")
def _busy_store() -> None:
    """The client asks until it is answered, or fifty times."""
    urllib3 = module("urllib3")
    real = urllib3.Retry
    module("ml_backend.storage.s3_store").urllib3 = _With(
        urllib3, Retry=lambda **options: real(**{**options, "total": 50, "backoff_factor": 0})
    )


class _With:
    """A module with something replaced."""

    def __init__(self, real: Any, **values: Any) -> None:
        self._real = real
        vars(self).update(values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@guard("a-refusing-store-is-a-setting")
def _refusing_store() -> None:
    """Wrong keys and missing buckets are trouble that passes."""
    store, errors = module("ml_backend.storage.s3_store"), module("ml_backend.errors")
    store._translated = lambda error, what: errors.RetryableError("store-unavailable", str(error.code), "It is tried.")


@guard("a-lost-lease-ends-the-process")
def _lost_lease() -> None:
    """Who has lost the lease works on."""
    module("ml_backend.jobs.attempt")._end = lambda code, why: None


@guard("leases-too-far-ahead-are-over")
def _too_far_ahead() -> None:
    """A lease runs as long as it says, whatever the clock was when it said so."""
    leases = module("ml_backend.jobs.leases")
    real = leases.ran_out
    leases.ran_out = lambda connection, *, lease_s: real(connection, lease_s=1e6)


@guard("a-full-redis-is-noticed")
def _full_redis() -> None:
    """A message that Redis refused was sent."""
    module("ml_backend.jobs.transport").errors = lambda connection: suppress(module("redis").RedisError)


@guard("after-a-death-alone")
def _alone() -> None:
    """A job whose process died is heard together with the others again."""
    runner = module("ml_backend.jobs.runner")
    real = runner.Runner._take

    def take(self: Any, job_id: int, after_attempt: int | None) -> Any:
        held = real(self, job_id, after_attempt)
        jobs, sa = runner.jobs, module("sqlalchemy")
        if held and self.kinds[held[0].name].pooled:
            with self.context.db.transaction() as connection:
                same = sa.select(jobs.c.id).where(jobs.c.name == held[0].name, jobs.c.state.in_(("waiting", "queued")))
                for other in connection.execute(same).scalars().all():
                    more = runner.leases.take(connection, other, owner=self.owner, lease_s=self.timing.lease_s)
                    held += [more] if more else []
        return held

    runner.Runner._take = take


@guard("answers-are-finished")
def _answers_are_finished() -> None:
    """SIGTERM ends the web process at once."""
    module("ml_backend.api.server").GRACEFUL_TIMEOUT_S = 0
