"""A studio's folder with its list -> recordings of known texts, and the rows that say who speaks.

The list is a CSV with the columns file, text, language, voice and, if wanted, emotion. Files of a folder on this
machine are copied into AUDIO_BUCKET under a name made from their bytes; those of a bucket stay where they are. From
there a studio's recording walks the way of every other: ingest decodes and measures it, the checks decide, people
rate it.

Repeating an import changes nothing; a longer list brings what is new. A bad row is named with its line and left out.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, languages
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, KaanError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.storage.object_store import sha256_of, valid_key
from ml_backend.tables import recordings, tasks, voice_clips
from training.text.writing import indic
from training.voices import clip_checks

COLUMNS = ("file", "text", "language", "voice")
MORE_COLUMNS = ("emotion",)
ENGINE, ROLE, NO_EMOTION = "studio", "reference", "neutral"
KEY = "voices/{sha256}{suffix}"
MOST_LIST_BYTES = 50_000_000
MOST_NAME_CHARS = 60


@dataclass(frozen=True)
class BadRow:
    """A row of the list that was left out, and why."""

    line: int
    file: str
    reason: str


@dataclass
class Imported:
    """What came of an import: rows by outcome, and those left out."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    bad: list[BadRow] = field(default_factory=list)


@dataclass(frozen=True)
class StudioRow:
    """One valid row of the list."""

    line: int
    file: str
    text: str
    language: str
    voice: str
    emotion: str


