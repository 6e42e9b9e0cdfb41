"""Recording -> Object: the original found or fetched, and one normalised WAV in our own bucket.

Objects in other systems' buckets are only read. An upload or a web address is copied into our bucket as an original,
because its owner may delete it. The WAV for people and for the model is `derived/{sha256 of the original}/audio.wav`,
with its pieces beside it if the call is longer than a task may be; both can be rebuilt at any time. Audio is read and
written a few seconds at a time, because a call may last four hours.

A recording that is missing, forbidden, empty, not audio or too long becomes `refused` with a reason. One that is cut or
damaged becomes `ready` with the reason `audio-cut` or `audio-damaged` (`lengths`). Before either, a call's recording is
fetched once more. Retrying the job of a refused recording ingests it again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from ml_backend import db
from ml_backend.audio import decoding, quality, spans
from ml_backend.calls import ledger, pseudonyms, tombstones
from ml_backend.context import Context, JobContext
from ml_backend.errors import ConfigurationError, PermanentError
from ml_backend.jobs import enqueueing, failpoints, job_kinds
from ml_backend.storage.object_store import sha256_of
from ml_backend.tables import annotations as written
from ml_backend.tables import recordings, tasks, waveforms
from sync.label_studio import label_studio_client as label_studio
from sync.outbound.fetching import outbound_of
from sync.recordings import layouts, lengths, refetching, removal
from sync.recordings.originals import need_room

DERIVED = "derived/{sha256}/audio.wav"
ORIGINAL = "originals/{sha256}{suffix}"
_LEFT_ALONE = ("erased", "expired", "spooled", "lost", "superseded")


@dataclass(frozen=True)
class _Original:
    """A temporary local copy of the original, and the object it is stored as."""

    path: Path
    bucket: str
    key: str
    sha256: str
    size_bytes: int


def ingest_recording(context: JobContext, recording_id: int, transcribe: int = 1) -> None:
    """Recording -> Object; then its transcription. Safe to repeat: a ready recording only moves on.

    Without `transcribe` it is transcribed only if a task waits for it: annotated tasks need only the audio.
    """
    recording = context.db.row(recordings, recording_id)
    if recording.state in _LEFT_ALONE or refetching.waits(recording):
        return
    values: dict[str, Any] = {}
    levels: list[str] = []
    if recording.state != "ready":
        need_room(context)
        try:
            with tempfile.TemporaryDirectory(prefix="kaan-ingest-") as folder:
                values = _normalised(context, recording, Path(folder))
        except PermanentError as error:
            again = refetching.once(context, recording, error.code, error.sentence)
            if not again and not refetching.fall_back(context, recording):
                _refuse(context, recording_id, error.code, error.sentence)
            return
        except ConfigurationError as error:  # the store or Label Studio refuses access: shown, and retried by a person
            _refuse(context, recording_id, error.code, error.sentence)
            raise
        levels = values.pop("levels")
        if _has_another_way(context, recording, values):
            return
        failpoints.hit("ingest.before-commit")
    if (
        not _go_on(context, recording, values, levels, transcribe=bool(transcribe)) and values
    ):  # erased meanwhile: what was just made goes too
        removal.remove_audio(context, SimpleNamespace(**{**recording._asdict(), **values}), removal.Removed())


def _go_on(
    context: JobContext, recording: sa.Row[Any], values: dict[str, Any], levels: list[str], *, transcribe: bool
) -> bool:
    """Store the result and enqueue what follows; False when the recording was erased or expired meanwhile."""
    with context.db.transaction() as connection:
        ledger.lock(connection, recording)
        if not refetching.is_wanted(connection, recording.id):
            return False
        if values:
            db.update(connection, recordings, recording.id, **values)
            drawn = {"recording_id": recording.id, "channels": levels}
            db.upsert(connection, waveforms, drawn, key=("recording_id",))
        voice = recording.synthetic and (
            recording.known_text is not None
            or layouts.is_voice(recording.bucket, recording.object_key, context.settings)
        )
        following = (
            job_kinds.SELECT_RECORDING if voice else job_kinds.TRANSCRIBE_RECORDING
        )  # our own speech needs no transcription
        mine, alive = tasks.c.recording_id == recording.id, written.c.deleted_at.is_(None)
        waits = sa.select(tasks.c.id).where(mine, tasks.c.state.in_(("open", "wanted", "waiting"))).limit(1)
        if transcribe or connection.execute(waits).first():
            enqueueing.enqueue(
                connection,
                following,
                key=str(recording.id),
                priority=enqueueing.urgency(context),
                recording_id=recording.id,
            )
        done = sa.exists().where(written.c.task_id == tasks.c.id, alive)  # the audio decides about them again
        for task_id in connection.execute(sa.select(tasks.c.id).where(mine, done)).scalars().all() if values else ():
            enqueueing.enqueue(connection, job_kinds.SAMPLE_TASK, key=str(task_id), task_id=task_id)
        ledger.recording_moved(connection, recording.id)
    return True


def _has_another_way(context: Context, recording: sa.Row[Any], values: dict[str, Any]) -> bool:
    """Whether faulty audio is fetched once more, or an earlier original is better; either enqueues its own ingest."""
    duration_s = float(values["duration_s"])
    code, reason = values["reason_code"], values["reason"]
    if code and refetching.once(context, recording, code, reason, duration_s=duration_s):
        return True
    return refetching.fall_back(context, recording, duration_s=duration_s)


def _normalised(context: Context, recording: sa.Row[Any], folder: Path) -> dict[str, Any]:
    """Fetch, decode, measure, cut, store; gives the row's new values."""
    limits = decoding.Limits(max_duration_s=context.settings.max_recording_s)
    wav = folder / "audio.wav"
    with _original(context, recording, folder) as original:
        decoded = decoding.decode(original.path, wav, limits=limits)
        measured = quality.measure_wav(wav, source_rate_hz=decoded.rate_hz)
        bucket, key = context.settings.audio_bucket, DERIVED.format(sha256=original.sha256)
        context.store.ensure_bucket(bucket)
        _keep(context, bucket, key, wav)
        spans = cut(context, wav, measured, sha256=original.sha256, duration_s=decoded.duration_s, folder=folder)
    call_s = lengths.of_call(context, recording)
    code, reason = lengths.fault(decoded, call_s=call_s)
    found = measured.quality
    return {
        "bucket": original.bucket,
        "object_key": original.key,
        "sha256": original.sha256,
        "size_bytes": original.size_bytes,
        "container": decoded.container[:40],
        "derived_key": key,
        "duration_s": decoded.duration_s,
        "header_duration_s": decoded.header_duration_s,
        "call_duration_s": call_s,
        "rate_hz": decoded.rate_hz,
        "channels": decoded.channels,
        "quality": {
            **{name: value for name, value in (recording.quality or {}).items() if name in refetching.KEPT},
            "label": found.label,
            "parts": found.parts,
            "warnings": list(decoded.warnings),
        },
        "quality_score": found.score,
        "spans": spans,
        "speech": measured.spans(),
        "levels": list(measured.levels),
        "state": "ready",
        "reason_code": code,
        "reason": reason,
    }


