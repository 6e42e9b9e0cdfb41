"""One session: the client's events and its audio -> turns, and their texts -> events.

Two threads. The one of the connection reads messages, finds speech and cuts turns; it never waits for the model. The
other transcribes: an ended turn first, else what is new of the turn that lasts. It has one request in the model's queue
at most, and the queue is in order of arrival, so no session takes more than its turn. A pause is transcribed carefully
at once, so that the text is there when the pause turns out to be the end.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend import log, quantities
from ml_backend.api.live import live_counting, live_engines, live_shadow, live_tally
from ml_backend.api.live.live_batches import LiveBatches
from ml_backend.api.live.live_engines import LiveEngine, LiveEngines
from ml_backend.api.realtime import realtime_events, session_config
from ml_backend.api.realtime.session_config import SessionConfig
from ml_backend.api.realtime.stable_text import HOLD_S
from ml_backend.api.realtime.turn import AFTER_SPEECH_STEPS, STEP_S, Turn
from ml_backend.api.realtime.turn_detection import STEP_MS, TurnDetector, TurnSettings, fair_cut
from ml_backend.api.realtime.websocket_link import POLICY, WebSocketLink
from ml_backend.asr.transcript import DecodingProfile, Transcript
from ml_backend.asr.windows import STEP, VoiceTracker
from ml_backend.audio.streamed_audio import StreamedAudio
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, KaanError, RetryableError
from ml_backend.jobs import device_turns
from ml_backend.labelling import decoding_profile
from ml_backend.languages import transcribed_as
from ml_backend.models import kinds
from ml_backend.serving import live_audio
from ml_backend.serving.live_audio import SentAudio

PARTIAL_STEPS = 10  # of new audio until it is transcribed: 320 ms
PAUSE_STEPS = 5  # of silence until the turn is transcribed as if it had ended: 160 ms
CUT_S = 2.0  # at the end of a turn that is too long, where it may be cut
WINDOW_SHARE = 0.75  # of the model's window, beyond which a turn is transcribed from a later place on
LEAST_COMMIT_S = 0.1
BACKLOG_S = 60.0  # of ended turns that wait for the model; beyond it the client must wait
LEADING_S = 2.0  # of a turn of a client that commits itself, before anybody speaks
SESSION_S = 2 * 3600.0
ROUTE = "realtime"  # in the counts of live answers
MOST_MISTAKES = 50  # in a row
Samples = npt.NDArray[np.float32]
_log = log.get("realtime")


class RealtimeSession:
    """The owner of a `WebSocketLink`."""

    def __init__(self, context: Context, link: WebSocketLink, config: SessionConfig, chosen: LiveEngine) -> None:
        self._link, self._config, self._settings = link, config, context.settings
        self._engines, self._tally = live_engines.of(context), live_tally.of(context)
        self._device, self._kept = device_turns.of(context), live_audio.of(context)
        self._shadows = live_shadow.of(context)
        self._chosen = chosen  # as the session was told; a turn chooses anew
        self._id, self._flat = realtime_events.new_id("sess"), False
        self._began_at = self._came_at = time.monotonic()
        self._expires_at = int(time.time() + SESSION_S)
        self._mistakes, self._previous = 0, ""
        self._audio, self._voice = StreamedAudio(config.audio), VoiceTracker()
        self._rest: Samples = np.zeros(0, np.float32)  # less than a step
        self._steps = 0  # since the session began
        self._before: deque[tuple[Samples, float]] = deque()  # steps before a turn
        self._changed = threading.Condition()  # guards what follows
        self._detector = TurnDetector(config.turns or TurnSettings())
        self._turn: Turn | None = None
        self._ended: deque[Turn] = deque()
        self._over = False

    def run(self) -> None:
        """Until the connection has ended."""
        name = threading.current_thread().name
        transcribing = threading.Thread(target=self._transcribe, name=f"{name}-text", daemon=True)
        transcribing.start()
        try:
            with self._tally.inside("sessions"):
                self._tell("session.created")
                self._link.run(self)
        finally:
            with self._changed:
                self._over = True
                left = [*self._ended, *([self._turn] if self._turn is not None and self._turn.has_speech else [])]
                self._changed.notify_all()
            for turn in left:  # who hangs up after the last word said it all the same
                self._keep(turn)

    # --- the connection's thread

    def may_read(self) -> bool:
        """False while the model is far behind: the client then sends as fast as it is read."""
        return sum(turn.seconds for turn in tuple(self._ended)) < BACKLOG_S

    def ticked(self) -> None:
        """Sessions that nobody uses, or that last too long, end."""
        now, idle_s = time.monotonic(), self._settings.live_idle_s
        if not self.may_read():
            self._came_at = now  # what was sent waits to be read
        if now - self._came_at > idle_s:
            self._end("session-idle", f"Nothing was sent for {idle_s:g} s.", "Connect again when there is audio.")
        elif now - self._began_at > SESSION_S:
            self._end("session-too-long", f"A session lasts at most {SESSION_S / 3600:g} hours.", "Connect again.")

    def received(self, message: bytes, *, is_text: bool) -> None:
        """One message of the client; what is wrong with it is told and changes nothing."""
        self._came_at = time.monotonic()
        event: dict[str, Any] = {}
        try:
            event = realtime_events.read(message, is_text=is_text)
            self._handle(event)
            self._mistakes = 0
        except KaanError as error:
            self._mistaken(error, event)
        except Exception as error:
            _log.error("realtime_event_failed", exc_info=error)
            self._mistaken(
                RetryableError("internal-error", "Something went wrong here.", "Look for it in the log."), event
            )

    def _mistaken(self, error: KaanError, event: dict[str, Any]) -> None:
        self._link.send(realtime_events.error(error, caused_by=event.get("event_id")))
        self._mistakes += 1
        if self._mistakes >= MOST_MISTAKES:
            self._end("too-many-mistakes", f"{MOST_MISTAKES} events in a row were wrong.", "Correct the client.")

    def _end(self, code: str, sentence: str, next_step: str) -> None:
        self._link.send(realtime_events.error(InvalidInput(code, sentence, next_step)))
        self._link.close(POLICY, code)

    def _handle(self, event: dict[str, Any]) -> None:
        kind = realtime_events.kind_of(event)
        if kind == realtime_events.APPEND:
            self._listen(self._audio.samples(realtime_events.audio_of(event)))
        elif kind == realtime_events.COMMIT:
            self._commit()
        elif kind == realtime_events.CLEAR:
            self._clear()
        else:
            self._update(event.get("session"), flat=realtime_events.UPDATES[kind])

    def _update(self, sent: Any, *, flat: bool) -> None:
        config = session_config.updated(self._config, sent, flat=flat)
        asked = (config.model, config.call, config.language)
        if asked != (self._config.model, self._config.call, self._config.language):
            self._chosen = choose(self._engines, config)
        if config.audio != self._config.audio:
            self._audio = StreamedAudio(config.audio)
        with self._changed:
            if config.turns != self._config.turns:
                self._redetect(config.turns)
            self._config, self._flat = config, flat
        self._tell("transcription_session.updated" if flat else "session.updated")

    def _redetect(self, turns: TurnSettings | None) -> None:
        old, speaking = self._detector, self._turn is not None and self._turn.has_speech
        self._detector = TurnDetector(turns or TurnSettings(), speaking=speaking, quiet=old.quiet if speaking else 0)
        self._before.clear()
        if not speaking:
            self._turn = None

    def _tell(self, kind: str) -> None:
        told = session_config.told(
            self._config, session_id=self._id, expires_at=self._expires_at, flat=self._flat,
            model_version=self._chosen.version.version,
        )  # fmt: skip
        self._link.send(realtime_events.event(kind, session=told))

    def _listen(self, samples: Samples) -> None:
        whole = np.concatenate([self._rest, samples])
        until = whole.size // STEP * STEP
        self._rest = whole[until:]
        if until:
            found = self._voice.probabilities(whole[:until])
            blocks = whole[:until].reshape(-1, STEP)
            with self._changed:
                for block, probability in zip(blocks, found.tolist(), strict=True):
                    self._step(block, probability)
                self._changed.notify_all()

    def _step(self, block: Samples, probability: float) -> None:
        self._steps += 1
        if self._config.turns is None:
            self._own_step(block, probability)
            return
        changed = self._detector.step(probability)
        if self._turn is None:
            self._before.append((block, probability))
            while len(self._before) > self._detector.voiced + self._config.turns.padding_steps:
                self._before.popleft()
            if changed == "begins":
                self._begin()
            return
        self._turn.append(block, probability, is_speech=changed is None and not self._detector.quiet)
        if changed == "ends":
            self._end_turn("silence")
        elif self._turn.seconds >= self._settings.live_most_turn_s:
            self._cut()

    def _own_step(self, block: Samples, probability: float) -> None:
        """A client that commits its turns itself: all that it sends belongs to the turn."""
        turn = self._turn = self._turn or Turn(realtime_events.new_id("item"))
        if self._detector.step(probability) == "begins" and not turn.has_speech:
            turn.has_speech, turn.began_at = True, time.monotonic() - self._detector.voiced * STEP_S
        turn.append(block, probability, is_speech=self._detector.speaking and not self._detector.quiet)
        if not turn.has_speech and turn.seconds > LEADING_S:
            turn.without_beginning(int(LEADING_S / STEP_S))
        elif turn.seconds >= self._settings.live_most_turn_s:
            self._cut()

    def _begin(self) -> None:
        turn = self._turn = Turn(realtime_events.new_id("item"), has_speech=True)
        turn.began_at -= self._detector.voiced * STEP_S  # when the speech began that was noticed now
        for block, probability in self._before:
            turn.append(block, probability, is_speech=True)
        self._before.clear()
        self._link.send(realtime_events.speech_started(turn.item_id, (self._steps - turn.steps) * STEP_MS))

    def _cut(self) -> None:
        """The turn is too long: its end goes on as the next one."""
        assert self._turn is not None  # noqa: S101 - the callers' condition
        at = fair_cut(self._turn.probabilities, self._turn.steps - int(CUT_S / STEP_S))
        rest = self._turn.cut(at, realtime_events.new_id("item"))
        self._end_turn("turn_limit", left=rest.steps)
        self._turn = rest
        self._detector.speaking = True
        if self._config.turns is not None:
            self._link.send(realtime_events.speech_started(rest.item_id, (self._steps - rest.steps) * STEP_MS))

    def _end_turn(self, why: str, *, left: int = 0) -> None:
        turn = self._turn
        assert turn is not None  # noqa: S101 - the callers' condition
        self._turn, turn.ended_at, turn.config = None, time.monotonic(), self._config
        if self._config.turns is not None:
            self._link.send(realtime_events.speech_stopped(turn.item_id, (self._steps - left) * STEP_MS, why))
        for event in realtime_events.committed(turn.item_id, self._previous or None, why, flat=self._flat):
            self._link.send(event)
        self._previous = turn.item_id
        self._ended.append(turn)

    def _commit(self) -> None:
        if self._rest.size:
            self._listen(np.zeros(STEP - self._rest.size, np.float32))
        with self._changed:
            if self._turn is None or self._turn.seconds < LEAST_COMMIT_S:
                raise InvalidInput(
                    "nothing-to-commit", "There is no turn to commit, or less than 100 ms of it.",
                    "With turn detection, a turn is committed when somebody stops speaking.",
                )  # fmt: skip
            self._end_turn("commit")
            self._detector.reset()
            self._changed.notify_all()

    def _clear(self) -> None:
        with self._changed:
            self._turn = None
            self._before.clear()
            self._rest = self._rest[:0]
            self._detector.reset()
        self._link.send(realtime_events.event("input_audio_buffer.cleared"))

    # --- the thread that transcribes

    def _transcribe(self) -> None:
        while True:
            with self._changed:
                work = self._next()
                while work is None:
                    if self._over:
                        return
                    self._changed.wait()
                    work = self._next()
            try:
                work()
            except Exception as error:  # the next turns must be transcribed all the same
                _log.error("realtime_turn_failed", exc_info=error)

    def _next(self) -> Callable[[], None] | None:
        """The most urgent work."""
        if self._over:
            return None
        if self._ended:
            return self._finish_next
        turn = self._turn
        if turn is None or not turn.has_speech:
            return None
        if self._detector.quiet >= PAUSE_STEPS or not self._detector.speaking:
            return (lambda: self._follow(turn, careful=True)) if turn.final_to < turn.last_speech else None
        return (lambda: self._follow(turn)) if turn.steps - turn.transcribed_to >= PARTIAL_STEPS else None

    def _follow(self, turn: Turn, *, careful: bool = False) -> None:
        """Transcribe what there is of a turn that lasts, and give out what became stable."""
        until = turn.steps
        try:
            found, from_s = self._text(turn, until, careful=careful), turn.transcribed_from * STEP_S
        except KaanError:
            with self._changed:
                turn.transcribed_to = until  # its end tries again, and says so
                if careful:
                    turn.final, turn.final_to = None, until
            return
        with self._changed:
            turn.transcribed_to = until
            if careful:
                turn.final, turn.final_to = found, until
            settled_s = min(until * STEP_S - HOLD_S, self._settings.live_most_turn_s - CUT_S)
            fresh = turn.text.grown(found, from_s=from_s, until_s=settled_s)
            if self._over or (turn is not self._turn and turn not in self._ended):
                return  # cleared meanwhile
            if fresh or turn.text.unstable:
                turn.first_partial_s = turn.first_partial_s or time.monotonic() - turn.began_at
                self._link.send(realtime_events.delta(turn.item_id, fresh, unstable=turn.text.unstable_text))
            if not careful:
                assert turn.chosen is not None  # noqa: S101 - it has transcribed
                turn.shorten(WINDOW_SHARE * turn.chosen.engine.transcriber.window_s)

    def _finish_next(self) -> None:
        try:
            self._finish(self._ended[0])
        finally:
            with self._changed:
                self._ended.popleft()
            self._link.wake()

    def _finish(self, turn: Turn) -> None:
        """The text of a turn that ended, from beginning to end; it begins with what was given out."""
        failure: KaanError | None = None
        with live_counting.work_times() as times:
            try:
                found = turn.final
                if found is None or not turn.last_speech <= turn.final_to <= turn.steps:
                    until = min(turn.steps, turn.last_speech + AFTER_SPEECH_STEPS) if turn.has_speech else turn.steps
                    found = self._text(turn, until, careful=True)
            except KaanError as error:
                failure = error
                self._link.send(realtime_events.failed(turn.item_id, error))
            else:
                self._complete(turn, found)
                self._keep(turn)
                self._ask_shadow(turn)
        self._count(turn, times, failure)

    def _complete(self, turn: Turn, found: Transcript) -> None:
        rest = turn.text.ended(found, from_s=turn.transcribed_from * STEP_S)
        if rest:
            self._link.send(realtime_events.delta(turn.item_id, rest, unstable=""))
        assert turn.chosen is not None  # noqa: S101 - it has transcribed
        self._link.send(
            realtime_events.completed(
                turn.item_id, turn.text.text, seconds=turn.seconds, language=found.language,
                model_version=turn.chosen.version.version,
            )
        )  # fmt: skip

    def _keep(self, turn: Turn) -> None:
        """Have the audio of an answered turn kept, where its company number says so."""
        config = turn.config or self._config
        if config.call and self._kept.wants(config.call, config.number):
            self._kept.offer(
                SentAudio(
                    config.call, turn.wav(), number=config.number, name="turn.wav", language=config.language,
                    speaker=config.speaker, caller=config.caller,
                )
            )  # fmt: skip

    def _ask_shadow(self, turn: Turn) -> None:
        """Have the version in shadow transcribe the turn, where it was transcribed as a whole."""
        assert turn.chosen is not None  # noqa: S101 - it has transcribed
        if turn.chosen.shadow is not None and turn.transcribed_from == 0:
            config = turn.config or self._config
            request = turn.audio(turn.steps, self._profile(config, careful=True))
            self._shadows.transcribed(turn.chosen, config.call, request, turn.text.text)

    def _count(self, turn: Turn, times: live_counting.WorkTimes, failure: KaanError | None) -> None:
        """A turn counts as one answer: its time is from the end of the turn, as the server sees it, to the text."""
        assert turn.ended_at is not None  # noqa: S101 - it ended
        chosen, config = turn.chosen, turn.config or self._config
        self._tally.answered(
            ROUTE, kinds.ASR, version=chosen.version.version if chosen else None,
            status=failure.status if failure else 200, seconds=time.monotonic() - turn.ended_at, wait_s=times.wait_s,
            compute_s=times.compute_s, call=config.call, experiment_id=chosen.experiment_id if chosen else None,
            arm=chosen.arm if chosen else None, first_partial_s=turn.first_partial_s,
        )  # fmt: skip

    def _text(self, turn: Turn, until: int, *, careful: bool) -> Transcript:
        """What the turn's version makes of the turn; the version is chosen once."""
        try:
            with self._changed:
                config = turn.config or self._config
            if turn.chosen is None:
                turn.chosen = choose(self._engines, config)
            with self._changed:
                request = turn.audio(until, self._profile(config, careful=careful))
            batches: LiveBatches = turn.chosen.engine
            with self._device.taken():
                return batches.transcript(request)
        except KaanError:
            raise
        except Exception as error:  # a turn that fails must not end the session
            _log.error("realtime_turn_failed", exc_info=error)
            raise RetryableError("engine-failed", "The model failed on this audio.", "Say it again.") from error

    def _profile(self, config: SessionConfig, *, careful: bool) -> DecodingProfile:
        plain = decoding_profile.of_settings(self._settings, language=config.language)
        found = replace(plain, prompt=config.prompt or None, hotwords=config.hotwords)
        return found if careful else replace(found, beam_size=1)


def choose(engines: LiveEngines, config: SessionConfig) -> LiveEngine:
    """The version that answers; InvalidInput for a language that it does not know."""
    chosen = engines.answering(kinds.ASR, model=config.model, call=config.call, language=config.language)
    known: tuple[str, ...] = chosen.engine.transcriber.languages
    if config.language is not None and transcribed_as(config.language) not in known:
        error = InvalidInput(
            "unknown-language", f"The model knows no language {quantities.shortened(config.language, 12)!r}.",
            f"Use one of: {quantities.shortened(', '.join(sorted(known)), 60)}.",
        )  # fmt: skip
        error.field = "language"
        raise error
    return chosen
