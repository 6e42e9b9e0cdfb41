"""A call's recording at the provider -> its original in our store; then its ingest.

Three ways are tried in this order: the address with our key (Basic), the address without credentials (the provider
allows our IP, or the host does not support Basic), a signed link from a new look-up of the call. When none works:

    401                     the key is wrong for every call: the account's queue stops (`sync.exotel.stops`)
    403, 404, a page        not ready yet or moved: scheduled waits (LADDER), each with a new look-up; then `missing`
    429, 5xx, network       retried with back-off and jitter, or when the provider says; then the scheduled waits
    not on the list, size   refused with the reason: `jobs retry` after the setting was changed
"""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import db, log, tables
from ml_backend.calls import ledger, pseudonyms, tombstones
from ml_backend.calls.events import of_call, recording_identity
from ml_backend.calls.states import LADDER
from ml_backend.context import JobContext
from ml_backend.errors import ConfigurationError, KaanError, PermanentError, RetryableError
from ml_backend.jobs import enqueueing, failpoints, job_kinds
from ml_backend.tables import calls, recordings
from sync.exotel import exotel_client as exotel
from sync.exotel import rate_limiter, stops
from sync.outbound.fetching import Fetched, outbound_of
from sync.recordings import originals, refetching, spool

REFUSED = ("audio-source-refused", "audio-too-large")  # a person has to change something
_EXTENSIONS = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/ogg": "ogg"}
_FIRST_BYTES = ((b"RIFF", "wav"), (b"ID3", "mp3"), (b"\xff\xfb", "mp3"), (b"\xff\xf3", "mp3"), (b"OggS", "ogg"))

_log = log.get("downloads")


def fetch_recording(context: JobContext, recording_id: int) -> None:
    """Recording at the provider -> Object; then its ingest. Safe to repeat: a stored recording is left alone."""
    recording = context.db.row(recordings, recording_id)
    asked_again = recording.state in ("refused", "lost") and not recording.object_key  # a person retried the job
    if recording.call_id is None or not (refetching.waits(recording) or asked_again):
        return
    if at := stops.until(context):
        _again(context, recording, at)
        return
    try:
        originals.need_room(context)
        with tempfile.TemporaryDirectory(prefix="kaan-fetch-") as folder:
            path = Path(folder) / "original"
            found = _fetch(context, recording, path)
            stops.accepted(context)
            failpoints.hit("download.before-keep")
            values = originals.keep_original(context, recording, path, extension=_extension(found, path))
    except ConfigurationError as error:
        if error.code != "http-unauthorised":
            raise
        _again(context, recording, stops.stop(context, error))
        return
    except RetryableError as error:
        _pause(context, recording, error)
        return
    except PermanentError as error:
        if error.code in REFUSED:
            _end(context, recording_id, "refused", error.code, error.sentence)
        else:
            _step(context, recording, error)
        return
    failpoints.hit("download.after-keep")
    _kept(context, recording_id, values)


def _fetch(context: JobContext, recording: sa.Row[Any], path: Path) -> Fetched:
    """The bytes by the first way that works; else the error of the first way."""
    way, limit = outbound_of(context), int(context.settings.max_recording_mb * 1_000_000)
    basic = exotel.credentials(context.settings)
    url = ledger.url_of(context.db.row(calls, recording.call_id), recording)
    try:
        if not url:
            raise PermanentError("http-missing", "No address of the recording is known.", "It is looked up again.")
        return way.fetch(url, path, limit_bytes=limit, basic=basic)
    except (PermanentError, ConfigurationError) as error:
        if error.code in REFUSED or not exotel.is_set(context.settings):
            raise
        # Also after a 401: if the key is good for the API, it may give a signed link; otherwise the look-up raises 401.
        for address in _addresses_now(context, recording, url):
            try:
                return way.fetch(address, path, limit_bytes=limit, basic=basic)
            except KaanError as second:
                _log.info("fresh address did not work either", recording=recording.id, code=second.code)
                if second.code in REFUSED or isinstance(second, RetryableError):
                    raise
        raise


def _addresses_now(context: JobContext, recording: sa.Row[Any], known: str | None) -> list[str]:
    """The provider's current addresses: a signed link, or another address. The call's other facts are merged too."""
    try:
        call = exotel.client_of(context).call(recording.call_sid)
    except (PermanentError, ConfigurationError) as error:
        if error.code == "http-unauthorised":
            raise
        return []  # the call is unknown, or closed to this key: the first error is the better reason
    event = of_call(call, source="details", zone=context.settings.exotel_time_zone)
    key = pseudonyms.key_of(context.settings)
    with context.db.transaction() as connection:
        ledger.record(connection, event, key=key, priority=recording.priority)
    if not event.recording_url:
        return []
    if recording_identity(recording.call_sid, event.recording_url) != recording.source_identity:
        return []  # another recording of the same call, which has its own row and job
    given = [call.get("PreSignedRecordingUrl"), event.recording_url]
    return [text for text in given if isinstance(text, str) and text and text != known]


