"""CallEvent -> the call's row, its recordings, and the job of its next action. The only writer of `calls`.

Every call that the provider reports has one row. Messages about it arrive in any order, repeated, or not at all. Their
values are merged per field (`merging`), and the state follows from the merged values (`states`). Invariant I2:
a call is final with a reason, or has a next action with a due time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.calls import merging, phone_numbers, pseudonyms, sample_use, states, superseding, tombstones
from ml_backend.calls.events import LIVE_SOURCE, CallEvent, recording_identity
from ml_backend.calls.states import (
    ENDED,
    FETCH,
    GONE,
    LADDER,
    LONGEST_CALL,
    LOOK_UP,
    STATES,
    WAIT,
    RecordingProgress,
)
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import calls, company_numbers, objects, recordings, tasks, transcriptions

PROVIDER = "exotel"
_NO_REPORT = ("object", LIVE_SOURCE)  # these sources name a call, but do not say whether a recording of it will come
NEEDED = ("found", "spooled", "stored")  # recordings whose address may be needed again


def record(connection: Connection, event: CallEvent, *, key: bytes, priority: int = job_kinds.LIVE) -> sa.Row[Any]:
    """Merge an event into its call, insert its recording's row, enqueue the next action; returns the call's row.

    Safe to repeat. A call that was erased or has expired stays so, and the event is not stored.
    """
    sid = _name_of(connection, event.call_sid, key=key)
    values = {"provider": PROVIDER, "call_sid": sid, "merged": {}, "seen_by": [], **_open_now(WAIT)}
    call_id, is_new = db.insert_once(connection, calls, values, key=("provider", "call_sid"))
    call = _locked(connection, call_id)
    if is_new and (why := tombstones.why_erased(connection, event.call_sid, key=key)):
        move(connection, call_id, "erased", reason_code="erased", reason=f"This call was erased before: {why}.")
        return _locked(connection, call_id)
    if call.state in ENDED:
        return call
    only_live = set(call.seen_by or ()) == {LIVE_SOURCE}
    if event.from_ or event.to or event.company_number:
        pseudonyms.same_as_before(connection, key)
    changed = merging.merge(call._asdict(), event, key=key, at=tables.now())
    known = {**call._asdict(), **changed}
    people = known["from_pseudonym"], known["to_pseudonym"]
    if tombstones.person_erased(connection, known["started_at"], *people) and not _recordings(connection, call_id):
        move(connection, call_id, "erased", reason_code="erased", reason="Its caller was erased after this call.")
        db.update(connection, calls, call_id, call_sid=phone_numbers.hidden(event.call_sid, key))
        return _locked(connection, call_id)
    if "company_number" in changed:
        changed |= _company(connection, call, changed["company_number"])
    if changed:
        db.update(connection, calls, call_id, **changed)
    if "consent_purpose" in changed and not is_new:
        sample_use.decide(connection, recordings.c.call_id == call_id)
    if is_new:
        _adopt(connection, _locked(connection, call_id))
    found = _recordings(connection, call_id)
    if event.recording_url and _add_recording(connection, call, event, found, key=key, priority=priority):
        found = _recordings(connection, call_id)
    call = _locked(connection, call_id)
    if "talk_seconds" in changed:
        mine = sa.update(recordings).where(recordings.c.call_id == call_id)
        connection.execute(mine.values(call_duration_s=call.talk_seconds))
    if found or not (is_new and event.source in _NO_REPORT):  # its recording, and the state, come right after
        first = is_new or (event.source not in _NO_REPORT and only_live)
        counted = superseding.own(found) if first else _counted(call, found)
        _follow(connection, call, counted, is_new=first, priority=priority)
        _follow_live(connection, call_id, found)
        reduce_addresses(connection, call_id, found)
    return _locked(connection, call_id)


def move(
    connection: Connection,
    call_id: int,
    state: str,
    *,
    reason_code: str | None = None,
    reason: str | None = None,
    next_action: str | None = None,
    due_at: datetime | None = None,
    tries: int | None = None,
    priority: int = job_kinds.LIVE,
) -> bool:
    """Put a call into a state; False, without a change, if it was erased or has expired.

    ValueError for what would break I2: an unknown state, a final state without a reason, an open state with an action
    of another state. The action may be omitted if the state has only one; due now by default.
    """
    if state not in STATES:
        raise ValueError(f"{state!r} is no state of a call: {', '.join(STATES)}")
    actions = STATES[state]
    if not actions and not reason_code:
        raise ValueError(f"{state} is final: say why")
    if actions:
        next_action = next_action or (actions[0] if len(actions) == 1 else None)
        if next_action not in actions:
            raise ValueError(f"{state} goes on with {' or '.join(actions)}, not {next_action}")
    elif next_action or due_at:
        raise ValueError(f"{state} is final: nothing follows")
    call = _locked(connection, call_id)
    if state == "erased":  # every time: a process that answers calls may have written once more
        forget_outcomes(connection, (call.call_sid,))
    if call.state in ENDED and not (call.state == "expired" and state == "erased"):
        return False
    same = (call.state, call.next_action) == (state, next_action)
    values: dict[str, Any] = {
        "state": state,
        "reason_code": reason_code,
        "reason": reason,
        "next_action": next_action,
        "due_at": (due_at or (call.due_at if same and call.due_at else tables.now())) if actions else None,
        "tries": (call.tries if same else 0) if tries is None else tries,
    }
    db.update(connection, calls, call_id, **values)
    if state == "expired":
        forget_words(connection, tables.outcomes.c.call_sid == call.call_sid)
    if next_action in (LOOK_UP, WAIT):
        enqueueing.enqueue(
            connection,
            job_kinds.LOOK_UP_CALL,
            key=str(call_id),
            priority=priority,
            due_at=values["due_at"],
            call_id=call_id,
        )
    return True


def gone(connection: Connection, call_sids: Collection[str], *, key: bytes) -> set[str]:
    """Those of many that were erased or have expired, themselves or with a person in them; known here or not."""
    names = {name: sid for sid in call_sids for name in (sid, phone_numbers.hidden(sid, key))}
    told = tables.tombstones.c
    person = sa.and_(
        told.kind == "caller", told.identity.in_((calls.c.from_pseudonym, calls.c.to_pseudonym)),
        told.created_at >= calls.c.started_at,
    )  # fmt: skip
    ended = sa.or_(calls.c.state.in_(ENDED), sa.exists().where(person))
    mine = sa.select(calls.c.call_sid).where(calls.c.call_sid.in_(names), ended)
    here = {names[name] for name in connection.execute(mine).scalars()}
    return here | tombstones.among(connection, call_sids, key=key)


def forget_outcomes(connection: Connection, call_sids: Sequence[str]) -> None:
    """Delete how these calls went, and what the models answered in them."""
    connection.execute(sa.delete(tables.outcomes).where(tables.outcomes.c.call_sid.in_(call_sids)))


def forget_words(connection: Connection, mine: sa.ColumnElement[bool]) -> None:
    """Remove what somebody wrote of how a call went (intent, tags); the figures stay."""
    connection.execute(sa.update(tables.outcomes).where(mine).values(intent=None, tags=sa.null()))


def look_up_later(
    connection: Connection, call_id: int, *, reason_code: str, reason: str, priority: int = job_kinds.LIVE
) -> bool:
    """Schedule the next look-up of the retry ladder; False at its end: the caller then moves the call to its end."""
    call = _locked(connection, call_id)
    tries = int(call.tries) + 1 if call.next_action == LOOK_UP else 0
    if tries >= len(LADDER):
        return False
    due_at = tables.now() + LADDER[tries]
    return move(
        connection, call_id, "expected", reason_code=reason_code, reason=reason, next_action=LOOK_UP,
        due_at=due_at, tries=tries, priority=priority,
    )  # fmt: skip


def recording_moved(connection: Connection, recording_id: int) -> None:
    """A recording, its transcription or its tasks changed: its samples follow, and its call where it is of one."""
    sample_use.recording_moved(connection, recording_id)
    call_id = connection.execute(sa.select(recordings.c.call_id).where(recordings.c.id == recording_id)).scalar()
    if call_id is not None:
        call = _locked(connection, call_id)
        found = _recordings(connection, call_id)
        if superseding.settle(connection, call_id, found):
            found = _recordings(connection, call_id)
        _follow(connection, call, _counted(call, found), is_new=False)
        reduce_addresses(connection, call_id, found)


def look_ups_ended(connection: Connection, call_id: int, *, reason_code: str, reason: str) -> None:
    """No recording was named in all look-ups: the call has none, or what its live requests sent."""
    move(connection, call_id, "no-recording", reason_code=reason_code, reason=reason)
    _follow_live(connection, call_id, _recordings(connection, call_id))


def lock(connection: Connection, recording: Any) -> None:
    """Lock a recording's call. Whoever locks a recording too locks its call first."""
    if recording.call_id is not None:
        _locked(connection, recording.call_id)


