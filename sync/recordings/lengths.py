"""Decoded length, header length and the call's length -> the fault of a recording, as a code and a sentence.

Three lengths are compared because each may be missing: an MP3 without a frame count does not state its length, a
decoder stops at damage without an error, and the provider states no length for some calls. Damage at the very end is
ignored (a tag, a padding byte) if one of the lengths confirms that the audio is complete.

Tolerances: against the header, two frames (see `decoder_process`); against the call, 3 s or 2 %, whichever is more,
because providers count whole seconds and begin to record shortly after both sides are connected. A recording may be
longer than the conversation, because greetings and waiting are recorded too. A call with several recordings has no
length to compare one of them with.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ml_backend.audio import decoding
from ml_backend.calls.events import LIVE_SOURCE
from ml_backend.context import Context
from ml_backend.tables import calls, recordings

_LEAST_S, _SHARE = 3.0, 0.02


def of_call(context: Context, recording: sa.Row[Any]) -> float | None:
    """The call's length in seconds according to its provider; None if it is unknown or cannot be compared."""
    if recording.call_id is None or recording.source == LIVE_SOURCE:  # a live request's audio is a part of its call
        return None
    whole = sa.and_(recordings.c.call_id == recording.call_id, recordings.c.source != LIVE_SOURCE)
    siblings = sa.select(sa.func.count()).where(whole).scalar_subquery()
    rows = context.db.rows(
        sa.select(calls.c.talk_seconds, siblings.label("siblings")).where(calls.c.id == recording.call_id)
    )
    if not rows or rows[0].siblings > 1 or not rows[0].talk_seconds or rows[0].talk_seconds <= 0:
        return None
    return float(rows[0].talk_seconds)


def fault(decoded: decoding.DecodedAudio, *, call_s: float | None) -> tuple[str | None, str | None]:
    """(code, sentence) of the fault in decoded audio; (None, None) if none is known."""
    if decoded.cut and decoded.header_duration_s is not None:
        return "audio-cut", _short(decoded.duration_s, decoded.header_duration_s, "its header says")
    if decoded.cut:
        return "audio-cut", f"The recording ends early: {decoded.duration_s:.2f} s could be decoded."
    if call_s is not None and is_short(decoded.duration_s, call_s):
        return short_of_call(decoded.duration_s, call_s)
    unconfirmed = "damaged-end" in decoded.warnings and decoded.header_duration_s is None and call_s is None
    if "damaged-packets" in decoded.warnings or unconfirmed:
        return "audio-damaged", f"Parts of the recording are damaged; {decoded.duration_s:.2f} s could be decoded."
    if "more-than-header" in decoded.warnings:
        return "audio-damaged", f"The file goes on after the end of its sound; {decoded.duration_s:.2f} s were read."
    return None, None


def short_of_call(duration_s: float, call_s: float) -> tuple[str, str]:
    """(code, sentence) for audio that is shorter than its call."""
    return "audio-cut", _short(duration_s, call_s, "the call lasted")


def is_short(duration_s: float, call_s: float) -> bool:
    """Whether audio is shorter than its call by more than the tolerance."""
    return call_s - duration_s > max(_LEAST_S, _SHARE * call_s)


def _short(duration_s: float, whole_s: float, who: str) -> str:
    return f"The recording is cut: {duration_s:.2f} s could be decoded of the {whole_s:.2f} s {who}."