@contextmanager
def _original(context: Context, recording: sa.Row[Any], folder: Path) -> Iterator[_Original]:
    """The original as a local file, from one of the three permitted kinds of source."""
    with context.db.reading() as connection:
        place = f"s3://{recording.bucket}/{recording.object_key}"
        hidden_by = pseudonyms.key_of(context.settings)
        tombstones.refuse_erased(connection, recording.source_identity, recording.call_sid, place, key=hidden_by)
    limit_bytes = int(context.settings.max_recording_mb * 1_000_000)
    if recording.object_key and recording.bucket:
        kept = _from_store(context, recording.bucket, recording.object_key, folder, limit_bytes=limit_bytes)
        _not_erased(context, kept.sha256)
        yield kept
        return
    identity = str(recording.source_identity)
    suffix = Path(identity.partition("?")[0]).suffix.lower()[:8]
    path = folder / f"original{suffix if suffix[1:].isalnum() else ''}"
    if recording.source == "upload":
        client = label_studio.client_of(context)
        client.fetch_upload(identity.removeprefix(client.url), path, limit_bytes=limit_bytes)
    else:  # a web address: `fetch` refuses it unless its origin is listed
        outbound_of(context).fetch(identity, path, limit_bytes=limit_bytes)  # a task's address gets no credentials
    sha256 = sha256_of(path)
    if not path.stat().st_size:
        raise PermanentError("audio-empty", "The recording has no bytes.", "Upload it again.")
    _not_erased(context, sha256)
    bucket, key = context.settings.audio_bucket, ORIGINAL.format(sha256=sha256, suffix=path.suffix)
    context.store.ensure_bucket(bucket)
    _keep(context, bucket, key, path)
    yield _Original(path, bucket, key, sha256, path.stat().st_size)


