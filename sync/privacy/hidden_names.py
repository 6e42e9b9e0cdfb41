"""Names with a telephone number in them -> their keyed hash: at an erasure, and once in rows of older releases.

Today a number goes when a row moves on: an address with its recording, a name with its erasure. Rows that had moved on
before that was so are walked once, a few per transaction; `checkpoints` keeps how far, so that a killed job goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, log, tables
from ml_backend.calls import ledger, merging, phone_numbers, pseudonyms
from ml_backend.context import Context
from ml_backend.tables import calls, checkpoints, recordings

DONE = "numbers-in-older-rows"
BATCH = 20  # rows in a transaction, each of which is changed at two places at most
_log = log.get("privacy")


def hide(connection: Connection, recording: Any, key: bytes) -> None:
    """Hash the recording's source and name where they contain a number. Tombstones hold the same hash."""
    now = connection.execute(sa.select(recordings).where(recordings.c.id == recording.id)).one()
    names = ("call_sid", "object_key", "derived_key")
    values: dict[str, Any] = {n: phone_numbers.hidden(getattr(now, n), key) for n in names if getattr(now, n)}
    same = recordings.c.source == now.source
    values["source_identity"] = _unique(connection, now, recordings.c.source_identity, same=same, key=key)
    earlier = (now.quality or {}).get("earlier") or ()
    if any(phone_numbers.carries_number(str(each.get("key") or "")) for each in earlier):
        values["quality"] = {name: value for name, value in now.quality.items() if name != "earlier"}
    db.update(connection, recordings, recording.id, **values)


def call_name(connection: Connection, call: Any, key: bytes) -> str:
    """What an erased call is called from now on."""
    return _unique(connection, call, calls.c.call_sid, same=calls.c.provider == call.provider, key=key)


def _unique(
    connection: Connection, row: Any, column: sa.Column[str], *, same: sa.ColumnElement[bool], key: bytes
) -> str:
    """The hash of a name, with the row's id behind it where another row has that hash already.

    Two rows of one call exist after a release that did not know hashes served for a while after one that did.
    """
    name = str(getattr(row, column.name))
    hashed = phone_numbers.hidden(name, key)
    taken = sa.select(column).where(same, column == hashed)
    return f"{hashed}:{row.id}" if hashed != name and connection.execute(taken).first() is not None else hashed


def hide_in_older_rows(context: Context) -> None:
    """Walk calls, recordings and tombstones once. Safe to repeat and to kill."""
    key = pseudonyms.key_in(context.settings, context.db)
    walks = ((calls, _call), (recordings, _recording), (tables.tombstones, _tombstone))
    if sum(_walk(context, table, each, key) for table, each in walks):
        _log.info("numbers_hidden_in_older_rows")


def _walk(context: Context, table: sa.Table, hide: Callable[[Connection, Any, bytes], None], key: bytes) -> bool:
    """Every row there is; whether there was anything to do."""
    name, walked = f"{DONE}:{table.name}", False
    while True:
        with context.db.transaction() as connection:
            found = connection.execute(sa.select(checkpoints).where(checkpoints.c.name == name)).first()
            if found is not None and found.state == "done":
                return walked
            after = int(found.position["id"]) if found is not None else 0
            mine = sa.select(table).where(table.c.id > after).order_by(table.c.id).limit(BATCH)
            rows = connection.execute(mine).all()
            for row in rows:
                hide(connection, row, key)
            values = {"name": name, "position": {"id": rows[-1].id if rows else after}, "updated_at": tables.now()}
            values["state"] = "running" if len(rows) == BATCH else "done"
            db.upsert(connection, checkpoints, values, key=("name",))
            walked = walked or bool(rows)


def _call(connection: Connection, row: Any, key: bytes) -> None:
    changed: dict[str, Any] = {}
    if row.custom_field and (note := merging.note_of(row.custom_field)) != row.custom_field:
        changed["custom_field"] = note
    if row.state == "erased" and (name := call_name(connection, row, key)) != row.call_sid:
        changed["call_sid"] = name
    if changed:
        db.update(connection, calls, row.id, **changed)
    found = connection.execute(sa.select(recordings).where(recordings.c.call_id == row.id)).all()
    ledger.reduce_addresses(connection, row.id, found)


def _recording(connection: Connection, row: Any, key: bytes) -> None:
    if row.state == "erased":
        hide(connection, row, key)


def _tombstone(connection: Connection, row: Any, key: bytes) -> None:
    """Its moment stays: a call after it is new."""
    name = phone_numbers.hidden(row.identity, key)
    if row.kind == "caller" or name == row.identity:
        return
    table = tables.tombstones
    same = sa.and_(table.c.kind == row.kind, table.c.identity == name)
    if connection.execute(sa.select(table.c.id).where(same)).first() is None:
        connection.execute(sa.update(table).where(table.c.id == row.id).values(identity=name))
    else:
        connection.execute(sa.delete(table).where(table.c.id == row.id))
