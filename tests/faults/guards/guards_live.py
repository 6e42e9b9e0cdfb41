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
