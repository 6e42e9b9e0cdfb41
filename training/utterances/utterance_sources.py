"""A CSV or JSON-lines file, or a table of another database -> its rows, by our names for their columns. Reads only.

A row that cannot be read is given with the reason, so that the rows after it are not lost. Files are read as a stream,
twice: the spellings of intents are counted before the first row is stored.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, quantities
from ml_backend.errors import ConfigurationError, InvalidInput

NEEDED = ("text", "intent")
MOST_FIELD_CHARS = 1_000_000
_PAGE = 2000


@dataclass(frozen=True)
class SourceRow:
    """One row: where it is, its values by our names, and the reason code where it could not be read."""

    where: str
    values: dict[str, Any] = field(default_factory=dict)
    unreadable: str = ""


class UtteranceSource(Protocol):
    """What an import reads. `whole` says whether `rows` are all rows there are, so that missing ones are gone."""

    origin: str
    whole: bool

    def size(self) -> int | None:
        """About how many rows there are; None when that would take long to say."""

    def intents(self) -> Counter[str]:
        """How often each spelling of an intent occurs."""

    def rows(self) -> Iterator[SourceRow]:
        """Every row once, in a fixed order."""


class UtteranceFile:
    """`.csv` with a line of column names, or `.jsonl` with one object per line."""

    whole = True

    def __init__(self, path: Path, columns: dict[str, str], *, origin: str = "") -> None:
        self._path, self._columns = path, columns
        self.origin = origin or f"file:{path.name}"[:120]
        if path.suffix.lower() not in (".csv", ".tsv", ".jsonl", ".ndjson"):
            raise InvalidInput(
                "bad-utterance-file",
                f"{quantities.shortened(path.name, 60)} is neither a .csv nor a .jsonl file.",
                "Name a CSV file with a line of column names, or a file with one JSON object per line.",
            )
        if self._csv:
            with self._open() as stream:
                self._fields = _matched(_header(stream, path), columns, path.name)

    def size(self) -> int | None:
        return None

    def intents(self) -> Counter[str]:
        return Counter(str(row.values["intent"]) for row in self.rows() if isinstance(row.values.get("intent"), str))

    def rows(self) -> Iterator[SourceRow]:
        with self._open() as stream:
            yield from self._csv_rows(stream) if self._csv else self._json_rows(stream)

    @contextmanager
    def _open(self) -> Iterator[IO[str]]:
        try:
            lines = "" if self._csv else None  # the csv module finds the ends of lines itself
            with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline=lines) as stream:
                yield stream
        except OSError as error:
            raise InvalidInput(
                "bad-utterance-file",
                f"{quantities.shortened(self._path.name, 60)} cannot be read ({error.strerror}).",
                "Check the path and the permissions of the file.",
            ) from error

    @property
    def _csv(self) -> bool:
        return self._path.suffix.lower() in (".csv", ".tsv")

    def _csv_rows(self, stream: IO[str]) -> Iterator[SourceRow]:
        names = _header(stream, self._path)
        reader = csv.reader(stream, **_dialect(self._path))
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                yield SourceRow(f"line {reader.line_num + 1}", unreadable="row-unreadable")
                continue
            where = f"line {reader.line_num + 1}"
            if not any(cells):
                continue
            if len(cells) != len(names):
                yield SourceRow(where, unreadable="row-unreadable")
                continue
            given = dict(zip(names, cells, strict=True))
            yield SourceRow(where, {ours: given[theirs] for ours, theirs in self._fields.items()})

    def _json_rows(self, stream: IO[str]) -> Iterator[SourceRow]:
        fields: dict[str, str] = {}
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                given = json.loads(line)
            except (ValueError, RecursionError):
                given = None
            if not isinstance(given, dict):
                if number == 1 and line.lstrip().startswith("["):
                    raise InvalidInput(
                        "bad-utterance-file",
                        "The file holds one JSON list, not one object per line.",
                        "Write one object per line, e.g. with `jq -c '.[]'`.",
                    )
                yield SourceRow(f"line {number}", unreadable="row-unreadable")
                continue
            fields = fields or _matched(list(given), self._columns, self._path.name)
            known = {ours: self._columns[ours] for ours in self._columns if self._columns[ours] in given}
            yield SourceRow(f"line {number}", {ours: given[theirs] for ours, theirs in known.items()})


class UtteranceTable:
    """A table of the company's database, in one read-only transaction, from the latest time of change on."""

    def __init__(self, connection: Connection, table: str, columns: dict[str, str], *, since: datetime | None) -> None:
        self._connection = connection
        schema, _, name = table.rpartition(".")
        self.origin = f"table:{table}"[:120]
        self._table = _reflected(connection, name, schema or None)
        self._fields = _matched([column.name for column in self._table.c], columns, table)
        changed = self._table.c[self._fields["updated_at"]] if "updated_at" in self._fields else None
        usable = changed is not None and isinstance(changed.type, sa.DateTime)
        self.whole = since is None or not usable
        self._where = sa.true() if self.whole else _from(changed, since)

    def size(self) -> int | None:
        counted = sa.select(sa.func.count()).select_from(self._table).where(self._where)
        return int(self._connection.execute(counted).scalar_one())

    def intents(self) -> Counter[str]:
        column = self._table.c[self._fields["intent"]]
        counted = sa.select(column, sa.func.count()).where(self._where).group_by(column)
        return Counter({row[0]: row[1] for row in self._connection.execute(counted) if isinstance(row[0], str)})

    def rows(self) -> Iterator[SourceRow]:
        chosen = [_raw(self._table.c[theirs], self._connection).label(ours) for ours, theirs in self._fields.items()]
        order = [self._table.c[self._fields["id"]]] if "id" in self._fields else chosen[:2]
        statement = sa.select(*chosen).where(self._where).order_by(*order)
        found = self._connection.execute(statement, execution_options={"yield_per": _PAGE})
        for number, row in enumerate(found.mappings(), 1):
            yield SourceRow(f"row {row['id']}" if "id" in row else f"row {number}", dict(row))


