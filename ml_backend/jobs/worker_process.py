"""RQ message -> the runner. One process serves one queue.

RQ hands out messages and, for `sync` and `training`, forks; what a job is, whether it may run, how long, and what
became of it is the runner's business and stands in the row. Nothing is opened before the fork: a CTranslate2 model
or a database connection that crosses it hangs or corrupts. `transcribe` does not fork, and keeps its model.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import importlib
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import redis
from rq.job import Job
from rq.worker import SimpleWorker, Worker

from ml_backend import context as contexts
from ml_backend import log, tables
from ml_backend.context import Context
from ml_backend.db import Database
from ml_backend.errors import KaanError, RetryableError
from ml_backend.jobs import job_kinds, leases, messages, processes, transport
from ml_backend.jobs.job_kinds import JobKind
from ml_backend.jobs.leases import Timing
from ml_backend.jobs.runner import Runner, new_owner
from ml_backend.settings import Settings
from ml_backend.storage import configured_store

_log = log.get("worker")
_serving: contextvars.ContextVar[_Service] = contextvars.ContextVar("serving")

KEEPS_ITS_PROCESS = ("transcribe",)  # queues whose worker does not fork, so that the model stays loaded
NICENESS = {"transcribe": 10, "training": 15}  # somebody's click goes before what fills the processors
IDLE_BEAT_S = 15  # RQ wakes this often when idle
SEEN_S = 5.0
GO_ON_S = 2.0
PR_SET_PDEATHSIG = 1
_STRANGE = (ValueError, TypeError, KeyError, AttributeError)  # what RQ raises about values somebody else wrote


@dataclass
class _Service:
    """What a worker process serves, and with what."""

    settings: Settings
    queue: str
    name: str
    kinds: Mapping[str, JobKind] | None
    timing: Timing
    started_at: datetime
    context: Context | None = None  # only in a worker that keeps its process
    seen_at: float = float("-inf")
    pid: int = field(default_factory=os.getpid)

    @property
    def role(self) -> str:
        return f"worker:{self.queue}"

    def run(self, job_id: int, attempt: int) -> None:
        """Run one job row, more urgent ones before it, and for a moment whatever is due after it.

        The message only wakes us: what is most urgent stands in the database. Going on for a moment saves most of
        the forks when many short jobs are due.
        """
        context = self.context or self._open()
        go_on_until = time.monotonic() + GO_ON_S
        try:
            runner = Runner(context, owner=self.name, kinds=self.kinds, timing=self.timing, on_beat=self.seen)
            while (urgent := runner.next_due(self.queue, before=job_id)) and runner.run(urgent):
                continue
            runner.run(job_id, after_attempt=attempt)
            while time.monotonic() < go_on_until and not processes.is_stopping(context.db, self.name):
                following = runner.next_due(self.queue)
                if following is None or not runner.run(following):
                    break
        finally:
            if context is not self.context:
                context.db.dispose()

    def _open(self) -> Context:
        """A child's own context; the parent has checked the schema."""
        return Context(self.settings, Database(self.settings.database), configured_store.open_store(self.settings))

    def seen(self) -> None:
        """Sign of life, every few seconds. Opens and closes its connection: the process may fork right after."""
        if time.monotonic() - self.seen_at < SEEN_S:
            return
        self.seen_at = time.monotonic()
        with self.database() as database:
            processes.seen(database, self.name, self.role, started_at=self.started_at, pid=self.pid)

    def refused(self, why: str) -> None:
        """A message that is not ours was removed: whoever wrote it can write to Redis."""
        _log.error("a message that is not ours was removed from Redis", queue=self.queue, reason=why)
        with self.database() as database, database.transaction() as connection:
            processes.count_refused_message(connection, self.queue)

    def stopping(self) -> None:
        """Say that we were asked to stop, so that a job cut off by it is not blamed."""
        with self.database() as database:
            processes.stopping(database, self.name)

    def horse_ended(self) -> None:
        """The forked child is gone: whatever it still held waits again at once."""
        with self.database() as database, database.transaction() as connection:
            leases.take_back_from(connection, self.name)

    @contextlib.contextmanager
    def database(self) -> Any:
        """A connection of its own; trouble with it is for later, work goes on."""
        database = Database(self.settings.database)
        try:
            yield database
        except RetryableError as error:
            _log.warning("sign of life not written", code=error.code)
        finally:
            database.dispose()


def perform(job_id: int, attempt: int) -> None:
    """The one function messages name. Never raises: the outcome is in the row, or the row is handed over again."""
    try:
        _serving.get().run(job_id, attempt)
    except KaanError as error:
        _log.warning("job could not be run now", job=job_id, code=error.code)