def wait_for_selection(
    connection: Connection, recording: Any, *, reason_code: str, reason: str, due_at: datetime
) -> None:
    """A recording's call is `heard` and waits, unless other recordings decide its state."""
    if recording.call_id is None:
        return
    counted = _counted(_locked(connection, recording.call_id), _recordings(connection, recording.call_id))
    if any(each.id == recording.id for each in counted):
        move(connection, recording.call_id, "heard", reason_code=reason_code, reason=reason, due_at=due_at)


def recording_kept(connection: Connection, recording_id: int, *, code: str, sentence: str) -> None:
    """Record why a recording was not selected for annotators, and update its call."""
    call_id = connection.execute(sa.select(recordings.c.call_id).where(recordings.c.id == recording_id)).scalar()
    if call_id is None:
        return
    merged = dict(_locked(connection, call_id).merged or {})
    merged["kept"] = {**merged.get("kept", {}), str(recording_id): [code, sentence]}
    db.update(connection, calls, call_id, merged=merged)
    recording_moved(connection, recording_id)


def _counted(call: sa.Row[Any], found: Sequence[sa.Row[Any]]) -> Sequence[sa.Row[Any]]:
    """The recordings that decide a call's state: live pieces only if no recording of the whole call is to be had."""
    whole = superseding.own(found)
    if any(each.state not in ("refused", "lost") for each in whole):
        return whole
    may_come = call.state == "expected" and any(source not in _NO_REPORT for source in call.seen_by or ())
    return whole if may_come else found


