"""Known values of a call -> Decision: its state and next action. Pure; `ledger` applies it.

A call is in a final state with a reason, or in an open state with a next action and a due time. The state depends only
on the merged values and on the call's recordings and tasks, not on the order of messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ml_backend.calls.events import NO_CONVERSATION, OVER

LOOK_UP, WAIT, FETCH, INGEST, TRANSCRIBE, SELECT = "look-up", "wait", "fetch", "ingest", "transcribe", "select"

# state -> its next actions; a state without any is final. `refused`: the audio cannot be used. `kept`: not selected.
STATES: dict[str, tuple[str, ...]] = {
    "expected": (LOOK_UP, WAIT),  # no recording is known yet: ask the provider, or wait for the call to end
    "to-fetch": (FETCH,),
    "fetched": (INGEST,),
    "stored": (TRANSCRIBE,),
    "heard": (SELECT,),
    "no-recording": (),
    "missing": (),
    "refused": (),
    "kept": (),
    "tasked": (),
    "erased": (),
    "expired": (),
}
OPEN = tuple(name for name, actions in STATES.items() if actions)
FINAL = tuple(name for name, actions in STATES.items() if not actions)
GONE = ("refused", "lost", "erased", "expired")  # states of a recording without audio
SUPERSEDED = "superseded"  # a live piece in whose place its call's whole recording is used
ENDED = ("erased", "expired")  # nothing leads out of these, except from expired to erased

LADDER = tuple(timedelta(minutes=minutes) for minutes in (2, 5, 15, 60, 6 * 60, 24 * 60))
LONGEST_CALL = timedelta(hours=4, minutes=15)  # the provider's limit, and its delay in filling rows in

_OPEN_ORDER = {name: place for place, name in enumerate(OPEN)}
_FINAL_ORDER = ("tasked", "kept", "refused", "missing", "expired", "erased")


@dataclass(frozen=True)
class RecordingProgress:
    """The progress of one recording: its row's state, whether its object is known, and the outcome."""

    state: str
    has_object: bool
    transcribed: bool = False
    selected: str | None = None  # why it became a task
    kept: tuple[str, str] | None = None  # why it did not
    reason: tuple[str, str] | None = None  # why it cannot be used


@dataclass(frozen=True)
class Decision:
    """The state of a call: `next_action` for an open state, the reason for a final one."""

    state: str
    next_action: str | None = None
    reason_code: str | None = None
    reason: str | None = None


def by_status(status: str | None) -> Decision:
    """The state of a call without a recording."""
    if status in NO_CONVERSATION:
        sentence = f"The call ended as {status}, so there is no recording of it."
        return Decision("no-recording", None, "no-conversation", sentence)
    if status in OVER:
        return Decision("expected", LOOK_UP, "recording-not-named", "The call is over and no recording was named yet.")
    return Decision("expected", WAIT, "call-going-on", "The end of the call was not reported yet.")


def by_recordings(recordings: Sequence[RecordingProgress]) -> Decision:
    """The state of a call with recordings: that of the least finished one; if all are final, the best of them."""
    count = [recording for recording in recordings if recording.state != SUPERSEDED]
    each = [_one(recording) for recording in count or recordings]
    waiting = [decision for decision in each if decision.state in OPEN]
    if waiting:
        return min(waiting, key=lambda decision: _OPEN_ORDER[decision.state])
    return min(each, key=lambda decision: (_FINAL_ORDER.index(decision.state), decision.reason_code or ""))


def first_rung(ended_at: datetime | None, at: datetime) -> int:
    """The first step of the retry ladder: the last one for a call so old that its recording must exist."""
    return len(LADDER) - 1 if ended_at is not None and at - ended_at > LADDER[-1] else 0


def _one(recording: RecordingProgress) -> Decision:
    code, reason = recording.reason or (None, None)
    if recording.state in ENDED:
        return Decision(
            recording.state, None, code or recording.state, reason or f"The recording is {recording.state}."
        )
    if recording.state == "lost":
        return Decision(
            "missing", None, code or "recording-lost", reason or "The recording cannot be fetched any more."
        )
    if recording.state == "refused":
        return Decision("refused", None, code or "audio-refused", reason or "The recording cannot be used.")
    if recording.state == SUPERSEDED:
        return Decision("kept", None, SUPERSEDED, reason or "Another recording of the call is used.")
    if recording.state == "found" and not recording.has_object:
        return Decision("to-fetch", FETCH)
    if recording.state != "ready":
        return Decision("fetched", INGEST)
    if recording.selected:
        return Decision("tasked", None, "selected", f"It became work for annotators: {recording.selected}.")
    if recording.kept:
        return Decision("kept", None, *recording.kept)
    return Decision("heard", SELECT) if recording.transcribed else Decision("stored", TRANSCRIBE)