def read_list(text: str) -> tuple[list[StudioRow], list[BadRow]]:
    """The list's rows, and those that cannot be used. Pure. Raises InvalidInput `voices-list` without its columns."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), skipinitialspace=True)
    try:
        names = [str(name).strip().lower() for name in reader.fieldnames or ()]
    except csv.Error as error:
        raise _unreadable(f"The list cannot be read: {error}.") from None
    if missing := [name for name in COLUMNS if name not in names]:
        raise _unreadable(f"The list has no column {', '.join(missing)}.")
    reader.fieldnames = names
    rows: list[StudioRow] = []
    bad: list[BadRow] = []
    try:
        for found in reader:
            values = {name: str(value or "").strip() for name, value in found.items() if isinstance(name, str)}
            if not any(values.values()):
                continue
            row, reason = _row(reader.line_num, values)
            if reason or row is None:
                bad.append(BadRow(reader.line_num, values["file"][:200], reason))
            else:
                rows.append(row)
    except csv.Error as error:
        bad.append(BadRow(reader.line_num, "", f"The list cannot be read from here on: {error}."))
    return _without_twins(rows, bad)


def import_folder(context: Context, folder: Path, *, list_name: str = "", dry_run: bool = False) -> Imported:
    """Import a folder on this machine."""
    path = folder / list_name if list_name else _only_list(sorted(folder.glob("*.csv")), str(folder))
    if not path.is_file():
        raise _unreadable(f"There is no list {path}.")
    rows, bad = read_list(_text(path))
    done, shas = Imported(bad=bad), dict[str, str]()
    for row in rows:
        source = (folder / row.file).resolve()
        if not source.is_relative_to(folder.resolve()) or not source.is_file():
            bad.append(BadRow(row.line, row.file, "There is no such file in the folder."))
            continue
        sha256 = sha256_of(source)
        if _other_text(context, bad, shas, sha256, row):
            continue
        key = KEY.format(sha256=sha256, suffix=source.suffix.lower()[:8])
        if not dry_run:
            context.store.ensure_bucket(context.settings.audio_bucket)
            _keep(context, key, source)
        _take(context, done, row, bucket=context.settings.audio_bucket, key=key, dry_run=dry_run)
    bad.sort(key=lambda one: one.line)
    return done


def import_prefix(
    context: Context, bucket: str, prefix: str, *, list_name: str = "", dry_run: bool = False
) -> Imported:
    """Import what lies below a prefix of a bucket; the files stay there."""
    prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    lists = [Path(info.key) for info in context.store.list(bucket, prefix=prefix) if _is_list(info.key, prefix)]
    key = f"{prefix}{list_name}" if list_name else _only_list(lists, f"{bucket}/{prefix}").as_posix()
    with tempfile.TemporaryDirectory(prefix="kaan-studio-") as place:
        path = Path(place) / "list.csv"
        context.store.fetch(bucket, key, path)
        rows, bad = read_list(_text(path))
    done = Imported(bad=bad)
    for row in rows:
        try:
            there = context.store.stat(bucket, valid_key(f"{prefix}{row.file}"))
        except KaanError as error:
            bad.append(BadRow(row.line, row.file, error.sentence))
            continue
        if there is None:
            bad.append(BadRow(row.line, row.file, "There is no such object below the prefix."))
            continue
        _take(context, done, row, bucket=bucket, key=there.key, dry_run=dry_run)
    bad.sort(key=lambda one: one.line)
    return done


def _row(line: int, values: Mapping[str, str]) -> tuple[StudioRow | None, str]:
    code = languages.code_of(values["language"]) if values["language"] else ""
    emotion = values.get("emotion") or NO_EMOTION
    checks = (
        ("The row has no file.", not values["file"]),
        ("The row has no text.", not indic(values["text"])),
        ("The row has no language.", not code),
        (f"{values['language'][:30]!r} is no language known here.", code not in languages.LANGUAGES),
        ("The row has no voice.", not values["voice"]),
        (
            "The name of the voice or the emotion is too long.",
            max(len(values["voice"]), len(emotion)) > MOST_NAME_CHARS,
        ),
        (f"The text is longer than {clip_checks.MOST_CHARS} characters.", len(values["text"]) > clip_checks.MOST_CHARS),
    )
    if reason := next((sentence for sentence, wrong in checks if wrong), ""):
        return None, reason
    return StudioRow(line, values["file"], values["text"], code, values["voice"], emotion.lower()), ""


def _without_twins(rows: list[StudioRow], bad: list[BadRow]) -> tuple[list[StudioRow], list[BadRow]]:
    """Leave out files that the list names twice with different facts."""
    facts: dict[str, set[tuple[str, ...]]] = {}
    for row in rows:
        facts.setdefault(row.file, set()).add((row.text, row.language, row.voice, row.emotion))
    kept: dict[str, StudioRow] = {}
    for row in rows:
        if len(facts[row.file]) > 1:
            bad.append(BadRow(row.line, row.file, "The list has this file more than once, with different facts."))
        else:
            kept.setdefault(row.file, row)
    return list(kept.values()), sorted(bad, key=lambda one: one.line)


def _other_text(context: Context, bad: list[BadRow], shas: dict[str, str], sha256: str, row: StudioRow) -> bool:
    """Whether another file of the list has the same audio with another text."""
    if shas.setdefault(sha256, row.text) == row.text:
        return False
    bad.append(BadRow(row.line, row.file, clip_checks.REASONS["two-texts"]))
    return True


def _take(context: Context, done: Imported, row: StudioRow, *, bucket: str, key: str, dry_run: bool) -> None:
    """One row into the tables; counts the outcome."""
    who = {"voice": row.voice, "emotion": row.emotion, "engine": ENGINE, "role": ROLE}
    clip = _one(context, sa.select(voice_clips).where(voice_clips.c.bucket == bucket, voice_clips.c.key == key))
    identity = f"s3://{bucket}/{key}"
    here = sa.select(recordings).where(recordings.c.source == "object", recordings.c.source_identity == identity)
    recording = _one(context, here)
    known = {"known_text": row.text, "language": row.language, "language_by": "given", "synthetic": True}
    if clip is not None and recording is not None and _same(clip, who) and _same(recording, known):
        done.unchanged += 1
        return
    if recording is not None and recording.known_text not in (None, row.text) and _in_use(context, recording.id):
        done.bad.append(
            BadRow(row.line, row.file, "Its text changed after the audio became a task; the task keeps it.")
        )
        return
    done.new, done.changed = done.new + (recording is None), done.changed + (recording is not None)
    if dry_run:
        return
    with context.db.transaction() as connection:
        _write(connection, recording, known, who, bucket=bucket, key=key)


def _text_of(known: Mapping[str, Any]) -> dict[str, Any]:
    """What the list of clips shows until the audio is checked."""
    text, language = known["known_text"], known["language"]
    return {"text": text, "language": language, "text_key": clip_checks.text_key(text, language)}


def _write(
    connection: Connection, recording: Any, known: Mapping[str, Any], who: Mapping[str, Any], *, bucket: str, key: str
) -> None:
    if recording is None:
        values = {"source": "object", "source_identity": f"s3://{bucket}/{key}", "bucket": bucket, "object_key": key}
        row_id, _ = db.insert_once(
            connection, recordings, {**values, **known, "state": "found"}, key=("source", "source_identity")
        )
        enqueueing.enqueue(connection, job_kinds.INGEST_RECORDING, key=str(row_id), recording_id=row_id)
    else:
        row_id = recording.id
        db.update(connection, recordings, row_id, **known)
        enqueueing.enqueue(connection, job_kinds.COLLECT_VOICES, key="0", everything=0)
    clip: dict[str, Any] = {"bucket": bucket, "key": key, "recording_id": row_id, **_text_of(known), **who}
    db.upsert(connection, voice_clips, clip, key=("bucket", "key"))


def _one(context: Context, statement: sa.Select[Any]) -> Any:
    return next(iter(context.db.rows(statement.limit(1))), None)


def _same(row: Any, values: Mapping[str, Any]) -> bool:
    return all(getattr(row, name) == value for name, value in values.items())


def _in_use(context: Context, recording_id: int) -> bool:
    return _one(context, sa.select(tasks.c.id).where(tasks.c.recording_id == recording_id)) is not None


def _keep(context: Context, key: str, source: Path) -> None:
    try:
        context.store.put_file(context.settings.audio_bucket, key, source)
    except KaanError as error:
        if error.code != "object-exists":
            raise


def _is_list(key: str, prefix: str) -> bool:
    return key.lower().endswith(".csv") and "/" not in key.removeprefix(prefix)


def _only_list(found: list[Path] | Iterator[Path], place: str) -> Path:
    lists = list(found)
    if len(lists) != 1:
        names = ", ".join(PurePosixPath(each).name for each in lists[:5])
        raise _unreadable(f"{place} has {len(lists) or 'no'} CSV lists{': ' if names else ''}{names}.")
    return lists[0]


def _text(path: Path) -> str:
    if path.stat().st_size > MOST_LIST_BYTES:
        raise _unreadable(f"The list is larger than {MOST_LIST_BYTES // 1_000_000} MB.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise _unreadable("The list is not UTF-8 text.") from None


def _unreadable(sentence: str) -> InvalidInput:
    return InvalidInput(
        "voices-list",
        sentence,
        f"Give one CSV with the columns {', '.join((*COLUMNS, *MORE_COLUMNS))}; --list names it.",
    )
