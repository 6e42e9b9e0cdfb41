"""Label Studio's users -> their names in `summaries`, so that figures about people name them.

Annotations hold user ids only. Names are kept, and no addresses: whoever has no name is shown by the user name, else by
what comes before the @ of the address. Where our token may not list users, ids are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ml_backend import db, tables
from ml_backend.context import JobContext
from ml_backend.errors import PermanentError
from ml_backend.reports.annotating import annotation_figures
from ml_backend.tables import summaries
from sync.label_studio.label_studio_client import client_of

MOST = 2000
LONGEST = 80


def keep_people(context: JobContext) -> None:
    """The job: read all names again. Safe to repeat."""
    try:
        found = client_of(context).call("GET", "/api/users/")
    except PermanentError as error:
        context.report(1.0, f"Names are not known: {error.sentence}")
        return
    body = {"names": names(found if isinstance(found, list) else found.get("results") or [])}
    row = {"name": annotation_figures.NAMES, "body": body, "made_at": tables.now()}
    with context.db.transaction() as connection:
        db.upsert(connection, summaries, row, key=("name",))


def names(users: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """User id -> name."""
    found: dict[str, str] = {}
    for user in users:
        whole = " ".join(str(user.get(part) or "").strip() for part in ("first_name", "last_name")).strip()
        name = whole or str(user.get("username") or user.get("email") or "").partition("@")[0].strip()
        if name and isinstance(user.get("id"), int) and len(found) < MOST:
            found[str(user["id"])] = name[:LONGEST]
    return found
