"""What the champion was asked -> the same for an experiment's shadow version, after the caller has the answer.

A shadow may cost no caller anything. Its requests wait in a short queue of this process, and one thread takes the next
while no live request is being answered on this machine. What does not fit the queue, or has waited too long, is dropped
and counted: under load the figures come from fewer requests. The thread has the priority of the others: with a lower
one it could be held up while it holds the interpreter's lock, and every caller with it.

The texts are compared word by word, without case and punctuation; of a parse, the intent; of speech only the time
counts. Neither text nor sound of a shadow is kept.
"""

from __future__ import annotations

import queue
import threading
import time
import unicodedata
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ml_backend import log, quantities
from ml_backend.api.live import live_tally
from ml_backend.api.live.live_engines import LiveEngine
from ml_backend.api.live.live_tally import LiveTally
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.jobs import device_turns
from ml_backend.jobs.device_turns import DeviceTurns
from ml_backend.models import kinds

if TYPE_CHECKING:
    from ml_backend.api.live.live_bodies import ParseBody, SpeechBody
    from ml_backend.asr.request import Request
    from ml_backend.tts.voice_loading import Voice

MOST_WAITING = 16  # requests with their audio, 2 MB each at most
STALE_S = 30.0
POLL_S, LOOK_S = 0.02, 1.0

_log = log.get("live")
Run = Callable[[Any], tuple[int, int]]
"""The shadow's engine -> (compared, differing): words and edits of a text, or intents."""


@dataclass(frozen=True)
class _ShadowRequest:
    kind: str
    call: str
    chosen: LiveEngine
    run: Run
    came: float


class LiveShadows:
    """The shadow requests of one process. Thread-safe; made after the fork."""

    def __init__(self, tally: LiveTally, turns: DeviceTurns, *, most: int = MOST_WAITING) -> None:
        self._tally, self._turns = tally, turns
        self._waiting: queue.Queue[_ShadowRequest] = queue.Queue(most)
        self._beginning = threading.Lock()
        self._thread: threading.Thread | None = None

    def parsed(self, chosen: LiveEngine, call: str | None, asked: ParseBody, intent: str) -> None:
        """The champion parsed a text."""
        self._offer(kinds.NLU, chosen, call, lambda parser: (1, int(parser.parse(asked.text).intent != intent)))

    def spoken(self, chosen: LiveEngine, call: str | None, asked: SpeechBody) -> None:
        """The champion said a text."""
        self._offer(kinds.TTS, chosen, call, lambda voice: _say(voice, asked))

    def transcribed(self, chosen: LiveEngine, call: str | None, request: Request | None, text: str) -> None:
        """The champion transcribed audio; None for long audio, which no shadow gets."""
        if request is not None:
            self._offer(kinds.ASR, chosen, call, lambda batches: _transcribe(batches.transcriber, request, text))

    def _offer(self, kind: str, chosen: LiveEngine, call: str | None, run: Run) -> None:
        if chosen.shadow is None or not call:
            return
        one = _ShadowRequest(kind, call, chosen, run, time.monotonic())
        try:
            self._waiting.put_nowait(one)
        except queue.Full:
            self._tell(one, requests=0, dropped=1)
            return
        with self._beginning:
            if self._thread is None:
                given = (weakref.ref(self), self._waiting)
                self._thread = threading.Thread(target=_run_on, args=given, name="live-shadow", daemon=True)
                self._thread.start()

    def _run(self, one: _ShadowRequest) -> None:
        assert one.chosen.shadow is not None  # noqa: S101 - `_offer` takes no other
        while self._turns.is_taken():
            if time.monotonic() - one.came > STALE_S:
                self._tell(one, requests=0, dropped=1)
                return
            time.sleep(POLL_S)
        began = time.perf_counter()
        compared, differing = one.run(one.chosen.shadow.engine)
        self._tell(one, latency_s=time.perf_counter() - began, compared=compared, differing=differing)

    def _tell(self, one: _ShadowRequest, **found: float) -> None:
        chosen = one.chosen
        if chosen.shadow is not None and chosen.experiment_id is not None:
            said = {"version": chosen.shadow.version.version, **found}
            self._tally.shadowed(
                one.kind, call=one.call, experiment_id=chosen.experiment_id, arm=chosen.arm, shadow=said
            )


def _run_on(found: weakref.ref[LiveShadows], waiting: queue.Queue[_ShadowRequest]) -> None:
    """One request after the other, until nobody has the shadows any more."""
    while True:
        try:
            one = waiting.get(timeout=LOOK_S)
        except queue.Empty:
            if found() is None:
                return
            continue
        shadows = found()
        if shadows is None:
            return
        try:
            shadows._run(one)
        except Exception as error:  # of any engine; the next request may succeed
            reason = quantities.shortened(str(error), 200)
            _log.warning("live_shadow_failed", kind=one.kind, reason=reason)
            shadows._tell(one, requests=0, failed=1)
        del one, shadows  # the next may come in an hour, and these hold an engine


def of(context: Context) -> LiveShadows:
    """The shadow requests of this process."""
    found: LiveShadows = context.keep(
        "live-shadows", lambda: LiveShadows(live_tally.of(context), device_turns.of(context))
    )
    return found


def _say(voice: Voice, asked: SpeechBody) -> tuple[int, int]:
    if not voice.answers_live:
        raise InvalidInput("speech-not-rendered", "The shadow is too slow to answer a call.", "Try another voice.")
    language = asked.language or voice.needs.languages[0]
    voice.speak(asked.input, language=language, emotion=asked.emotion, tempo=asked.speed)
    return 0, 0


def _transcribe(transcriber: Any, request: Request, text: str) -> tuple[int, int]:
    (answer,) = transcriber.transcribe([request])
    if isinstance(answer, Exception):
        raise answer
    words = plain_words(text)
    return len(words), word_edits(words, plain_words(answer.text))


def plain_words(text: str) -> list[str]:
    """The words of a text without case and punctuation; the vowel signs of Devanagari are kept."""
    kept = (letter if unicodedata.category(letter)[0] in "LMN" else " " for letter in text.casefold())
    return "".join(kept).split()


def word_edits(one: Sequence[str], other: Sequence[str]) -> int:
    """The fewest words inserted, deleted or replaced between two texts (Levenshtein, row by row)."""
    row = list(range(len(other) + 1))
    for place, word in enumerate(one, 1):
        above, row = row, [place]
        for column, there in enumerate(other, 1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (word != there)))
    return row[-1]
