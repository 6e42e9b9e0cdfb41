"""A bucket's retention period -> the recordings that are due, and their expiry once a person confirmed the period.

Without a period, recordings are kept for ever. A period that would remove more than before only reports what it would
remove until it is confirmed; a longer one needs no confirmation. Expiry removes audio, never text or annotations.
Recordings under a legal hold, or in an unfinished task, stay and are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, quantities, tables
from ml_backend.calls import ledger, pseudonyms, tombstones
from ml_backend.context import JobContext
from ml_backend.errors import InvalidInput
from ml_backend.jobs import failpoints
from ml_backend.tables import calls, holds, recordings, retention, tasks
from sync.recordings.removal import Removed, remove_audio

BATCH = 20  # recordings, each with two tombstones and a call
KEPT, REPORTED, CONFIRMED = "kept", "reported", "confirmed"
WHY = "Its bucket's retention period has ended."


def shown(connection: Connection) -> list[Mapping[str, Any]]:
    """Every bucket with originals or a period: days, state, and what is due now."""
    rows = {row.bucket: row for row in connection.execute(sa.select(retention)).all()}
    held = connection.execute(sa.select(recordings.c.bucket).where(recordings.c.bucket.is_not(None)).distinct())
    found: list[Mapping[str, Any]] = []
    for bucket in sorted({*rows, *held.scalars()}):
        row = rows.get(bucket)
        days = row.days if row is not None else None
        report = due(connection, bucket, days)
        found.append({"bucket": bucket, "days": days, "state": row.state if row is not None else KEPT, **report})
    return found


def set_days(connection: Connection, bucket: str, days: int | None, *, who: str) -> Mapping[str, Any]:
    """Set a bucket's period (None: for ever); gives its row with the report of what would expire. Removes nothing."""
    row = connection.execute(sa.select(retention).where(retention.c.bucket == bucket)).first()
    longer = row is not None and row.state == CONFIRMED and row.days is not None and (days or 0) >= row.days
    state = KEPT if days is None else CONFIRMED if longer else REPORTED
    return _write(connection, bucket, days, state, who)


def confirm(connection: Connection, bucket: str, *, days: int, who: str) -> Mapping[str, Any]:
    """Put a reported period into effect; `days` must equal the reported number, against mistakes."""
    row = connection.execute(sa.select(retention).where(retention.c.bucket == bucket)).first()
    if row is None or row.days is None:
        raise InvalidInput(
            "no-period", f"Bucket {bucket[:80]} has no period.", "Set one first with `retention set BUCKET DAYS`."
        )
    if row.days != days:
        raise InvalidInput(
            "other-period", f"The period of {bucket[:80]} is {row.days} days, not {days}.", "Look at `retention show`."
        )
    return _write(connection, bucket, days, CONFIRMED, who)


def due(connection: Connection, bucket: str, days: int | None) -> dict[str, Any]:
    """Count what is older than a bucket's period: recordings and hours that expire, and recordings that stay."""
    if days is None:
        return {"recordings": 0, "hours": 0.0, "oldest": None, "held": 0, "in_use": 0}
    number = sa.func.count(recordings.c.id)
    columns = (number, sa.func.coalesce(sa.func.sum(recordings.c.duration_s), 0.0), sa.func.min(_began()))
    goes = connection.execute(_older(bucket, days, *columns).where(~_held(), ~_in_use())).one()
    oldest = goes[2]
    return {
        "recordings": int(goes[0]),
        "hours": round(float(goes[1]) / 3600, 4),
        "oldest": oldest.isoformat() if isinstance(oldest, datetime) else oldest,
        "held": int(connection.execute(_older(bucket, days, number).where(_held())).scalar_one()),
        "in_use": int(connection.execute(_older(bucket, days, number).where(~_held(), _in_use())).scalar_one()),
    }


def expire_recordings(context: JobContext, bucket: str) -> None:
    """Remove the audio of due recordings in a bucket whose period is confirmed. Safe to repeat."""
    _finish(context, bucket)  # what a killed run had begun
    key = pseudonyms.key_of(context.settings)
    while True:
        with context.db.transaction() as connection:
            row = connection.execute(sa.select(retention).where(retention.c.bucket == bucket)).first()
            if row is None or row.state != CONFIRMED or row.days is None:
                return
            mine = _older(bucket, row.days, *recordings.c).where(~_held(), ~_in_use())
            some = connection.execute(mine.order_by(recordings.c.id).limit(BATCH)).all()
            for recording in some:
                _mark_expired(connection, recording, key)
        failpoints.hit("retention.after-tombstones")
        if not some:
            return
        _finish(context, bucket)


def _mark_expired(connection: Connection, recording: Any, key: bytes) -> None:
    place = f"s3://{recording.bucket}/{recording.object_key}"
    tombstones.mark_erased(connection, "recording", recording.source_identity, key=key, why=tombstones.EXPIRED)
    tombstones.mark_erased(connection, "object", place, key=key, why=tombstones.EXPIRED)
    db.update(connection, recordings, recording.id, state="expired", reason_code="expired", reason=WHY)
    ledger.recording_moved(connection, recording.id)
    if recording.call_id is None and recording.call_sid:  # else with its call, when all its audio is gone
        ledger.forget_words(connection, tables.outcomes.c.call_sid == recording.call_sid)


def _finish(context: JobContext, bucket: str) -> None:
    """Remove the objects that expired rows still name; the row's reason names objects that the store kept."""
    mine = sa.and_(recordings.c.bucket == bucket, recordings.c.state == "expired", recordings.c.object_key.is_not(None))
    for recording in context.db.rows(sa.select(recordings).where(mine).order_by(recordings.c.id)):
        removed = Removed()
        remove_audio(context, recording, removed)
        left = quantities.shortened(f"{WHY} Not removed: {'; '.join(removed.left)}", 500) if removed.left else WHY
        nothing: dict[str, Any] = dict.fromkeys(("object_key", "derived_key", "derived_sha256", "spans"))
        context.db.update(recordings, recording.id, **nothing, reason=left)


def _began() -> sa.ColumnElement[Any]:
    return sa.func.coalesce(calls.c.started_at, recordings.c.created_at, type_=tables.UtcTime())


def _older(bucket: str, days: int, *columns: Any) -> sa.Select[Any]:
    """Recordings with an original in this bucket that are older than the period."""
    before = tables.now() - timedelta(days=days)
    from_ = recordings.outerjoin(calls, calls.c.id == recordings.c.call_id)
    mine = sa.and_(recordings.c.bucket == bucket, recordings.c.object_key.is_not(None))
    return (
        sa.select(*columns).select_from(from_).where(mine, _began() < before, recordings.c.state.not_in(_OVER))
    )  # fmt: skip


_OVER = ("erased", "expired")


def _held() -> sa.ColumnElement[bool]:
    names = (calls.c.call_sid, calls.c.from_pseudonym, calls.c.to_pseudonym)
    return sa.exists().where(sa.or_(*(holds.c.identity == name for name in names))).correlate(calls)


def _in_use() -> sa.ColumnElement[bool]:
    unfinished = tasks.c.state.in_(("waiting", "wanted", "open"))
    return sa.exists().where(tasks.c.recording_id == recordings.c.id, unfinished).correlate(recordings)


def _write(connection: Connection, bucket: str, days: int | None, state: str, who: str) -> Mapping[str, Any]:
    report = due(connection, bucket, days)
    values = {"days": days, "state": state, "report": report, "who": who[:120], "updated_at": tables.now()}
    db.upsert(connection, retention, {"bucket": bucket, **values}, key=("bucket",))
    return {"bucket": bucket, "days": days, "state": state, **report}
