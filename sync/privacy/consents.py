"""CSV -> consent purposes, for company numbers or single calls: all rows or none.

    company_number,purpose,name          call_sid,purpose
    00000000001,training,Support         0257…,service

A company number's purpose applies to its future calls, and to its past calls without a stated purpose. Numbers are
turned into pseudonyms here and never stored.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.calls import pseudonyms, sample_use
from ml_backend.calls.consent import PURPOSES
from ml_backend.errors import InvalidInput
from ml_backend.tables import calls, company_numbers, recordings

SHOWN = 20
MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Statement:
    """One good row: `identity` is a call id, or the pseudonym of a company number."""

    identity: str
    purpose: str
    name: str | None = None


def read(path: Path, *, key: bytes) -> tuple[str, list[Statement]]:
    """(the key column: company_number or call_sid, the rows). InvalidInput lists every bad row by its number."""
    columns = "Begin with company_number,purpose,name or with call_sid,purpose."
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput("consent-file", "The file is larger than 64 MB.", "Split it.")
        text = path.read_bytes().decode("utf-8-sig")
        lines = list(csv.reader(text.splitlines(keepends=True), strict=True))
    except OSError as error:
        what = f"There is no file {path}." if not path.exists() else f"{path} cannot be read ({error.strerror})."
        raise InvalidInput("consent-file", what, f"Name a CSV file of your own. {columns}") from None
    except UnicodeDecodeError:
        raise InvalidInput("consent-file", "The file is not UTF-8.", "Save it as CSV UTF-8.") from None
    except csv.Error as error:
        raise InvalidInput("consent-file", f"The file is no CSV: {error}.", "Check quotes and separators.") from None
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    about = next((name for name in ("company_number", "call_sid") if name in header), None)
    if about is None or "purpose" not in header:
        raise InvalidInput(
            "consent-file",
            "The first line does not name the columns.",
            columns,
        )
    good: dict[str, Statement] = {}
    bad: list[str] = []
    for number, cells in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        if len(cells) > len(header) or (why := _fault(about, row)):
            bad.append(f"row {number}: {'too many cells' if len(cells) > len(header) else why}")
            continue
        identity = row[about] if about == "call_sid" else pseudonyms.pseudonym(row[about], key)
        said = Statement(identity, row["purpose"].lower(), (row.get("name") or None) and row["name"][:120])
        if good.setdefault(identity, said).purpose != said.purpose:
            bad.append(f"row {number}: an earlier row says another purpose for the same")
    _refuse(bad)
    return about, list(good.values())


def state(connection: Connection, about: str, said: list[Statement]) -> dict[str, int]:
    """Store the purposes in one transaction; gives how many numbers and calls changed."""
    counts = {"numbers": 0, "calls": _state_calls(connection, said)} if about == "call_sid" else None
    counts = counts or _state_numbers(connection, said)
    sample_use.decide(connection, recordings.c.call_id.is_not(None))
    return counts


def _state_numbers(connection: Connection, said: list[Statement]) -> dict[str, int]:
    changed = 0
    for statement in said:
        values: dict[str, Any] = {"consent_purpose": statement.purpose}
        if statement.name:
            values["name"] = statement.name
        row_id, new = db.insert_once(
            connection, company_numbers, {"pseudonym": statement.identity, **values}, key=("pseudonym",)
        )
        if not new:
            db.update(connection, company_numbers, row_id, **values)
        theirs = sa.and_(calls.c.company_number == statement.identity, calls.c.consent_purpose.is_(None))
        change = sa.update(calls).where(theirs).values(consent_purpose=statement.purpose, updated_at=tables.now())
        changed += connection.execute(change).rowcount
    return {"numbers": len(said), "calls": changed}


def _state_calls(connection: Connection, said: list[Statement]) -> int:
    known: set[str] = set()
    for some in _pieces([statement.identity for statement in said]):
        known |= set(connection.execute(sa.select(calls.c.call_sid).where(calls.c.call_sid.in_(some))).scalars())
    _refuse([f"no call {statement.identity[:40]} is known" for statement in said if statement.identity not in known])
    for statement in said:
        mine = sa.update(calls).where(calls.c.call_sid == statement.identity)
        connection.execute(mine.values(consent_purpose=statement.purpose, updated_at=tables.now()))
    return len(said)


def _fault(about: str, row: dict[str, str]) -> str | None:
    if row.get("purpose", "").lower() not in PURPOSES:
        return f"the purpose is none of {', '.join(PURPOSES)}"
    digits = sum(character.isdigit() for character in row[about])
    if about == "company_number" and not 5 <= digits <= 15:
        return "that is no phone number"
    if about == "call_sid" and not 1 <= len(row[about]) <= 200:
        return "there is no call id"
    return None


def _refuse(bad: list[str]) -> None:
    if bad:
        more = f"\n  and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise InvalidInput(
            "consent-rows",
            "Nothing was imported:\n  " + "\n  ".join(bad[:SHOWN]) + more,
            "Correct these rows and import the file again.",
        )


def _pieces(values: list[str], size: int = 500) -> Iterator[list[str]]:
    for at in range(0, len(values), size):
        yield values[at : at + size]
