"""Tombstones of erased and expired data, and holds on data that must be kept. Every entry point checks them.

kind and identity of a tombstone or hold:

    call        the provider's call id            recording   where it came from, e.g. exotel:{call id}:{file}
    object      s3://bucket/key                   audio       sha256:{of the original}, whatever name it comes under
    caller      a pseudonym: calls of that person that began before the tombstone was set

A name that contains a telephone number is stored as a keyed hash (`phone_numbers.hidden`), so that erased data is
recognised without storing the number.

Entry points: ml_backend/calls/ledger (callbacks, listing, look-ups), ml_backend/api/live/live_tally (by the ledger),
sync/exotel/downloads, sync/ingest (scan, upload, retry) and sync/objects/rows.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, quantities
from ml_backend.calls import phone_numbers
from ml_backend.errors import PermanentError
from ml_backend.tables import holds, now, tombstones

ERASED, EXPIRED = "erased", "expired"
KINDS = ("call", "recording", "object", "audio", "caller")


def mark_erased(connection: Connection, kind: str, identity: str, *, key: bytes, why: str = ERASED) -> None:
    """Nothing of this comes back. An erasure replaces an expiry, never the other way round; the latest counts."""
    name = phone_numbers.hidden(identity, key)
    if name != identity:  # written before names were hidden
        connection.execute(sa.delete(tombstones).where(tombstones.c.kind == kind, tombstones.c.identity == identity))
    row_id, new = db.insert_once(
        connection, tombstones, {"kind": kind, "identity": name, "why": why}, key=("kind", "identity")
    )
    if not new and why == ERASED:
        db.update(connection, tombstones, row_id, why=why, created_at=now())


def why_erased(connection: Connection, *identities: str | None, key: bytes) -> str | None:
    """`erased` or `expired` when one of these was; None when all may come in."""
    named = [name for identity in identities if identity for name in {identity, phone_numbers.hidden(identity, key)}]
    found = connection.execute(_of(named)).scalars().all()
    return ERASED if ERASED in found else next(iter(found), None)


def among(connection: Connection, identities: Collection[str], *, key: bytes) -> set[str]:
    """Those of many that were erased or have expired."""
    names = {name: identity for identity in identities for name in (identity, phone_numbers.hidden(identity, key))}
    found = sa.select(tombstones.c.identity).where(tombstones.c.identity.in_(names))
    return {names[name] for name in connection.execute(found).scalars()}


def audio_identity(sha256: str) -> str:
    """The identity of audio by its bytes."""
    return f"sha256:{sha256}"


def refuse_erased(connection: Connection, *identities: str | None, key: bytes) -> None:
    """PermanentError `erased` or `expired` when one of these was."""
    if why := why_erased(connection, *identities, key=key):
        raise PermanentError(why, f"This recording was {why} and is not taken in again.", "Nothing is to be done.")


def person_erased(connection: Connection, began_at: datetime | None, *pseudonyms: str | None) -> bool:
    """Whether a person in the call was erased after it began. A call without a start time counts as new."""
    if began_at is None:
        return False
    mine = sa.and_(tombstones.c.kind == "caller", tombstones.c.identity.in_([p for p in pseudonyms if p]))
    later = sa.select(tombstones.c.id).where(mine, tombstones.c.created_at >= began_at)
    return connection.execute(later.limit(1)).first() is not None


def hold(connection: Connection, kind: str, identity: str, *, why: str, who: str) -> bool:
    """Prevent the erasure and expiry of this; returns whether the hold is new."""
    values = {"kind": kind, "identity": identity, "why": quantities.shortened(why, 200), "who": who[:120]}
    return db.insert_once(connection, holds, values, key=("kind", "identity"))[1]


def release(connection: Connection, kind: str, identity: str) -> bool:
    """End a hold; returns whether there was one."""
    mine = sa.delete(holds).where(holds.c.kind == kind, holds.c.identity == identity)
    return bool(connection.execute(mine).rowcount)


def holds_on(connection: Connection, calls: list[Any], *pseudonyms: str | None) -> list[tuple[str, str]]:
    """(what, why) of every hold on these calls or on people in them."""
    people = {p for call in calls for p in (call.from_pseudonym, call.to_pseudonym)} | set(pseudonyms)
    names = {call.call_sid for call in calls} | {p for p in people if p}
    found = []
    for some in _some(sorted(names)):
        mine = sa.select(holds).where(holds.c.kind.in_(("call", "caller")), holds.c.identity.in_(some))
        found += [(f"{row.kind} {row.identity}", row.why) for row in connection.execute(mine).all()]
    return found


def _of(names: list[str]) -> sa.Select[Any]:
    """Why any of these is gone; the kinds are named so that the index serves it."""
    return sa.select(tombstones.c.why).where(tombstones.c.kind.in_(KINDS), tombstones.c.identity.in_(names))


def _some(names: list[str], size: int = 500) -> list[list[str]]:
    return [names[at : at + size] for at in range(0, len(names), size)]