def _follow_live(connection: Connection, call_id: int, found: Sequence[sa.Row[Any]]) -> None:
    """Where the provider has no recording, the call goes on with what its live requests sent."""
    if not any(each.source == LIVE_SOURCE for each in found):
        return
    call = _locked(connection, call_id)
    if call.state == "no-recording":
        _follow(connection, call, _counted(call, found), is_new=False)


def url_of(call: sa.Row[Any], recording: sa.Row[Any]) -> str | None:
    """The last reported address of a call's recording; None if there was none, or if it was reduced since."""
    found = merging.urls(call).get(recording.source_identity) or call.recording_url
    return None if found and merging.is_reduced(found) else found


def reduce_addresses(connection: Connection, call_id: int, found: Sequence[sa.Row[Any]]) -> None:
    """Remove telephone numbers from a call's addresses when the addresses are no longer needed."""
    if not found or any(recording.state in NEEDED for recording in found):
        return
    if changed := merging.reduced(_locked(connection, call_id)):
        db.update(connection, calls, call_id, **changed)


def _name_of(connection: Connection, call_sid: str, *, key: bytes) -> str:
    """The call's id; for an erased call whose id contained a phone number, its keyed hash."""
    name = phone_numbers.hidden(call_sid, key)
    if name == call_sid:
        return call_sid
    known = connection.execute(sa.select(calls.c.id).where(calls.c.provider == PROVIDER, calls.c.call_sid == name))
    return name if known.first() is not None else call_sid


def _follow(
    connection: Connection,
    call: sa.Row[Any],
    found: Sequence[sa.Row[Any]],
    *,
    is_new: bool,
    priority: int = job_kinds.LIVE,
) -> None:
    """Update the state from the known values. A repeated event does not undo a decision with a reason."""
    if found:
        decision = states.by_recordings([_progress_of(connection, call, each) for each in found])
        if decision.state == call.state and decision.reason_code and decision.reason != call.reason:
            move(connection, call.id, decision.state, reason_code=decision.reason_code, reason=decision.reason)
        if decision.state == call.state or (call.state == "kept" and decision.state == "heard"):
            return  # what is open has the reason, due time and tries of whoever works on it
    elif is_new or call.state == "expected" or call.reason_code == "no-conversation":
        decision = states.by_status(call.status)
        same = not is_new and (decision.state, decision.next_action) == (call.state, call.next_action)
        old = states.first_rung(call.ended_at or call.started_at, tables.now())
        if same and not (decision.next_action == LOOK_UP and old > call.tries):
            if decision.reason_code == "no-conversation" and decision.reason != call.reason:
                db.update(connection, calls, call.id, reason=decision.reason)
            return
    else:
        return
    at = tables.now()
    tries, due_at = 0, at
    if decision.next_action == LOOK_UP:
        tries = states.first_rung(call.ended_at or call.started_at, at)
        due_at = at if tries else at + LADDER[0]
    elif decision.next_action == WAIT:
        due_at = at + LONGEST_CALL
    move(
        connection, call.id, decision.state, reason_code=decision.reason_code, reason=decision.reason,
        next_action=decision.next_action, due_at=due_at if decision.next_action else None, tries=tries,
        priority=priority,
    )  # fmt: skip
    if decision.next_action == FETCH:
        for each in found:
            if each.state == "found" and not each.object_key:
                enqueueing.enqueue(
                    connection, job_kinds.FETCH_RECORDING, key=str(each.id), priority=priority, recording_id=each.id
                )


