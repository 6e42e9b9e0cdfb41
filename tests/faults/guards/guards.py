"""Taking a guard of the product away, by name, so that its fault test can be seen to fail.

Only tests import this file, and nothing in the product asks whether a guard is there. A guard is removed for the rest
of the process (a launched one, or a pytest run with `--without`), never put back.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

REMOVALS: dict[str, Callable[[], None]] = {}
OTHERS = (
    "guards_way_in",
    "guards_audio",
    "guards_hostile",
    "guards_jobs",
    "guards_keeping",
    "guards_listing",
    "guards_live",
    "guards_models",
    "guards_page",
    "guards_settings",
    "guards_sync",
    "guards_utterances",
    "guards_voices",
)


def remove(name: str) -> None:
    """From now on this process lacks the guard."""
    removals()[name]()


def removals() -> dict[str, Callable[[], None]]:
    """All of them, those of the other files too."""
    for other in OTHERS:
        module(f"tests.faults.guards.{other}")
    return REMOVALS


def guard(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def known(removal: Callable[[], None]) -> Callable[[], None]:
        REMOVALS[name] = removal
        return removal

    return known


def module(path: str) -> Any:
    return importlib.import_module(path)


def _set(path: str, name: str, value: Any) -> None:
    setattr(module(path), name, value)


@guard("fencing")
def _fencing() -> None:
    """An attempt may write whoever holds the lease now."""
    leases, sa = module("ml_backend.jobs.leases"), module("sqlalchemy")

    def write(connection: Any, lease: Any, **values: Any) -> bool:
        changed = connection.execute(sa.update(leases.jobs).where(leases.jobs.c.id == lease.job_id).values(**values))
        return bool(changed.rowcount)

    leases._write = write


@guard("leases-run-out")
def _leases_run_out() -> None:
    """Nobody takes back what a dead process held."""
    _set("ml_backend.jobs.leases", "take_back", lambda connection, *, lease_s: [])
    _set("ml_backend.jobs.leases", "take_back_from", lambda connection, owner: [])


@guard("deaths-are-counted")
def _deaths_are_counted() -> None:
    _set("ml_backend.jobs.leases", "MAX_DEATHS", 10**9)


@guard("lost-messages-are-sent-again")
def _lost_messages() -> None:
    module("ml_backend.jobs.relay").Relay._send_again = lambda self: None


@guard("one-attempt-per-message")
def _one_attempt_per_message() -> None:
    """A repeated message starts its job again, whatever became of it."""
    leases, sa = module("ml_backend.jobs.leases"), module("sqlalchemy")
    real = leases.take

    def take(connection: Any, job_id: int, *, after_attempt: int | None = None, **options: Any) -> Any:
        jobs = leases.jobs
        ended = sa.and_(jobs.c.id == job_id, jobs.c.state == "done")
        connection.execute(sa.update(jobs).where(ended).values(state="waiting"))
        return real(connection, job_id, **options)

    leases.take = take


@guard("redis-calls-end")
def _redis_calls_end() -> None:
    """redis-py's own patience."""
    redis = module("redis")
    _set("ml_backend.jobs.transport", "connect", lambda url, **options: redis.Redis.from_url(url))


@guard("evicting-redis-is-refused")
def _evicting_redis() -> None:
    _set("ml_backend.jobs.transport", "check", lambda connection: None)


@guard("own-messages-only")
def _own_messages_only() -> None:
    """RQ runs what a message names, and unpickles it."""
    messages, rq = module("ml_backend.jobs.messages"), module("rq")
    messages.Messages, messages.Message = rq.Queue, module("rq.job").Job


@guard("no-redis-in-the-request")
def _redis_in_the_request() -> None:
    """The request hands its job to Redis itself."""
    jobs, transport = module("ml_backend.jobs.enqueueing"), module("ml_backend.jobs.transport")
    settings = module("ml_backend.settings")
    real = jobs.enqueue

    def enqueue(connection: Any, kind: Any, **options: Any) -> int:
        job_id = int(real(connection, kind, **options))
        transport.put(transport.connect(settings.load().redis_url), kind.queue, job_id, attempt=0)
        return job_id

    jobs.enqueue = enqueue


@guard("writers-begin-immediate")
def _writers_begin_immediate() -> None:
    """Every transaction begins as a reader."""
    sa, db = module("sqlalchemy"), module("ml_backend.db")
    real = db.Database.__init__

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    def opened(self: Any, url: str) -> None:
        real(self, url)
        if self.is_sqlite:
            sa.event.remove(self.engine, "begin", db._begin_sqlite)
            sa.event.listen(self.engine, "begin", begin)

    db.Database.__init__ = opened


@guard("committed-before-answered")
def _committed_before_answered() -> None:
    """Writing transactions commit half a second later, when nobody waits any more."""
    import contextlib
    import threading

    db = module("ml_backend.db")

    @contextlib.contextmanager
    def transaction(self: Any, **options: Any) -> Any:
        connection = self.engine.connect().execution_options(kaan_writes=True)
        begun = connection.begin()
        try:
            yield connection
        except BaseException:
            begun.rollback()
            connection.close()
            raise

        def finish() -> None:
            begun.commit()
            connection.close()

        threading.Timer(0.5, finish).start()

    db.Database.transaction = transaction


@guard("lost-database-is-not-replaced")
def _lost_database() -> None:
    """An empty database takes the place of a lost one; a damaged one is an error like any other."""
    contextlib, db, pathlib = module("contextlib"), module("ml_backend.db"), module("pathlib")
    real = pathlib.Path.exists

    def exists(self: Any, **options: Any) -> bool:
        return not self.name.endswith(".made") and bool(real(self, **options))

    pathlib.Path.exists = exists
    db._errors = contextlib.nullcontext


@guard("one-row-per-event")
def _one_row_per_event() -> None:
    """Every copy of a callback is an event of its own."""
    exotel, uuid = module("ml_backend.api.webhooks.exotel_webhook"), module("uuid")
    real = exotel.Exotel._commit

    def commit(self: Any, values: Any) -> None:
        real(self, {**values, "once_key": f"exotel:{uuid.uuid4().hex}"})

    exotel.Exotel._commit = commit


@guard("short-patience-in-the-request")
def _short_patience() -> None:
    """A callback waits for the database as long as a job would."""
    exotel = module("ml_backend.api.webhooks.exotel_webhook")
    exotel.WAIT_S = 30.0


@guard("objects-are-never-overwritten")
def _objects_are_never_overwritten() -> None:
    """An upload takes the place of whatever is there."""
    s3 = module("ml_backend.storage.s3_store")

    def put(self: Any, bucket: str, key: str, stream: Any, size: int, digest: str, content_type: str) -> str:
        self._client.put_object(bucket, key, stream, size, content_type=content_type, metadata={"sha256": digest})
        return digest

    s3.S3Store._put = put


@guard("commits-wait-for-the-disk")
def _commits_wait() -> None:
    """A commit is told when the kernel has it."""
    db = module("ml_backend.db")
    real = db._prepare_sqlite

    def prepare(connection: Any, record: Any) -> None:
        real(connection, record)
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=OFF")
        cursor.close()

    db._prepare_sqlite = prepare
