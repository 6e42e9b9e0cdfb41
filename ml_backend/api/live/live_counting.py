"""Every request of a route of `/v1` -> one answer in the tally, however it ended: also refused, failed or streamed.

The time to answer begins when a thread takes the request and ends when the answer is made, for a stream with its last
byte. What waited for its turn on the model and what the model took is noted by whoever knows it (`note_work`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Flask, Response, g, request

from ml_backend.api.live import openai_form
from ml_backend.api.live.live_tally import LiveTally


@dataclass
class WorkTimes:
    """Seconds that one request waited for the model, and that the model took; None before it was asked."""

    wait_s: float | None = None
    compute_s: float | None = None


_times: ContextVar[WorkTimes | None] = ContextVar("live work times", default=None)


@contextmanager
def work_times() -> Iterator[WorkTimes]:
    """Collect what `note_work` says in this thread."""
    found = WorkTimes()
    token = _times.set(found)
    try:
        yield found
    finally:
        _times.reset(token)


def note_work(*, wait_s: float, compute_s: float) -> None:
    """A part of the request had its turn: long audio has several."""
    found = _times.get()
    if found is not None:
        found.wait_s = (found.wait_s or 0.0) + wait_s
        found.compute_s = (found.compute_s or 0.0) + compute_s


@contextmanager
def computing() -> Iterator[None]:
    """Note the time of a block in which the model works at once, without a turn."""
    began = time.perf_counter()
    try:
        yield
    finally:
        note_work(wait_s=0.0, compute_s=time.perf_counter() - began)


@dataclass
class CountedRequest:
    """What is known of the request being answered; the view adds to it."""

    route: str
    kind: str
    began: float
    times: WorkTimes
    call: str | None = None
    version: str | None = None
    experiment_id: int | None = None
    arm: str | None = None


def counted() -> CountedRequest:
    """The request being answered, of a route that is counted."""
    found: CountedRequest = g.counted
    return found


def count(blueprint: Blueprint, tally: LiveTally, routes: Mapping[str, tuple[str, str]]) -> None:
    """Count the requests of these rules: rule -> (short name of the route, kind)."""

    def end(response: Response) -> Response:
        one: CountedRequest | None = g.get("counted")
        if one is None:
            return response
        if not response.is_streamed:
            _tell(tally, one, response.status_code, g.get("error_code"))
            return response
        status, code = response.status_code, g.get("error_code")
        ended = _Ending(response.response)
        response.response = ended
        response.call_on_close(lambda: _tell(tally, one, 500 if ended.broke else status, code))
        return response

    blueprint.before_request(_begin(routes))
    blueprint.after_request(end)


def count_refusals(app: Flask, tally: LiveTally, rule: str, *, route: str, kind: str) -> None:
    """Count the requests of a WebSocket's rule that do not become one; a session counts its turns itself."""

    def end(response: Response) -> Response:
        one: CountedRequest | None = g.get("counted")
        if one is not None and one.route == route and response.status_code >= 400:
            _tell(tally, one, response.status_code, g.get("error_code"))
        return response

    app.before_request(_begin({rule: (route, kind)}))
    app.after_request(end)


def _begin(routes: Mapping[str, tuple[str, str]]) -> Callable[[], None]:
    def begin() -> None:
        found = routes.get(request.url_rule.rule) if request.url_rule is not None else None
        if found is None:
            return
        times = WorkTimes()
        _times.set(times)  # of this thread, until its next request
        call = request.headers.get(openai_form.CALL_HEADER, "")[:200]
        g.counted = CountedRequest(*found, time.perf_counter(), times, call or None)

    return begin


class _Ending:
    """A stream that remembers whether it broke off."""

    def __init__(self, pieces: Iterable[Any]) -> None:
        self._pieces, self.broke = pieces, False

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._pieces
        except GeneratorExit:  # the client is gone
            raise
        except BaseException:
            self.broke = True
            raise

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


def _tell(tally: LiveTally, one: CountedRequest, status: int, code: str | None) -> None:
    tally.answered(
        one.route, one.kind, version=one.version, status=status, seconds=time.perf_counter() - one.began,
        wait_s=one.times.wait_s, compute_s=one.times.compute_s, call=one.call, experiment_id=one.experiment_id,
        arm=one.arm, refused=code if status == 429 else None,
    )  # fmt: skip