def _not_erased(context: Context, sha256: str) -> None:
    """Refuse audio that was erased and is now found under another name."""
    with context.db.reading() as connection:
        identity = tombstones.audio_identity(sha256)
        tombstones.refuse_erased(connection, identity, key=pseudonyms.key_of(context.settings))


def _from_store(context: Context, bucket: str, key: str, folder: Path, *, limit_bytes: int) -> _Original:
    found = context.store.stat(bucket, key)
    if found is None:
        raise PermanentError("audio-missing", "The recording is not in the object store.", "Check its bucket and key.")
    if found.size_bytes > limit_bytes:
        raise PermanentError(
            "audio-too-large",
            f"The recording is larger than {limit_bytes // 1_000_000} MB.",
            "Raise MAX_RECORDING_MB, or split the recording.",
        )
    path = context.store.open_local(bucket, key)
    if path is None:
        path = folder / f"original{Path(key).suffix.lower()[:8]}"
        sha256 = context.store.fetch(bucket, key, path)
    else:
        sha256 = sha256_of(path)
    return _Original(path, bucket, key, sha256, path.stat().st_size)


def _keep(context: Context, bucket: str, key: str, path: Path) -> None:
    """Store a file under a key made from its original's hash; an existing object is kept."""
    try:
        context.store.put_file(bucket, key, path)
    except PermanentError as error:
        if error.code != "object-exists":
            raise


def _refuse(context: Context, recording_id: int, code: str, sentence: str) -> None:
    """Keep the reason and let the recording's tasks show it."""
    with context.db.transaction() as connection:
        if not refetching.is_wanted(connection, recording_id):
            return
        db.update(connection, recordings, recording_id, state="refused", reason_code=code, reason=sentence)
        concerned = sa.select(tasks.c.project_id).where(tasks.c.recording_id == recording_id).distinct()
        for (project_id,) in connection.execute(concerned).all():
            enqueueing.enqueue(connection, job_kinds.CREATE_TASKS, key=str(project_id), project_id=project_id)
        ledger.recording_moved(connection, recording_id)


PIECE = "derived/{sha256}/{start_ms}-{end_ms}.wav"
Spans = list[list[Any]]  # [[start_s, end_s, key], ...], as the row keeps them


def cut(
    context: Context, wav: Path, measured: quality.Measured, *, sha256: str, duration_s: float, folder: Path
) -> Spans | None:
    """Store the pieces of a long call; gives their spans, or None for a call that stays whole. Safe to repeat."""
    most_s = context.settings.max_task_s
    if duration_s <= most_s:
        return None
    found = spans.spans(measured.speech, measured.powers, duration_s=duration_s, most_s=most_s)
    made: Spans = []
    for start_s, end_s in found:
        key = PIECE.format(sha256=sha256, start_ms=round(start_s * 1000), end_ms=round(end_s * 1000))
        piece = folder / "piece.wav"
        decoding.copy_part(wav, piece, start_s=start_s, end_s=end_s)
        try:
            context.store.put_file(context.settings.audio_bucket, key, piece)
        except PermanentError as error:
            if error.code != "object-exists":  # made by another release from the same original: equivalent
                raise
        made.append([start_s, end_s, key])
    return made
