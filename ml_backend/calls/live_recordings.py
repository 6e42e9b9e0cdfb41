"""The audio of a live request -> a Recording of its call, which then goes the usual way.

Audio is kept only where a person asked for it: for a company number with the switch on (`calls numbers set NUMBER
--live-audio on`) whose stated consent purpose is training. Both are asked again here, in the transaction that makes the
row, and so are tombstones. Each request is one recording with the identity `live:{call}:{digest}`, so a request that is
sent again is the same one.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db
from ml_backend.calls import ledger, pseudonyms, superseding, tombstones
from ml_backend.calls.consent import LEARNING
from ml_backend.calls.events import LIVE_SOURCE, CallEvent
from ml_backend.calls.states import ENDED, SUPERSEDED
from ml_backend.errors import PermanentError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import calls, company_numbers, recordings

SPEAKERS = {"agent": 0, "customer": 1}  # who speaks in a request -> `agent_channel` of audio with one channel
FOLDER = "live-requests"  # of the object store's keys: a scan leaves it alone
NOT_KEPT = ("erased", "expired", "live-audio-off")
_DIGEST_CHARS = 24


@dataclass(frozen=True)
class LiveAudio:
    """The facts of what one request sent. `number` is a pseudonym; None: the ledger knows the call's number."""

    call: str
    sha256: str
    size_bytes: int
    at: datetime
    number: str | None = None
    suffix: str = ".wav"
    language: str | None = None
    speaker: str | None = None
    caller: str | None = None  # a pseudonym

    @property
    def identity(self) -> str:
        return f"{LIVE_SOURCE}:{self.call}:{self.sha256[:_DIGEST_CHARS]}"

    def key_of(self, key: bytes) -> str:
        """The key of its object."""
        return f"{folder_of(self.call, key)}{self.sha256}{self.suffix}"


def folder_of(call: str, key: bytes) -> str:
    """The prefix of all objects of a call's live requests. An id may hold a phone number, so it is not in the key."""
    return f"{FOLDER}/{name_of(call, key)}/"


def name_of(call: str, key: bytes) -> str:
    """A call's name where its id must not be read."""
    return hmac.new(key, call.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()[:32]


def numbers(connection: Connection) -> frozenset[str]:
    """Pseudonyms of the company numbers whose live audio is kept."""
    mine = sa.select(company_numbers.c.pseudonym).where(*_kept())
    return frozenset(connection.execute(mine).scalars())


def refuse_unwanted(connection: Connection, audio: LiveAudio, *, key: bytes) -> None:
    """PermanentError with a code of NOT_KEPT unless this audio may be kept now."""
    call = connection.execute(sa.select(calls).where(calls.c.call_sid == audio.call)).first()
    tombstones.refuse_erased(
        connection, audio.call, audio.identity, tombstones.audio_identity(audio.sha256), key=key
    )  # fmt: skip
    if call is not None and call.state in ENDED:
        raise _unwanted(str(call.state), f"The call is {call.state}.")
    people = (audio.caller, *((call.from_pseudonym, call.to_pseudonym) if call is not None else ()))
    if tombstones.person_erased(connection, audio.at, *people):
        raise _unwanted("erased", "A person in the call was erased after this was said.")
    known = call.company_number if call is not None else None
    number = known if known is not None and not pseudonyms.is_masked(known) else audio.number
    if number is None or pseudonyms.is_masked(number):
        raise _unwanted("live-audio-off", "The company number of the call is not known.")
    mine = sa.select(company_numbers.c.id).where(company_numbers.c.pseudonym == number, *_kept())
    if connection.execute(mine).first() is None:
        raise _unwanted("live-audio-off", "Live audio of the call's company number is not kept.")
    if call is not None and call.consent_purpose not in (None, LEARNING):
        raise _unwanted("live-audio-off", f"The call's consent purpose is {call.consent_purpose!r}.")


def is_superseded(connection: Connection, call: str) -> bool:
    """Whether a recording of the whole call is ready, so that what its live requests sent adds nothing."""
    its = sa.select(recordings).join(calls, calls.c.id == recordings.c.call_id).where(calls.c.call_sid == call)
    found = connection.execute(its).all()
    if not any(each.state == "ready" for each in superseding.own(found)):
        return False
    return superseding.annotated(connection, found[0].call_id) is None


def take(connection: Connection, audio: LiveAudio, *, bucket: str, key: bytes, stored: bool = True) -> bool:
    """Insert the recording and its ingest job; gives whether it is new. Safe to repeat.

    `stored`: the object is there. Without it, the row only says that the audio was superseded when it came.
    """
    refuse_unwanted(connection, audio, key=key)
    said = CallEvent(audio.call, LIVE_SOURCE, from_=audio.caller, company_number=audio.number)
    call = ledger.record(connection, said, key=key, priority=job_kinds.LIVE)
    if call.state in ENDED:
        raise _unwanted(str(call.state), f"The call is {call.state}.")
    values = {
        "source": LIVE_SOURCE,
        "source_identity": audio.identity,
        "created_at": audio.at,
        "call_id": call.id,
        "call_sid": call.call_sid,
        "sha256": audio.sha256,
        "size_bytes": audio.size_bytes,
        "language": audio.language,
        "language_by": "asked" if audio.language else None,
        "language_asked": audio.language,
        "agent_channel": SPEAKERS.get(audio.speaker or ""),
        "priority": job_kinds.LIVE,
        "state": "stored" if stored else SUPERSEDED,
    }
    if stored:
        values |= {"bucket": bucket, "object_key": audio.key_of(key)}
    else:
        sentence = "Its call had a recording of its own when this came, so it was not kept."
        values |= {"reason_code": SUPERSEDED, "reason": sentence}
    recording_id, is_new = db.insert_once(connection, recordings, values, key=("source", "source_identity"))
    if is_new and stored:
        enqueueing.enqueue(
            connection, job_kinds.INGEST_RECORDING, key=str(recording_id), priority=job_kinds.LIVE,
            recording_id=recording_id,
        )  # fmt: skip
    if is_new:
        ledger.recording_moved(connection, recording_id)
    return is_new


def _kept() -> tuple[sa.ColumnElement[bool], ...]:
    return company_numbers.c.keeps_live_audio.is_(True), company_numbers.c.consent_purpose == LEARNING


def _unwanted(code: str, sentence: str) -> PermanentError:
    return PermanentError(code, sentence, "Nothing is to be done.")
