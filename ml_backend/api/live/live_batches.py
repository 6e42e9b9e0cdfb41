"""Live requests of many threads -> batches on one model, within a latency budget.

Who comes while the model is free is transcribed at once. Who comes while it works waits, and all that wait then go in
one batch. A batch waits for others only while they are known to come (their audio is being decoded), and at most the
budget after its first request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ml_backend import log
from ml_backend.api.live import live_counting
from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import Transcript
from ml_backend.errors import KaanError, RetryableError

_log = log.get("live")


@dataclass(eq=False)
class _WaitingAudio:
    """One request and its answer."""

    request: Request
    came: float
    began: float = 0.0  # the batch that it is in
    took_s: float = 0.0
    ended: threading.Event = field(default_factory=threading.Event)
    answer: Transcript | KaanError | None = None


class LiveBatches:
    """Batches on one loaded version."""

    def __init__(self, transcriber: Transcriber, *, most: int, wait_s: float) -> None:
        self.transcriber = transcriber
        self._most, self._wait_s = most, wait_s
        self._turn, self._changed = threading.Lock(), threading.Condition()
        self._waiting: list[_WaitingAudio] = []
        self._coming = 0

    @contextmanager
    def coming(self) -> Iterator[None]:
        """While a request's audio is being decoded: a batch may wait for it."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                self._changed.notify_all()

    def transcribe(self, requests: Sequence[Request]) -> list[Transcript | KaanError]:
        """One answer per request, each in a turn of its own: the spans of long audio let others in between."""
        return [self._answered(request) for request in requests]

    def transcript(self, request: Request) -> Transcript:
        """The transcript; raises the error of this request alone."""
        answer = self._answered(request)
        if isinstance(answer, Transcript):
            return answer
        raise answer

    def _answered(self, request: Request) -> Transcript | KaanError:
        mine = _WaitingAudio(request, time.monotonic())
        with self._changed:
            self._waiting.append(mine)
            self._changed.notify_all()
        while not mine.ended.is_set():
            with self._turn:
                if not mine.ended.is_set():
                    self._run(self._taken())
        live_counting.note_work(wait_s=mine.began - mine.came, compute_s=mine.took_s)
        assert mine.answer is not None  # noqa: S101 - `ended` is set with the answer
        return mine.answer

    def _taken(self) -> list[_WaitingAudio]:
        """The oldest requests that fit one batch, when it is full, nobody else comes, or the budget is over."""
        with self._changed:
            until = self._waiting[0].came + self._wait_s
            self._changed.wait_for(
                lambda: not self._coming or len(self._waiting) >= self._most, timeout=max(0.0, until - time.monotonic())
            )
            taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        return taken

    def _run(self, batch: list[_WaitingAudio]) -> None:
        answers: list[Transcript | KaanError]
        began = time.monotonic()
        try:
            answers = self.transcriber.transcribe([each.request for each in batch])
        except KaanError as error:
            answers = [error] * len(batch)
        except Exception as error:  # each of the waiting threads must get it
            failed = RetryableError("engine-failed", "The model failed on this audio.", "Send it again.")
            failed.__cause__ = error
            _log.error("live_batch_failed", exc_info=error)
            answers = [failed] * len(batch)
        for each, answer in zip(batch, answers, strict=True):
            each.began, each.took_s = began, time.monotonic() - began
            each.answer = answer
            each.ended.set()