def _add_recording(
    connection: Connection,
    call: sa.Row[Any],
    event: CallEvent,
    found: Sequence[sa.Row[Any]],
    *,
    key: bytes,
    priority: int,
) -> bool:
    """The row of the recording an event names, unless it is erased or an object of this call holds it; True if changed.

    One that could not be fetched is tried again when its address is another now.
    """
    url = str(event.recording_url)
    identity = recording_identity(event.call_sid, url)
    if tombstones.why_erased(connection, identity, key=key) or any(
        each.source == "object" and each.state not in GONE for each in found
    ):
        return False
    values = {
        "source": PROVIDER,
        "source_identity": identity,
        "call_id": call.id,
        "call_sid": call.call_sid,
        "call_duration_s": call.talk_seconds,
        "priority": priority,
        "state": "found",
    }
    recording_id, is_new = db.insert_once(connection, recordings, values, key=("source", "source_identity"))
    if not is_new:
        there = connection.execute(sa.select(recordings).where(recordings.c.id == recording_id)).one()
        old = merging.urls(call).get(identity)
        new = merging.urls(_locked(connection, call.id)).get(identity)
        if there.state not in ("refused", "lost") or there.object_key or old == new:
            return False
        db.update(connection, recordings, recording_id, state="found", reason_code=None, reason=None)
    enqueueing.enqueue(
        connection, job_kinds.FETCH_RECORDING, key=str(recording_id), priority=priority, recording_id=recording_id
    )
    return True


def _adopt(connection: Connection, call: sa.Row[Any]) -> None:
    """Adopt audio named after this call that reached the object store before any message about the call."""
    named = sa.select(objects.c.recording_id).where(objects.c.name == call.call_sid)
    mine = sa.and_(recordings.c.id.in_(named), recordings.c.call_id.is_(None), recordings.c.synthetic.is_(False))
    values = {"call_id": call.id, "call_sid": call.call_sid, "call_duration_s": call.talk_seconds}
    connection.execute(sa.update(recordings).where(mine).values(**values))


def _recordings(connection: Connection, call_id: int) -> Sequence[sa.Row[Any]]:
    return connection.execute(sa.select(recordings).where(recordings.c.call_id == call_id)).all()


def _progress_of(connection: Connection, call: sa.Row[Any], recording: sa.Row[Any]) -> RecordingProgress:
    made = sa.select(tasks.c.selection_reason).where(tasks.c.recording_id == recording.id)
    work = connection.execute(made.where(tasks.c.state.in_(("wanted", "open", "annotated")))).all()
    same = transcriptions.c.audio_sha256 == recording.sha256 if recording.sha256 else sa.false()  # or a twin was
    same_audio = (
        sa.select(transcriptions.c.id).where(sa.or_(transcriptions.c.recording_id == recording.id, same)).limit(1)
    )
    kept = ((call.merged or {}).get("kept") or {}).get(str(recording.id))
    return RecordingProgress(
        state=recording.state,
        has_object=bool(recording.object_key) or recording.source == "object",
        transcribed=connection.execute(same_audio).first() is not None,
        selected=", ".join(sorted({row.selection_reason or "wanted" for row in work})) or None,
        kept=(str(kept[0]), str(kept[1])) if kept else None,
        reason=(recording.reason_code, recording.reason or "") if recording.reason_code else None,
    )


def _company(connection: Connection, call: sa.Row[Any], number: str) -> dict[str, Any]:
    """Upsert the row of the company's number; returns the call's columns that follow from it."""
    if pseudonyms.is_masked(number):  # many callers may share it
        return {}
    db.insert_once(connection, company_numbers, {"pseudonym": number}, key=("pseudonym",))
    mine = sa.select(company_numbers.c.consent_purpose).where(company_numbers.c.pseudonym == number)
    purpose = connection.execute(mine).scalar()
    return {"consent_purpose": purpose} if purpose and call.consent_purpose is None else {}


def _locked(connection: Connection, call_id: int) -> sa.Row[Any]:
    return connection.execute(sa.select(calls).where(calls.c.id == call_id).with_for_update()).one()


def _open_now(action: str) -> dict[str, Any]:
    return {"state": "expected", "next_action": action, "due_at": tables.now()}