def _kept(context: JobContext, recording_id: int, values: dict[str, Any]) -> None:
    """Record that the original is stored, and continue the call. If the call was erased meanwhile, remove the bytes."""
    key = pseudonyms.key_of(context.settings)
    with context.db.transaction() as connection:
        mine = sa.select(recordings).where(recordings.c.id == recording_id).with_for_update()
        now = connection.execute(mine).one()
        bytes_ = tombstones.audio_identity(values["sha256"])
        why = tombstones.why_erased(connection, now.source_identity, now.call_sid, bytes_, key=key)
        gone = why is not None or now.state in ("erased", "expired")
        if why and now.state not in ("erased", "expired"):  # the same audio was erased under another name
            reason = f"This recording was {why} and is not taken in again."
            db.update(connection, recordings, recording_id, state=why, reason_code=why, reason=reason)
            ledger.recording_moved(connection, recording_id)
        if not gone:
            db.update(connection, recordings, recording_id, **values)
            ledger.recording_moved(connection, recording_id)
            if values["state"] == "stored":
                enqueueing.enqueue(
                    connection, job_kinds.INGEST_RECORDING, key=str(recording_id), priority=now.priority,
                    recording_id=recording_id,
                )  # fmt: skip
    if gone:
        spool.remove(context, recording_id)
        if values.get("object_key"):
            context.store.delete(values["bucket"], values["object_key"])


def _pause(context: JobContext, recording: sa.Row[Any], error: RetryableError) -> None:
    """A temporary failure: the runner tries again. After its last try, the next scheduled wait begins."""
    wait_s = rate_limiter.pause_s(error, context.attempt)
    at = tables.now() + timedelta(seconds=wait_s)
    if context.attempt < job_kinds.FETCH_RECORDING.max_attempts:
        _plan(context, recording, error, due_at=at)
        raise RetryableError(error.code, error.sentence, error.next_step, after_s=wait_s)
    if error.code in rate_limiter.THEIRS:
        _step(context, recording, error)
    else:
        _plan(context, recording, error, due_at=at)
        _again(context, recording, at)


def _step(context: JobContext, recording: sa.Row[Any], error: KaanError) -> None:
    """Schedule the next wait. After the last one the recording is missing, unless an earlier original can be used."""
    tries = int(context.db.row(calls, recording.call_id).tries)
    if recording.object_key or tries >= len(LADDER):
        sentence = f"The provider did not deliver it in {len(LADDER) + 1} tries over about 31 hours: {error.sentence}"
        _end(context, recording.id, "lost", "missing-at-provider", sentence)
        return
    at = tables.now() + LADDER[tries]
    with context.db.transaction() as connection:
        if _move(connection, recording, error, due_at=at, tries=tries + 1):
            enqueueing.enqueue(
                connection, job_kinds.FETCH_RECORDING, key=str(recording.id), priority=recording.priority, due_at=at,
                recording_id=recording.id,
            )  # fmt: skip


def _plan(context: JobContext, recording: sa.Row[Any], error: KaanError, *, due_at: Any) -> None:
    with context.db.transaction() as connection:
        _move(connection, recording, error, due_at=due_at)


def _move(
    connection: sa.Connection, recording: sa.Row[Any], error: KaanError, *, due_at: Any, tries: int | None = None
) -> bool:
    """Record why and until when the call waits for this recording; False when the call no longer waits."""
    now = connection.execute(sa.select(recordings.c.state).where(recordings.c.id == recording.id)).scalar_one()
    state = connection.execute(sa.select(calls.c.state).where(calls.c.id == recording.call_id)).scalar_one()
    if now in ("erased", "expired") or state not in ("to-fetch", "missing", "refused", "no-recording", "expected"):
        return now not in ("erased", "expired")
    db.update(connection, recordings, recording.id, state="found", reason_code=None, reason=None)
    return ledger.move(
        connection, recording.call_id, "to-fetch", reason_code=error.code, reason=error.sentence, due_at=due_at,
        tries=tries,
    )  # fmt: skip


def _end(context: JobContext, recording_id: int, state: str, code: str, sentence: str) -> None:
    with context.db.transaction() as connection:
        recording = connection.execute(sa.select(recordings).where(recordings.c.id == recording_id)).one()
        if recording.state in ("erased", "expired") or refetching.give_up(connection, recording):
            return
        db.update(connection, recordings, recording_id, state=state, reason_code=code, reason=sentence)
        ledger.recording_moved(connection, recording_id)


def _again(context: JobContext, recording: sa.Row[Any], at: Any) -> None:
    """Reschedule while the account's queue is stopped; this does not count as an attempt."""
    arguments = {"key": recording.id, "priority": recording.priority, "recording_id": recording.id}
    stops.again(context, job_kinds.FETCH_RECORDING, at, **arguments)


def _extension(found: Fetched, path: Path) -> str:
    """mp3, wav, ...: from the address, else from the first bytes, else from the Content-Type."""
    suffix = Path(found.address.file_name).suffix.lower().lstrip(".")
    if suffix.isalnum() and len(suffix) <= 4 and not suffix.isdigit():
        return suffix
    with path.open("rb") as stream:
        first = stream.read(4)
    for mark, extension in _FIRST_BYTES:
        if first.startswith(mark):
            return extension
    return _EXTENSIONS.get(found.content_type.partition(";")[0].strip().lower(), "bin")
