"""Guards of what answers the phone: who goes first, what is refused, and what a shadow may cost."""

from __future__ import annotations

from typing import Any

from tests.faults.guards.guards import guard, module


@guard("jobs-give-way-to-live-requests")
def _gives_way() -> None:
    """A worker takes its next batch whatever the phone does."""
    module("ml_backend.jobs.device_turns").DeviceTurns.give_way = lambda self: None


@guard("a-live-request-marks-the-device")
def _marks() -> None:
    """Workers do not see that a request is being answered."""
    turns = module("ml_backend.jobs.device_turns")
    real = turns.DeviceTurns._count

    def count(self: Any, rank: int, by: int) -> None:
        if rank != turns.LIVE_REQUEST:
            real(self, rank, by)

    turns.DeviceTurns._count = count


@guard("nobody-gives-way-for-ever")
def _bounded() -> None:
    """Bulk waits as long as the phone is busy, once more after each time that it waited enough."""
    turns = module("ml_backend.jobs.device_turns")
    turns.SHARE_OF_LIMIT = 1e9


@guard("a-version-is-warm-before-it-answers")
def _warm() -> None:
    """The first caller waits for what a first run loads."""
    engines, parsing = module("ml_backend.api.live.live_engines"), module("ml_backend.nlu.loading")
    speaking = module("ml_backend.tts.speaking")
    registry = module("ml_backend.models.registry")
    speaking.Speaker.warm = lambda self: None
    cold = {**engines.LOADERS, "nlu": lambda context, version: parsing.load(registry.verified(context, version))}
    engines.LiveEngines.__init__.__defaults__ = (cold,)


@guard("a-version-that-does-not-load-is-said")
def _said() -> None:
    """Nobody is told that the promoted version does not answer."""
    engines = module("ml_backend.api.live.live_engines")
    engines.LiveEngines.troubles = lambda self: {}


@guard("a-shadow-waits-for-callers")
def _shadow_waits() -> None:
    """The shadow works as soon as it is asked."""
    shadow = module("ml_backend.api.live.live_shadow")
    real = shadow.LiveShadows._run

    class Free:
        def is_taken(self) -> bool:
            return False

    def run(self: Any, one: Any) -> None:
        self._turns = Free()
        real(self, one)

    shadow.LiveShadows._run = run


@guard("a-shadows-queue-is-bounded")
def _shadow_queue() -> None:
    """Every request waits for the shadow, with its audio."""
    module("ml_backend.api.live.live_shadow").LiveShadows.__init__.__kwdefaults__["most"] = 0


@guard("a-whole-recording-supersedes-live-pieces")
def _supersedes() -> None:
    """A call's recording and what its live requests sent are both worked on."""
    module("ml_backend.calls.superseding").settle = lambda connection, call_id, found: False


@guard("an-annotated-piece-stands")
def _stands() -> None:
    """The whole recording takes the place of what somebody has annotated."""
    module("ml_backend.calls.superseding").annotated = lambda connection, call_id: None


@guard("live-audio-needs-consent-now")
def _consent_now() -> None:
    """What was allowed when the request came is kept, whatever was said since."""
    module("ml_backend.calls.live_recordings").refuse_unwanted = lambda connection, audio, *, key: None


@guard("live-audio-waits-on-the-disk")
def _waits() -> None:
    """Audio goes from memory to a store that may be away, and is gone when it is."""
    spool = module("ml_backend.calls.live_spool")
    spool.add = lambda settings, audio, data, *, key, used_bytes: None


@guard("an-erasure-reaches-waiting-live-audio")
def _reaches() -> None:
    """What of an erased call waits on the disk, or has no row yet, stays there."""
    module("sync.privacy.erasure").remove_live_audio = lambda context, call, into: None


@guard("what-the-database-does-not-take-is-kept")
def _kept_counts() -> None:
    """What was counted while the database is busy is gone."""
    module("ml_backend.api.live.live_tally").LiveTally._give_back = lambda self, taken: None


@guard("kept-counts-have-a-bound")
def _bounded_counts() -> None:
    """While the database is away, memory grows with every call."""
    module("ml_backend.api.live.live_tally").LiveTally.__init__.__kwdefaults__["most_kept"] = 10**9
    tally = module("ml_backend.api.live.live_tally").LiveTally
    tally._keep_call = lambda self, key, part: self._calls.setdefault(key, part)


