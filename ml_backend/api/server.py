"""App -> listening processes: gunicorn, configured here and nowhere else.

One process with threads, because requests are look-ups and waiting threads release the GIL. The app is made after the
fork (never `preload`), because a CTranslate2 model or a connection made before it hangs. gunicorn's own refusals are
JSON like every other error and do not quote the request. `ml_backend.api.waiting_connections` keeps slow clients from
the threads.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from http import HTTPStatus
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.http import errors

from ml_backend import tables
from ml_backend.api.live import live_engines, live_tally
from ml_backend.api.waiting_connections import MAX_LINE, BufferingWorker, refusal
from ml_backend.context import Context, open_context
from ml_backend.errors import KaanError
from ml_backend.jobs import processes
from ml_backend.serving import live_audio
from ml_backend.settings import Settings

GRACEFUL_TIMEOUT_S = 20  # for requests that are being answered when the process is asked to stop
ENDING_S = 15  # then, for what is only in memory to be written, before the process is killed
KEEP_ALIVE_S = 75  # longer than most proxies', so that none sends into a connection that is just closing
BEAT_S = 10.0
_STATUS: dict[type[Exception], HTTPStatus] = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
}
_log = logging.getLogger(__name__)


class Worker(BufferingWorker):
    """The buffering worker with our error answers and a heartbeat for `status`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ended = threading.Event()

    def run(self) -> None:
        """Serve until stopped, with a heartbeat for `status`."""
        self.cfg.set("graceful_timeout", GRACEFUL_TIMEOUT_S)  # here only: the parent waits longer before it kills
        beat = threading.Thread(target=self._beat, name="beat", daemon=True)
        beat.start()
        try:
            super().run()
        finally:
            self.app.ended()
            live_tally.written(self.app.context)
            live_audio.written(self.app.context)
            self._ended.set()
            beat.join(BEAT_S)

    def _beat(self) -> None:
        database, started_at = self.app.context.db, tables.now()
        name = processes.own_name(self.app.name)
        try:
            while True:
                with contextlib.suppress(KaanError):  # a busy database: the next heartbeat will do
                    context = self.app.context
                    inside = live_tally.of(context).now_inside()
                    detail = {"not_loaded": live_engines.troubles(context), "inside": inside}
                    processes.seen(database, name, self.app.name, started_at=started_at, detail=detail)
                if self._ended.wait(BEAT_S):
                    break
            with contextlib.suppress(KaanError):
                processes.gone(database, name)
        except Exception:  # a failed heartbeat must not end the process
            _log.exception("this process is no longer shown in `status`")

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Input that is not a valid request: 4xx as JSON."""
        status = _STATUS.get(type(exc), HTTPStatus.BAD_REQUEST)
        if not isinstance(exc, errors.ParseException | OSError):
            _log.error("a request could not be served", exc_info=exc)
            status = HTTPStatus.INTERNAL_SERVER_ERROR
        try:
            client.sendall(refusal(status))
        except OSError:
            _log.debug("the client was gone before its error")


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with our options instead of its command line and files: the app of `web`."""

    name = "web"  # in `status` and in the process list
    context: Context  # of the worker process, after its fork

    def __init__(self, settings: Settings, *, workers: int = 1) -> None:
        self._settings, self._workers = settings, workers
        super().__init__()

    @property
    def _port(self) -> int:
        return self._settings.port

    @property
    def _threads(self) -> int:
        return self._settings.web_threads

    def load_config(self) -> None:
        for name, value in options(self._settings, self._workers).items():
            self.cfg.set(name, value)
        own = {"bind": _address(self._settings.bind, self._port), "threads": self._threads}
        for name, value in {**own, "proc_name": f"kaan-{self.name}"}.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        from ml_backend import log

        log.configure(self._settings, self.name)
        self.context = open_context(self._settings)
        app = self._app()
        _log.info("%s started, listening on %s", self.name, self.cfg.bind[0])
        gc.freeze()  # loaded modules stay: exclude them from collection
        gc.enable()
        return app

    def _app(self) -> Any:
        from ml_backend.api.app import create_app, load_plugin

        plugin = load_plugin(self._settings.plugin)
        return create_app(self._settings, plugin, context=self.context, processes=self._workers)

    def ended(self) -> None:
        """The process is about to end, and no request is being answered."""


class LiveServer(Server):
    """The app of `serve`. More threads than may wait, so that who is one too many is told at once."""

    name = "live"
    buffered_body = 1 << 20  # 30 s of audio: who sends it slowly holds no thread

    @property
    def _port(self) -> int:
        return self._settings.live_port

    @property
    def _threads(self) -> int:
        return self._settings.live_most_waiting + 2

    def _app(self) -> Any:
        from ml_backend.api.app import create_live_app

        app = create_live_app(self._settings, context=self.context, processes=self._workers)
        live_engines.of(self.context).begin()
        return app

    def ended(self) -> None:
        from ml_backend.api.realtime import realtime_route

        realtime_route.of(self.context).end()


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def options(settings: Settings, workers: int = 1) -> dict[str, Any]:
    """gunicorn's settings."""
    return {
        "bind": _address(settings.bind, settings.port),
        "worker_class": Worker,
        "workers": workers,
        "threads": settings.web_threads,
        "preload_app": False,
        "timeout": 120,
        "graceful_timeout": GRACEFUL_TIMEOUT_S + ENDING_S,
        "keepalive": KEEP_ALIVE_S,
        "limit_request_line": MAX_LINE,
        "limit_request_fields": 100,
        "limit_request_field_size": 8190,
        "control_socket_disable": True,
        "proc_name": "kaan-web",
        "loglevel": "error",
    }
