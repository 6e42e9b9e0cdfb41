"""Rows of a table or file -> `utterances`, one row each, with the reason where a row is left out.

An import may be repeated at any time and after any interruption: a row is known by its origin and id, and only what
changed is written. Bad rows are kept as excluded rows, so that they can be listed and corrected in the source; their
neighbours are not affected. Corrections made in Label Studio are rows of their own and are never overwritten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.calls import pseudonyms, tombstones
from ml_backend.calls.consent import NO_TRAINING
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.labelling.utterance_marks import digest
from ml_backend.tables import calls, company_numbers, recordings, utterances
from training.datasets import splits
from training.utterances import paraphrase_families, utterance_checks
from training.utterances.label_names import LabelNames
from training.utterances.utterance_checks import SENTENCES, CheckedUtterance, LeftOut, Reading
from training.utterances.utterance_sources import SourceRow, UtteranceSource

TOGETHER = 50  # rows in one transaction
ACCEPTED, EXCLUDED = "accepted", "excluded"
LATE = timedelta(hours=1)  # a transaction that began earlier may commit rows with earlier times afterwards
_SHOWN = 20  # bad rows that a report names one by one
Report = Callable[[int, int | None, str], None]


@dataclass
class ImportReport:
    """What became of the rows. `bad` counts reasons; `examples` names the first bad rows."""

    origin: str
    whole: bool = True
    read: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, str]] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    families: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def leave_out(self, where: str, code: str) -> None:
        self.bad[code] += 1
        if len(self.examples) < _SHOWN:
            self.examples.append({"where": where, "code": code, "sentence": SENTENCES[code]})

    def to_dict(self) -> dict[str, Any]:
        return {
            "origin": self.origin, "everything_read": self.whole, "read": self.read, "added": self.added,
            "changed": self.changed, "unchanged": self.unchanged, "gone": self.gone,
            "left_out": dict(self.bad.most_common()), "left_out_rows": self.examples, "notes": dict(self.notes),
            "labels_merged": self.labels, "families": self.families, "warnings": self.warnings,
        }  # fmt: skip


def since(context: Context, origin: str) -> datetime | None:
    """From when on rows of a table have to be read: shortly before the latest change that was imported."""
    latest = sa.select(sa.func.max(utterances.c.source_updated_at)).where(utterances.c.origin == origin)
    found: datetime | None = context.db.scalars(latest)[0]
    return None if found is None else found - LATE


def run(context: Context, source: UtteranceSource, *, report: Report = lambda done, total, note: None) -> ImportReport:
    """Read a source and store what is new. InvalidInput `no-utterances` for a table or file without a row."""
    done = ImportReport(source.origin, source.whole)
    report(0, None, "counting labels")
    labels = _labels(context, source)
    chosen = context.settings
    reading = Reading(labels, chosen.nlu_auto_means, chosen.spoken)
    total, seen = source.size(), set[str]()
    rows = iter(source.rows())
    while some := list(islice(rows, TOGETHER)):
        done.read += len(some)
        _store(context, source.origin, _checked(some, reading, seen, done), done)
        report(done.read, total, "rows read")
    if source.whole and not done.read:
        raise InvalidInput("no-utterances", "There is no row in it.", "Check NLU_TABLE, or the file that you named.")
    if source.whole:
        done.gone = _gone(context, source.origin, seen)
    done.labels = labels.merged
    report(done.read, done.read, "finding paraphrases")
    done.families = paraphrase_families.renew(context)
    done.warnings = _warnings(context)
    return done


def _labels(context: Context, source: UtteranceSource) -> LabelNames:
    known = sa.select(utterances.c.intent).where(utterances.c.intent.is_not(None), utterances.c.state == ACCEPTED)
    spans = sa.select(utterances.c.entities).where(utterances.c.state == ACCEPTED)
    names: set[str] = set()
    with context.db.reading() as connection:
        for entities in connection.execute(spans, execution_options={"yield_per": 2000}).scalars():
            names.update(each["entity"] for each in entities)
    return LabelNames(context.db.scalars(known.distinct()), source.intents(), names)


def _checked(
    some: Sequence[SourceRow], reading: Reading, seen: set[str], done: ImportReport
) -> Iterator[tuple[SourceRow, CheckedUtterance | None, str, str]]:
    """(row, utterance or None, reason code, id) of every row that has an id."""
    for row in some:
        name = ""
        try:
            if row.unreadable:
                raise LeftOut(row.unreadable)
            name = utterance_checks.external_id(row.values)
            if name in seen:
                raise LeftOut("utterance-id-twice")
            seen.add(name)
            found = utterance_checks.check(row.values, reading)
        except LeftOut as left:
            done.leave_out(row.where, left.code)
            if name and left.code != "utterance-id-twice":
                yield row, None, left.code, name
            continue
        done.notes.update(found.notes)
        yield row, found, "", name


def _store(
    context: Context, origin: str, found: Iterator[tuple[SourceRow, CheckedUtterance | None, str, str]],
    done: ImportReport,
) -> None:  # fmt: skip
    rows = list(found)
    if not rows:
        return
    in_calls = any(each and each.call_sid for _, each, _, _ in rows)
    key = pseudonyms.key_in(context.settings, context.db) if in_calls else b""
    with context.db.transaction() as connection:
        names = [name for *_, name in rows]
        mine = sa.select(utterances).where(utterances.c.origin == origin, utterances.c.external_id.in_(names))
        known = {row.external_id: row for row in connection.execute(mine)}
        for row, utterance, code, name in rows:
            values = _values(utterance, row) if utterance else _excluded(row, code)
            if utterance and utterance.call_sid:
                values |= _of_call(connection, utterance.call_sid, key)
                if values["reason_code"]:
                    done.leave_out(row.where, str(values["reason_code"]))
                if values["reason_code"] == "call-erased":  # nothing of it is stored, and nothing of it stays
                    _forget(connection, known.get(name))
                    continue
            _write(connection, {"origin": origin, "external_id": name, **values}, known.get(name), done)


def _write(connection: Connection, values: dict[str, Any], before: Any, done: ImportReport) -> None:
    at = tables.now()
    if before is None:
        accepted = at if values["state"] == ACCEPTED else None
        db.insert_once(connection, utterances, {**values, "accepted_at": accepted}, key=("origin", "external_id"))
        done.added += values["state"] == ACCEPTED
        return
    differs = {name: value for name, value in values.items() if getattr(before, name) != value}
    if not differs:
        done.unchanged += values["state"] == ACCEPTED
        return
    real = differs.keys() - {"source_updated_at"}
    if real & {"digest", "state"} and values["state"] == ACCEPTED:
        differs["accepted_at"] = at
    db.update(connection, utterances, before.id, **differs)
    if values["state"] == ACCEPTED:
        done.changed, done.unchanged = done.changed + bool(real), done.unchanged + (not real)


def _values(found: CheckedUtterance, row: SourceRow) -> dict[str, Any]:
    return {
        "source": found.source, "text": found.text, "intent": found.intent, "entities": list(found.entities),
        "language": found.language, "script": found.script, "parent_id": found.parent_id, "checked": found.checked,
        "model_version": found.model_version, "confidence": found.confidence, "digest": found.digest,
        "source_updated_at": found.source_updated_at, "state": ACCEPTED, "reason_code": None, "reason": None,
    }  # fmt: skip


def _excluded(row: SourceRow, code: str) -> dict[str, Any]:
    """A row that is left out, with as much of its text as can be stored."""
    given = row.values.get("text")
    text = given[: utterance_checks.MAX_CHARS] if isinstance(given, str) else ""
    text = utterance_checks.printable(text)
    return {
        "source": utterance_checks.HUMAN, "text": text, "intent": None, "entities": [], "language": None,
        "script": None, "parent_id": None, "checked": False, "model_version": None, "confidence": None,
        "digest": digest(text, None, (), None),
        "source_updated_at": utterance_checks.moment(row.values.get("updated_at")), "state": EXCLUDED,
        "reason_code": code, "reason": SENTENCES[code],
    }  # fmt: skip


def _of_call(connection: Connection, call_sid: str, key: bytes) -> dict[str, Any]:
    """The caller and the recording of an utterance that was said in a call, and whether it may be used."""
    statement = sa.select(calls).where(calls.c.call_sid == call_sid).order_by(calls.c.id).limit(1)
    call = connection.execute(statement).first()
    people = (call.from_pseudonym, call.to_pseudonym) if call else ()
    began = call.started_at if call else None
    refused = tombstones.why_erased(connection, call_sid, key=key) or tombstones.person_erased(
        connection, began, *people
    )
    if refused or (call is not None and call.state == "erased"):
        return {"state": EXCLUDED, "reason_code": "call-erased", "reason": SENTENCES["call-erased"]}
    numbers = frozenset(connection.execute(sa.select(company_numbers.c.pseudonym)).scalars())
    who = splits.parties(
        audio_sha256="", call_sid=call_sid, from_pseudonym=call.from_pseudonym if call else None,
        to_pseudonym=call.to_pseudonym if call else None, direction=call.direction if call else None,
        company_number=call.company_number if call else None, company_numbers=numbers,
    )  # fmt: skip
    heard = sa.select(sa.func.min(recordings.c.id)).where(recordings.c.call_id == (call.id if call else None))
    recording_id = connection.execute(heard).scalar() if call else None
    values = {"caller": who.caller, "call_id": call.id if call else None, "recording_id": recording_id}
    if call is not None and call.consent_purpose in NO_TRAINING:
        code = "call-consent"
        return {**values, "state": EXCLUDED, "reason_code": code, "reason": SENTENCES[code]}
    return {**values, "reason_code": None}


def _forget(connection: Connection, before: Any) -> None:
    if before is not None:
        connection.execute(sa.delete(utterances).where(utterances.c.id == before.id))


def _gone(context: Context, origin: str, seen: set[str]) -> int:
    """Exclude the rows of this origin that its source no longer has."""
    code, last, gone = "gone-from-source", 0, 0
    mine = sa.select(utterances.c.id, utterances.c.external_id).where(utterances.c.origin == origin)
    there = mine.where(sa.or_(utterances.c.state != EXCLUDED, utterances.c.reason_code != code))
    while some := context.db.rows(there.where(utterances.c.id > last).order_by(utterances.c.id).limit(2000)):
        last = some[-1].id
        missing = [row.id for row in some if row.external_id not in seen]
        for start in range(0, len(missing), TOGETHER):
            with context.db.transaction() as connection:
                theirs = utterances.c.id.in_(missing[start : start + TOGETHER])
                values = {"state": EXCLUDED, "reason_code": code, "reason": SENTENCES[code], "updated_at": tables.now()}
                connection.execute(sa.update(utterances).where(theirs).values(**values))
        gone += len(missing)
    return gone


def _warnings(context: Context) -> list[str]:
    """What the rows, as they are now, cannot teach, in sentences."""
    counted = sa.select(utterances.c.intent, sa.func.count().label("number")).where(utterances.c.state == ACCEPTED)
    intents = {row.intent: row.number for row in context.db.rows(counted.group_by(utterances.c.intent))}
    found = []
    if len(intents) == 1:
        found.append(f"There is only one intent, {next(iter(intents))!r}: a model needs at least two to tell apart.")
    if single := sorted(name for name, number in intents.items() if number == 1):
        shown = ", ".join(single[:5]) + (" …" if len(single) > 5 else "")
        found.append(
            f"{len(single)} of {len(intents)} intents have one row each ({shown}): it is trained on, and never tested."
        )
    return found