class _Manners:
    """What both kinds of worker do differently from RQ's own."""

    service: _Service
    connection: Any

    def bootstrap(self, *arguments: Any, **options: Any) -> None:
        """RQ's, without its log handlers."""
        self.register_birth()  # type: ignore[attr-defined]
        self.set_state("started")

    def subscribe(self) -> None:
        """No commands over Redis, and no thread in a process that forks."""

    def check_for_suspension(self, burst: bool) -> None:
        """Nor `rq suspend`."""

    def set_state(self, state: Any, pipeline: Any = None) -> None:
        with contextlib.suppress(redis.RedisError):
            super().set_state(state, pipeline=pipeline)  # type: ignore[misc]

    def run_maintenance_tasks(self) -> None:
        try:
            super().run_maintenance_tasks()  # type: ignore[misc]
        except (redis.RedisError, *_STRANGE) as error:
            _log.warning("RQ's registries could not be tidied", error=type(error).__name__)

    def execute_job(self, job: Job, queue: Any) -> None:
        """RQ's bookkeeping may fail with Redis; the job's outcome is in its row, or it is handed over again."""
        try:
            super().execute_job(job, queue)  # type: ignore[misc]
        except redis.RedisError as error:
            _log.warning("Redis went away during a job", error=type(error).__name__)
        except _STRANGE as error:
            _log.warning("RQ's notes about a job were changed by somebody", error=type(error).__name__)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """RQ's sign of life and ours. Redis being away is noticed where messages are fetched, not in mid-job."""
        if pipeline is None:
            self.service.seen()
        with contextlib.suppress(redis.RedisError):
            super().heartbeat(timeout, pipeline=pipeline)  # type: ignore[misc]

    def maintain_heartbeats(self, job: Job, execution: Any) -> None:
        self.service.seen()
        with contextlib.suppress(redis.RedisError):
            super().maintain_heartbeats(job, execution)  # type: ignore[misc]

    def perform_job(self, job: Job, queue: Any, execution: Any) -> bool:
        """Only what `Messages` let through comes here."""
        _serving.set(self.service)
        return bool(super().perform_job(job, queue, execution))  # type: ignore[misc]

    def request_stop(self, signum: Any, frame: Any) -> None:
        """Finish the job in hand, take no other."""
        # in a thread: the signal may have interrupted this very process inside a database call
        threading.Thread(target=self.service.stopping, daemon=True).start()
        super().request_stop(signum, frame)  # type: ignore[misc]

    def handle_work_horse_killed(self, job: Job, *what: Any) -> None:
        self.service.horse_ended()


class ForkingWorker(_Manners, Worker):
    """One child per job: memory comes back, and a crash takes only the child along."""

    def main_work_horse(self, job: Job, queue: Any) -> None:
        """A child never outlives its worker: nobody would know of it, and it could hold memory for hours."""
        with contextlib.suppress(AttributeError, OSError):  # elsewhere than on Linux it finishes its job
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == self.pid:
            super().main_work_horse(job, queue)


class KeepingWorker(_Manners, SimpleWorker):
    """Jobs run in this process, which keeps what is expensive to load in `context.kept`."""


def serve(
    settings: Settings,
    queue: str,
    *,
    kinds: Mapping[str, JobKind] | None = None,
    timing: Timing | None = None,
    burst: bool = False,
) -> None:
    """Serve one queue until SIGTERM or SIGINT. Redis being away is waited out; an evicting Redis is refused."""
    timing = timing or Timing()
    service = _Service(settings, queue, new_owner(queue), kinds, timing, tables.now())
    opened = contexts.open_context(settings)  # refuses a wrong schema before any job is taken
    if queue in KEEPS_ITS_PROCESS:
        service.context = opened
    else:
        opened.db.dispose()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.say_seldom("rq.worker", "could not connect to Redis")
    os.nice(NICENESS.get(queue, 0))
    _import_functions(queue, job_kinds.KINDS if kinds is None else kinds)
    _log.info("worker started", queue=queue, pid=os.getpid())
    trouble = log.Lasting()
    try:
        while not stop.is_set():
            if not _redis_is_there(settings, service, stop):
                return
            asked = False
            with contextlib.suppress(redis.RedisError):
                worker = _make(service)
                try:
                    worker.work(burst=burst)
                finally:
                    asked = worker._shutdown_requested_date is not None
            if asked or burst:
                return
            if trouble.is_news():  # a Redis that answers the look and fails at work brings us here every second
                _log.warning("the connection to Redis was lost, starting over")
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
            stop.wait(1.0)
    finally:
        with service.database() as database:
            processes.gone(database, service.name)
        _log.info("worker stopped", queue=queue)


def _import_functions(queue: str, kinds: Mapping[str, JobKind]) -> None:
    """Before the first job, so that no child spends half a second on imports. Importing a module does nothing."""
    for kind in kinds.values():
        if kind.queue == queue:
            with contextlib.suppress(ImportError):  # the runner says which job cannot run here
                importlib.import_module(kind.path.rpartition(".")[0])


def _make(service: _Service) -> Worker | SimpleWorker:
    # RQ makes the socket timeout fit its blocking call
    connection = redis.Redis.from_url(
        service.settings.redis_url,
        socket_connect_timeout=5,
        **transport.trust(service.settings.redis_url, service.settings.ca_file),
    )
    messages.REFUSED[:] = [lambda key, why: service.refused(why)]
    queue = messages.Messages(transport.queue_name(service.queue), connection=connection, serializer="json")
    kind = KeepingWorker if service.queue in KEEPS_ITS_PROCESS else ForkingWorker
    worker = kind(
        [queue],
        name=new_owner(service.queue).replace("@", "-"),
        connection=connection,
        serializer="json",
        queue_class=messages.Messages,
        job_class=messages.Message,
        worker_ttl=IDLE_BEAT_S + 15,
        job_monitoring_interval=max(1, int(service.timing.beat_s)),
        log_job_description=False,
    )
    worker.service = service
    worker.max_connection_wait_time = 5  # seconds between looks for a Redis that went away; RQ's own is a minute
    return worker


def _redis_is_there(settings: Settings, service: _Service, stop: threading.Event) -> bool:
    """Wait for Redis; False when told to stop meanwhile. ConfigurationError when it evicts."""
    connection, trouble = transport.connect(settings.redis_url, ca_file=settings.ca_file), log.Lasting()
    while not stop.is_set():
        try:
            transport.check(connection)
            service.seen()
            return True
        except RetryableError as error:
            if trouble.is_news():
                _log.warning(error.sentence, code=error.code, next_step=error.next_step)
            stop.wait(1.0)
    return False