@contextmanager
def table(url: str, name: str, columns: dict[str, str], *, since: datetime | None) -> Iterator[UtteranceTable]:
    """The table, opened. ConfigurationError where there is no database, table or column of that name."""
    if not url:
        raise ConfigurationError(
            "no-utterance-database",
            "No database to read utterances from is configured.",
            "Set NLU_DATABASE_URL, or name a file: `python -m ml_backend nlu import FILE`.",
        )
    with db.reading_elsewhere(url) as connection:
        yield UtteranceTable(connection, name, columns, since=since)


def _reflected(connection: Connection, name: str, schema: str | None) -> sa.Table:
    try:
        return sa.Table(name, sa.MetaData(), schema=schema, autoload_with=connection)
    except sa.exc.NoSuchTableError:
        there = sa.inspect(connection)
        names = sorted([*there.get_table_names(schema), *there.get_view_names(schema)])
        raise ConfigurationError(
            "no-such-table",
            f"The database has no table {name[:60]!r}{f' in schema {schema[:60]!r}' if schema else ''}.",
            f"Set NLU_TABLE. There are: {', '.join(names[:20]) or 'no tables'}.",
        ) from None


def _raw(column: Any, connection: Connection) -> Any:
    """SQLite stores anything in any column, so what cannot be converted must come as it is: it costs its own row."""
    loose = connection.dialect.name == "sqlite" and isinstance(column.type, sa.JSON | sa.DateTime)
    return sa.type_coerce(column, sa.Text) if loose else column


def _from(changed: Any, since: datetime | None) -> sa.ColumnElement[bool]:
    """Rows changed at `since` or later. A column without a zone holds UTC."""
    if since is not None and not changed.type.timezone:
        since = since.astimezone(UTC).replace(tzinfo=None)
    return sa.or_(changed >= since, changed.is_(None))


def _matched(there: list[str], columns: dict[str, str], place: str) -> dict[str, str]:
    """Our fields with the columns that are there. A column that a setting names, and text and intent, must be there."""
    lacking = [theirs for ours, theirs in columns.items() if theirs not in there and (ours in NEEDED or ours != theirs)]
    if lacking:
        shown = ", ".join(quantities.shortened(name, 40) for name in there[:20])
        raise ConfigurationError(
            "no-such-column",
            f"{quantities.shortened(place, 60)} has no column {', '.join(lacking)}. It has: {shown or 'none'}.",
            "Say which column is which in NLU_COLUMNS, e.g. NLU_COLUMNS=text=utterance,intent=label.",
        )
    return {ours: theirs for ours, theirs in columns.items() if theirs in there}


def _header(stream: IO[str], path: Path) -> list[str]:
    """The names of the columns; the stream stands behind their line."""
    csv.field_size_limit(MOST_FIELD_CHARS)
    try:
        cells = next(csv.reader(iter([stream.readline()]), **_dialect(path)), [])
    except csv.Error:
        cells = []
    return [cell.strip() for cell in cells]


def _dialect(path: Path) -> dict[str, Any]:
    """The separator is the sign that the line of names has most of: spreadsheets of many countries write semicolons."""
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        first = stream.readline(MOST_FIELD_CHARS)
    signs = "\t;,"
    return {"delimiter": max(signs, key=lambda sign: (first.count(sign), signs.index(sign))), "strict": False}
