"""A database of either kind -> one SQLite file, and back.

A backup holds rows, not a server's own dump, so one file restores either kind and moves one into the other. The rows
are of one moment: SQLite's backup interface copies while others write, PostgreSQL gives a snapshot.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.errors import InvalidInput

_ROWS = 1000


def save(url: str, file: Path) -> None:
    """Copy every row of the database into a new SQLite file, as of one moment."""
    if url.startswith("sqlite:///"):
        with (
            closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as source,
            closing(sqlite3.connect(file)) as target,
        ):
            source.backup(target)
    else:
        source_database = db.Database(url)
        try:
            source_database.check_schema()
            db.upgrade(f"sqlite:///{file}")
            target_database = db.Database(f"sqlite:///{file}")
            with source_database.reading() as source, target_database.transaction() as target:
                _freeze(source)
                _copy(source, target)
            target_database.dispose()
        finally:
            source_database.dispose()
    with closing(sqlite3.connect(file)) as whole:
        whole.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it


def _freeze(source: Connection) -> None:
    """Make this transaction read a snapshot as of its first query."""
    source.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def load(file: Path, url: str) -> None:
    """Copy the rows of `save` into an empty database, all or none."""
    source_database, target_database = db.Database(f"sqlite:///{file}"), db.Database(url)
    try:
        with source_database.reading() as source, target_database.transaction() as target:
            _copy(source, target)
            if not target_database.is_sqlite:
                _go_on_counting(target)
    finally:
        source_database.dispose()
        target_database.dispose()


def refuse_unless_empty(url: str) -> None:
    """Create missing tables; InvalidInput `restore-not-empty` when one holds a row."""
    db.upgrade(url)
    database = db.Database(url)
    try:
        with database.reading() as connection:
            for table in tables.metadata.sorted_tables:
                if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None:
                    raise InvalidInput(
                        "restore-not-empty",
                        f"The database has rows in {table.name} already, and a restore overwrites nothing.",
                        "Stop everything, name an empty database in DATABASE_URL, and restore again.",
                    )
    finally:
        database.dispose()


def _copy(source: Connection, target: Connection) -> None:
    for table in tables.metadata.sorted_tables:
        columns = list(table.columns)
        wanted = sa.select(*(_read(column) for column in columns)).order_by(*table.primary_key.columns)
        given = {column.name: _write(column, target) for column in columns}
        insert = sa.insert(table).values(given)
        rows = source.execution_options(stream_results=True, max_row_buffer=_ROWS).execute(wanted)
        for some in rows.partitions(_ROWS):
            target.execute(
                insert, [{f"of_{name}": value for name, value in zip(given, row, strict=True)} for row in some]
            )


def _read(column: sa.Column[Any]) -> Any:
    """JSON as its text: as values, SQL NULL and a stored JSON null would be the same."""
    return sa.cast(column, sa.Text).label(column.name) if isinstance(column.type, sa.JSON) else column


def _write(column: sa.Column[Any], target: Connection) -> Any:
    if not isinstance(column.type, sa.JSON):
        return sa.bindparam(f"of_{column.name}", type_=column.type)
    text = sa.bindparam(f"of_{column.name}", type_=sa.Text())
    return text if target.dialect.name == "sqlite" else sa.cast(text, sa.JSON)


def _go_on_counting(target: Connection) -> None:
    """Advance PostgreSQL's sequences past the ids of the copied rows."""
    for table in tables.metadata.sorted_tables:
        if "id" in table.c:
            highest = target.execute(sa.select(sa.func.max(table.c.id))).scalar()
            if highest is not None:
                counter = sa.func.pg_get_serial_sequence(table.name, "id")
                target.execute(sa.select(sa.func.setval(counter, highest)))