@guard("a-stop-writes-what-was-counted")
def _stop_writes() -> None:
    """A process that stops leaves its last counts to its thread, which stops with it."""
    module("ml_backend.api.live.live_tally").LiveTally.close = lambda self: None


@guard("an-erased-call-has-no-outcome")
def _no_outcome() -> None:
    """Who answers a call does not ask whether it was erased."""
    module("ml_backend.calls.ledger").gone = lambda connection, call_sids, *, key: set()


@guard("one-bad-count-keeps-back-no-other")
def _one_bad() -> None:
    """What no database takes is lost with all that was written with it."""
    module("ml_backend.api.live.live_tally").LiveTally._one_by_one = lambda self, taken, error: None


@guard("a-callers-own-rate-is-no-failure")
def _own_rate() -> None:
    """Whoever gets 429, the service was down."""
    module("ml_backend.api.live.live_tally").OWN_RATE = "nobody's"


@guard("a-token-has-a-rate")
def _rate() -> None:
    """A token may ask as often as it likes."""
    module("ml_backend.api.request_rates").RequestRates.take = lambda self, name: None


@guard("a-day-is-decided-once")
def _decided() -> None:
    """A day is counted again whenever minutes of it arrive."""
    uptime = module("sync.live.uptime")
    real = uptime.live_views.first_minute

    def roll_up(context: Any) -> None:
        with context.db.transaction() as connection:
            first = real(connection)
            connection.execute(uptime.uptime_days.delete())
        uptime.live_views.first_minute = lambda connection: first
        before(context)
        uptime.live_views.first_minute = real

    before, uptime.roll_up_uptime = uptime.roll_up_uptime, roll_up


@guard("a-minute-without-serve-is-down")
def _down() -> None:
    """Only failed requests count: nobody asks while nobody is there."""
    views = module("ml_backend.views.live_views")
    real = views.day_of

    def day_of(*given: Any, **named: Any) -> Any:
        found = real(*given, **named)
        return views.UptimeDay(found.minutes, found.minutes, found.requests, found.failed)

    views.day_of = day_of


@guard("sessions-are-bounded")
def _sessions() -> None:
    """Every handshake gets a session."""
    module("ml_backend.api.realtime.realtime_route").RealtimeSessions.admit = lambda self: None


@guard("a-slow-reader-is-dropped")
def _slow_reader() -> None:
    """What a client does not read is kept for it."""
    link = module("ml_backend.api.realtime.websocket_link")
    link.MOST_UNSENT_BYTES, link.STUCK_S = 1 << 60, 1e9


@guard("what-was-given-out-stays")
def _stays() -> None:
    """The final text is what the last transcript says."""
    text = module("ml_backend.api.realtime.stable_text")

    def ended(self: Any, transcript: Any, *, from_s: float) -> str:
        self.words = text.words_of(transcript, from_s=from_s)
        return ""

    text.StableText.ended = ended


@guard("audio-that-comes-slowly-holds-no-thread")
def _slow_audio() -> None:
    """A thread reads the audio of a turn, however slowly it comes."""
    module("ml_backend.api.server").LiveServer.buffered_body = 0


@guard("a-turn-belongs-to-its-call")
def _turns_call() -> None:
    """A turn is of the call that the session has when its text is ready."""
    turn = module("ml_backend.api.realtime.turn")
    turn.Turn.config = property(lambda self: None, lambda self, value: None)


@guard("a-late-commit-is-not-passed-over")
def _late_commit() -> None:
    """Totals go on from the newest row, whatever commits after it."""
    from datetime import timedelta

    module("sync.live.kept_counts").SETTLED = timedelta(0)


@guard("a-process-that-is-gone-has-no-series")
def _gone_process() -> None:
    """Every process that ever ran is shown."""
    module("ml_backend.monitoring.work_numbers").SHOWN_S = 1e12


@guard("jobs-that-run-together-stay-apart-in-the-log")
def _apart() -> None:
    """What a batch enqueues is logged under the request of its first member."""
    module("ml_backend.jobs.attempt").Attempt._members = lambda self: {}
