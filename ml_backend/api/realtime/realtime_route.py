"""`GET /v1/realtime` -> a session: the handshake is an ordinary request, then a thread of its own has the socket.

Who may ask, the model and the limit of sessions are checked while it is HTTP, so a refusal is an answer like every
other. The request threads and the main loop have nothing to do with the socket afterwards.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterable
from typing import Any

from flask import Flask, Response, request
from websockets.datastructures import Headers
from websockets.http11 import Request as Handshake
from websockets.http11 import Response as Accepted
from websockets.server import ServerProtocol

from ml_backend import quantities
from ml_backend.api import requests
from ml_backend.api.auth import Gate
from ml_backend.api.live import live_counting, live_engines, live_tally, openai_form
from ml_backend.api.live.live_bodies import checked
from ml_backend.api.live.live_tally import LiveTally
from ml_backend.api.realtime.realtime_session import ROUTE, RealtimeSession, choose
from ml_backend.api.realtime.session_config import ConnectQuery, SessionConfig
from ml_backend.api.realtime.websocket_link import GOING_AWAY, WebSocketLink
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, RetryableError
from ml_backend.models import kinds

PATH = "/v1/realtime"
END_S = 5.0  # for sessions to say goodbye when the process ends
_log = logging.getLogger(__name__)


def install(app: Flask, context: Context, gate: Gate) -> None:
    """Add the route to an app that has the live routes."""
    live_counting.count_refusals(app, live_tally.of(context), PATH, route=ROUTE, kind=kinds.ASR)
    requests.add_route(app, PATH, RealtimeRoute(context).connect, who=gate.live, websocket=True)


class RealtimeSessions:
    """The sessions of this process."""

    def __init__(self, most: int, tally: LiveTally) -> None:
        self._most, self._tally, self._lock = most, tally, threading.Lock()
        self._open = 0
        self._links: dict[WebSocketLink, threading.Thread] = {}

    def admit(self) -> None:
        """Take a place; 429 when there is none."""
        with self._lock:
            if self._open >= self._most:
                raise RetryableError(
                    "sessions-full", f"{self._most} sessions are open.",
                    "Connect again after the seconds of Retry-After, or raise LIVE_MOST_SESSIONS.",
                    status=429, after_s=2.0,
                )  # fmt: skip
            self._open += 1

    def leave(self) -> None:
        """Give the place back."""
        with self._lock:
            self._open -= 1

    def begin(self, session: RealtimeSession, link: WebSocketLink) -> None:
        """Run an admitted session in a thread of its own."""

        def run() -> None:
            try:
                session.run()
            except Exception:
                self._tally.answered(ROUTE, kinds.ASR, version=None, status=500, seconds=0.0)
                _log.exception("a realtime session failed")
            finally:
                with self._lock:
                    self._links.pop(link, None)
                self.leave()

        thread = threading.Thread(target=run, name="realtime", daemon=True)
        with self._lock:
            self._links[link] = thread
        thread.start()

    def end(self) -> None:
        """Close every session: the process ends."""
        with self._lock:
            open_now = list(self._links.items())
        for link, _ in open_now:
            link.close(GOING_AWAY, "the server ends; connect again")
        until = time.monotonic() + END_S
        for _, thread in open_now:
            thread.join(max(0.0, until - time.monotonic()))


class RealtimeRoute:
    """The handshake."""

    def __init__(self, context: Context) -> None:
        self._context, self._engines, self._sessions = context, live_engines.of(context), of(context)

    def connect(self) -> Response:
        """A WebSocket in the form of OpenAI's realtime transcription: audio in, texts out while somebody speaks.

        Query: `intent` transcription, `model`, and as fields of ours `language`, `call`, `number`, `speaker`, `caller`.
        """
        asked = checked(ConnectQuery, request.args.to_dict())
        accepted = _accepted()
        counted = live_counting.counted()
        counted.call = asked.call or counted.call
        self._sessions.admit()
        try:
            number = asked.number or request.headers.get(openai_form.NUMBER_HEADER, "")[:80] or None
            config = SessionConfig(asked.model, counted.call, number, asked.speaker, asked.caller, asked.language)
            chosen = choose(self._engines, config)
            accepted.headers[openai_form.VERSION_HEADER] = chosen.version.version
            accepted.headers["X-Request-Id"] = requests.request_id()
        except BaseException:
            self._sessions.leave()
            raise

        def begin(raw: socket.socket) -> None:
            link = WebSocketLink(raw, accepted.serialize())
            self._sessions.begin(RealtimeSession(self._context, link, config, chosen), link)

        return _Upgraded(begin, self._sessions.leave)


class _Upgraded(Response):
    """101: gives the socket away instead of answering."""

    def __init__(self, begin: Any, failed: Any) -> None:
        super().__init__(status=101)
        self._begin, self._failed = begin, failed

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        try:
            self._begin(environ["gunicorn.socket"].take())  # a BufferedSocket
        except BaseException:
            self._failed()
            raise
        raise StopIteration  # which tells gunicorn that there is nothing left to answer or to keep


def _accepted() -> Accepted:
    """The answer to the handshake; InvalidInput for what is none."""
    protocol = ServerProtocol(select_subprotocol=_subprotocol)
    headers = Headers()
    for name, value in request.headers.items():
        headers[name] = value
    found = protocol.accept(Handshake(request.path, headers))
    if found.status_code != 101:
        why = f" ({quantities.shortened(str(protocol.handshake_exc), 120)})" if protocol.handshake_exc else ""
        raise InvalidInput(
            "not-a-websocket", f"This address is a WebSocket, and the request is no handshake of one{why}.",
            "Connect with a WebSocket client, such as realtime.connect of OpenAI's library.",
            status=426 if not request.headers.get("Upgrade") else 400,
        )  # fmt: skip
    return found


def _subprotocol(_: ServerProtocol, offered: Any) -> Any:
    """`realtime`, which browsers' clients offer beside others."""
    return "realtime" if "realtime" in offered else None


def of(context: Context) -> RealtimeSessions:
    """The sessions of this process."""
    found: RealtimeSessions = context.keep(
        "realtime-sessions", lambda: RealtimeSessions(context.settings.live_most_sessions, live_tally.of(context))
    )
    return found
