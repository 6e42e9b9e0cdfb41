"""RQ message -> the runner. One process serves one queue.

RQ delivers messages and, for `sync` and `training`, forks. The runner decides whether and how long a job runs, and
writes its outcome into the row. Nothing is opened before the fork, because a CTranslate2 model or a database connection
hangs or corrupts data in the child. `transcribe` does not fork and keeps its model.
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
NICENESS = {"sync": 5, "transcribe": 10, "training": 15}  # `serve` and `web` go before all of them
IDLE_BEAT_S = 15  # RQ wakes this often when idle
SEEN_S = 5.0
GO_ON_S = 2.0
PR_SET_PDEATHSIG = 1
_STRANGE = (ValueError, TypeError, KeyError, AttributeError)  # what RQ raises for values that another program wrote


@dataclass
class _Service:
    """The queue, settings and job kinds of a worker process."""

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
        """Run one job row, more urgent ones before it, and for a short time the due ones after it.

        The message only wakes the worker: the database decides what is most urgent. Going on for a short time saves
        most forks when many short jobs are due.
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
        """A context for the child; the parent has checked the schema."""
        return Context(self.settings, Database(self.settings.database), configured_store.open_store(self.settings))

    def seen(self) -> None:
        """Write a heartbeat every few seconds. Closes its connection, because the process may fork right after."""
        if time.monotonic() - self.seen_at < SEEN_S:
            return
        self.seen_at = time.monotonic()
        with self.database() as database:
            processes.seen(database, self.name, self.role, started_at=self.started_at, pid=self.pid)

    def refused(self, why: str) -> None:
        """Report a removed message that is not ours: its sender can write to Redis."""
        _log.error("a message that is not ours was removed from Redis", queue=self.queue, reason=why)
        with self.database() as database, database.transaction() as connection:
            processes.count_refused_message(connection, self.queue)

    def stopping(self) -> None:
        """Record the request to stop, so that an interrupted job does not count as a death."""
        with self.database() as database:
            processes.stopping(database, self.name)

    def horse_ended(self) -> None:
        """The forked child ended: make the jobs that it still held wait again at once."""
        with self.database() as database, database.transaction() as connection:
            leases.take_back_from(connection, self.name)

    @contextlib.contextmanager
    def database(self) -> Any:
        """A separate connection; its errors are logged and the work goes on."""
        database = Database(self.settings.database)
        try:
            yield database
        except RetryableError as error:
            _log.warning("sign of life not written", code=error.code)
        finally:
            database.dispose()


def perform(job_id: int, attempt: int) -> None:
    """The one function that messages name. Never raises: the outcome is in the row, or the row is sent again."""
    try:
        _serving.get().run(job_id, attempt)
    except KaanError as error:
        _log.warning("job could not be run now", job=job_id, code=error.code)


class _Manners:
    """The differences from RQ's workers that both kinds of worker share."""

    service: _Service
    connection: Any

    def bootstrap(self, *arguments: Any, **options: Any) -> None:
        """As in RQ, without its log handlers."""
        self.register_birth()  # type: ignore[attr-defined]
        self.set_state("started")

    def subscribe(self) -> None:
        """Accept no commands over Redis, and start no thread in a process that forks."""

    def check_for_suspension(self, burst: bool) -> None:
        """Ignore `rq suspend`."""

    def set_state(self, state: Any, pipeline: Any = None) -> None:
        with contextlib.suppress(redis.RedisError):
            super().set_state(state, pipeline=pipeline)  # type: ignore[misc]

    def run_maintenance_tasks(self) -> None:
        try:
            super().run_maintenance_tasks()  # type: ignore[misc]
        except (redis.RedisError, *_STRANGE) as error:
            _log.warning("RQ's registries could not be tidied", error=type(error).__name__)

    def execute_job(self, job: Job, queue: Any) -> None:
        """RQ's bookkeeping may fail with Redis; the outcome is in the job's row, or the row is sent again."""
        try:
            super().execute_job(job, queue)  # type: ignore[misc]
        except redis.RedisError as error:
            _log.warning("Redis went away during a job", error=type(error).__name__)
        except _STRANGE as error:
            _log.warning("RQ's record of a job is not the one we wrote", error=type(error).__name__)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """RQ's heartbeat and ours. A lost Redis is noticed when messages are fetched, not during a job."""
        if pipeline is None:
            self.service.seen()
        with contextlib.suppress(redis.RedisError):
            super().heartbeat(timeout, pipeline=pipeline)  # type: ignore[misc]

    def maintain_heartbeats(self, job: Job, execution: Any) -> None:
        self.service.seen()
        with contextlib.suppress(redis.RedisError):
            super().maintain_heartbeats(job, execution)  # type: ignore[misc]

    def perform_job(self, job: Job, queue: Any, execution: Any) -> bool:
        """Run a message that `Messages` accepted."""
        _serving.set(self.service)
        return bool(super().perform_job(job, queue, execution))  # type: ignore[misc]

    def request_stop(self, signum: Any, frame: Any) -> None:
        """Finish the current job, then stop."""
        # in a thread: the signal may have interrupted this process inside a database call
        threading.Thread(target=self.service.stopping, daemon=True).start()
        super().request_stop(signum, frame)  # type: ignore[misc]

    def handle_work_horse_killed(self, job: Job, *what: Any) -> None:
        self.service.horse_ended()


class ForkingWorker(_Manners, Worker):
    """One child per job: its memory is freed, and a crash ends only the child."""

    def main_work_horse(self, job: Job, queue: Any) -> None:
        """End the child with its worker: nothing would track it, and it could hold memory for hours."""
        with contextlib.suppress(AttributeError, OSError):  # on other systems than Linux it finishes its job
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == self.pid:
            super().main_work_horse(job, queue)


class KeepingWorker(_Manners, SimpleWorker):
    """Runs jobs in this process, which keeps what is expensive to load in `context.kept`."""


def serve(
    settings: Settings,
    queue: str,
    *,
    kinds: Mapping[str, JobKind] | None = None,
    timing: Timing | None = None,
    burst: bool = False,
) -> None:
    """Serve one queue until SIGTERM or SIGINT. Waits for an unavailable Redis; refuses an evicting one."""
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
            if trouble.is_news():  # a Redis that passes the check but fails at work gets here every second
                _log.warning("the connection to Redis was lost, starting over")
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
            stop.wait(1.0)
    finally:
        with service.database() as database:
            processes.gone(database, service.name)
        _log.info("worker stopped", queue=queue)


def _import_functions(queue: str, kinds: Mapping[str, JobKind]) -> None:
    """Import before the first job, so that no child spends half a second on imports."""
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
    """Wait for Redis; False if asked to stop meanwhile. Raises ConfigurationError if it evicts."""
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
