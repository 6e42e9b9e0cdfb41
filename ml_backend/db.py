"""SQL. SQLite by default, PostgreSQL by URL; short transactions, writers one at a time.

On SQLite a transaction that reads first and writes later fails at once with "database is locked", whatever the
timeout, when another process wrote in between. So every writing transaction begins with BEGIN IMMEDIATE. WAL with
synchronous=FULL: a commit survives a power cut, which the webhook's 200 promises.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ml_backend import file_permissions, quantities
from ml_backend.errors import ConfigurationError, InvalidInput, RetryableError

SCHEMA_VERSION = "0008"
BUSY_TIMEOUT_S = 30
LOOK_EVERY_S = 0.002


class Database:
    """One engine. `transaction()` writes, `reading()` reads; both are short."""

    def __init__(self, url: str) -> None:
        parsed = sa.engine.make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            if parsed.database and parsed.database != ":memory:":
                Path(parsed.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.engine: Engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
            sa.event.listen(self.engine, "close", _close_gate)
        else:
            self.engine = sa.create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20)

    @contextmanager
    def transaction(self, *, wait_s: float | None = None) -> Iterator[Connection]:
        """A writing transaction: commits at the end of the block, rolls back on any exception.

        `wait_s` is for a request, which cannot wait as long as a job: on SQLite it gets the next turn to write, and
        fails as `database-unavailable` when that takes longer.
        """
        with _errors(), self.engine.connect() as connection:
            connection = connection.execution_options(kaan_writes=True, kaan_wait_s=wait_s)
            with connection.begin():
                yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read-only snapshot."""
        with _errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    def row(self, table: sa.Table, row_id: int) -> sa.Row[Any]:
        """The row with this id; LookupError if there is none."""
        with self.reading() as connection:
            found = connection.execute(sa.select(table).where(table.c.id == row_id)).first()
        if found is None:
            raise LookupError(f"no row {row_id} in {table.name}")
        return found

    def rows(self, statement: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        """All rows of a select."""
        with self.reading() as connection:
            return connection.execute(statement).all()

    def scalars(self, statement: sa.Select[Any]) -> list[Any]:
        """The first column of a select."""
        with self.reading() as connection:
            return list(connection.execute(statement).scalars())

    def prepare(self, statement: sa.Select[Any]) -> Callable[[Mapping[str, Any]], tuple[Any, ...] | None]:
        """A select compiled once: a function from its parameters to its first row, or None.

        For the look-up before every /predict: a seventh of the usual CPU. Values come as the driver gives them, so
        select numbers and texts only.
        """
        compiled = statement.compile(dialect=self.engine.dialect)
        text, order = str(compiled), compiled.positiontup if compiled.positional else None
        driver_error = self.engine.dialect.loaded_dbapi.OperationalError

        def first(parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
            with _errors():
                connection = self.engine.raw_connection()
                try:
                    cursor = connection.cursor()
                    cursor.execute(text, parameters if order is None else tuple(parameters[name] for name in order))
                    return cursor.fetchone()
                except driver_error as error:
                    raise sa.exc.OperationalError(text, None, error) from error
                finally:
                    connection.close()  # back to the pool, which ends its transaction

        return first

    def update(self, table: sa.Table, row_id: int, **values: Any) -> None:
        """Change one row by id, and its `updated_at` where the table has one."""
        with self.transaction() as connection:
            update(connection, table, row_id, **values)

    def check_schema(self) -> None:
        """Raise ConfigurationError for a database of another schema version."""
        found = self.schema_version()
        if found != SCHEMA_VERSION:
            if found is None:
                sentence, step = "The database has no tables yet.", "Run `python -m ml_backend db upgrade`."
            else:
                sentence = f"The database is at schema {found}, this release needs {SCHEMA_VERSION}."
                step = "Back up with the release it belongs to, then run `python -m ml_backend db upgrade`."
            raise ConfigurationError("schema-version", sentence, step)

    def schema_version(self) -> str | None:
        """The Alembic revision in the database; None when it is empty."""
        with self.reading() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def dispose(self) -> None:
        """Close all connections (after a fork, at exit)."""
        self.engine.dispose()


@contextmanager
def reading_elsewhere(url: str) -> Iterator[Connection]:
    """A read-only transaction in somebody else's database, of one moment, that streams its rows.

    The server refuses any write in it, so that not even a mistake of ours can change what belongs to others.
    """
    parsed = sa.engine.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if not Path(parsed.database or "").is_file():
            raise ConfigurationError("no-such-database", "There is no file of that name.", "Correct the address.")
        query = {"mode": "ro", "uri": "true"}
        engine = sa.create_engine(parsed.set(database=f"file:{parsed.database}", query=query), poolclass=sa.NullPool)
        options: dict[str, Any] = {}
    else:
        given = {"connect_timeout": 10, "application_name": "kaan"}
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=given)
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    try:
        with engine.connect() as connection:
            connection = connection.execution_options(**options)
            with connection.begin():
                yield connection
    except sa.exc.OperationalError as error:
        text = quantities.shortened(str(error.orig).splitlines()[0], 80) if error.orig else "unknown"
        raise RetryableError(
            "source-unreachable",
            f"The other database did not answer the request ({text}).",
            "Check its address, and that this machine may connect to it.",
        ) from error
    except sa.exc.DBAPIError as error:
        text = quantities.shortened(str(error.orig).splitlines()[0], 80) if error.orig else "unknown"
        raise ConfigurationError(
            "source-refused",
            f"The other database refused the request ({text}).",
            "Its user needs the right to read the table (GRANT SELECT), and nothing else.",
        ) from error
    finally:
        engine.dispose()


def _insert(connection: Connection, table: sa.Table) -> Any:
    """An INSERT with ON CONFLICT. Only the dialect in use is imported."""
    return importlib.import_module(f"sqlalchemy.dialects.{connection.dialect.name}").insert(table)


def upsert(
    connection: Connection,
    table: sa.Table,
    values: Mapping[str, Any],
    *,
    key: Sequence[str],
    change: Callable[[Any], Mapping[str, Any]] | None = None,
    where: Any = None,
    returning: Sequence[Any] = (),
) -> Any:
    """Insert a row, or change the one with the same `key` columns; returns the row's `returning` columns.

    It is one statement, so two concurrent callers cannot both insert. The existing row gets the same values, or those
    that `change` computes from the refused row (`excluded`). `where` is the condition of a partial unique index.
    """
    statement = _insert(connection, table).values(**values)
    kept = {name: values[name] for name in values if name not in key} if change is None else change(statement.excluded)
    statement = statement.on_conflict_do_update(index_elements=list(key), index_where=where, set_=dict(kept))
    return connection.execute(statement.returning(*returning)).one() if returning else connection.execute(statement)


def upsert_many(
    connection: Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str],
    change: Callable[[Any], Mapping[str, Any]] | None = None,
) -> None:
    """`upsert` for many rows with the same columns, as one statement: a tenth of the CPU of one each."""
    if not rows:
        return
    statement = _insert(connection, table)
    excluded = statement.excluded
    kept = {name: excluded[name] for name in rows[0] if name not in key} if change is None else change(excluded)
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=dict(kept)), list(rows))


def insert_missing(
    connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, returning: Sequence[str] = ()
) -> Sequence[sa.Row[Any]]:
    """Insert many rows except those that a unique index refuses; returns columns of the inserted rows."""
    if not rows:
        return []
    statement = _insert(connection, table).on_conflict_do_nothing()
    if not returning:
        connection.execute(statement, list(rows))
        return []
    made: Sequence[sa.Row[Any]] = connection.execute(
        statement.returning(*(table.c[name] for name in returning)), list(rows)
    ).all()
    return made


def insert_once(
    connection: Connection, table: sa.Table, values: Mapping[str, Any], *, key: Sequence[str]
) -> tuple[int, bool]:
    """Insert unless a row with the same `key` columns exists; returns (id, whether it is new). Safe to race."""
    statement = _insert(connection, table).values(**values).on_conflict_do_nothing(index_elements=list(key))
    new_id = connection.execute(statement.returning(table.c.id)).scalar()
    if new_id is not None:
        return int(new_id), True
    same = sa.and_(*(table.c[name] == values[name] for name in key))
    return int(connection.execute(sa.select(table.c.id).where(same)).scalar_one()), False


def update(connection: Connection, table: sa.Table, row_id: int, **values: Any) -> None:
    """Change one row by id inside a transaction."""
    if "updated_at" in table.c and "updated_at" not in values:
        from ml_backend.tables import now

        values["updated_at"] = now()
    connection.execute(sa.update(table).where(table.c.id == row_id).values(**values))


def upgrade(url: str) -> str:
    """Bring the schema to this release; returns the revision. Never replaces a lost database by an empty one."""
    from alembic import command

    database = Database(url)
    file = Path(database.engine.url.database or ":memory:") if database.is_sqlite else Path(":memory:")
    marker = file.with_name(f"{file.name}.made")
    if marker.exists() and database.schema_version() is None:
        raise ConfigurationError(
            "database-gone",
            "There was a database here, and it is gone.",
            "Bring a backup back with `python -m ml_backend restore`, or remove the file "
            f"{marker.name} beside it to begin with an empty one.",
        )
    try:
        with database.engine.connect() as connection:
            _check_foreign_keys(connection, False)  # SQLite changes a table by rebuilding it
            config = _alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
            _check_foreign_keys(connection, True)
        if file.exists():
            marker.touch()
    finally:
        database.dispose()
    return SCHEMA_VERSION


def _check_foreign_keys(connection: Connection, on: bool) -> None:
    """SQLite only, between transactions: switch foreign key checks on or off."""
    if connection.dialect.name == "sqlite":
        cursor = connection.connection.cursor()
        cursor.execute(f"PRAGMA foreign_keys={'ON' if on else 'OFF'}")
        cursor.close()


def _alembic_config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _begin_sqlite
    cursor = connection.cursor()
    for _, _, file in cursor.execute("PRAGMA database_list").fetchall():
        if file:  # SQLite gives its other files the permissions of this one
            for end in ("", "-wal", "-shm"):
                file_permissions.file(Path(f"{file}{end}"))
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("kaan_writes", False):
        connection.exec_driver_sql("BEGIN")
        return
    wait_s = options.get("kaan_wait_s")
    _begin_in_turn(connection, BUSY_TIMEOUT_S if wait_s is None else wait_s)


def _begin_in_turn(connection: Connection, wait_s: float) -> None:
    """BEGIN IMMEDIATE as the next writer: the waiter holds a lock, so that the last writer cannot begin again first.

    SQLite has no queue: it sleeps up to 100 ms between attempts, so jobs that write without a pause block a request
    for seconds (measured: p50 119 ms at 50 requests a second, and no turn within 5 s on a slow disk).
    """
    driver: Any = connection.connection.driver_connection
    refusal = connection.dialect.loaded_dbapi.OperationalError
    gate, begun = _gate(connection), time.monotonic()
    driver.execute("PRAGMA busy_timeout=0")
    try:
        while gate is not None and not _taken(gate) and time.monotonic() < begun + wait_s / 2:
            time.sleep(LOOK_EVERY_S)
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
                return
            except refusal as error:
                if "locked" not in str(error) or time.monotonic() > begun + wait_s:
                    raise sa.exc.OperationalError("BEGIN IMMEDIATE", None, error) from error
            time.sleep(LOOK_EVERY_S)
    finally:
        driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
        if gate is not None:
            fcntl.flock(gate, fcntl.LOCK_UN)


def _gate(connection: Connection) -> int | None:
    """This connection's handle of the lock file beside the database; None for a database in memory."""
    info, file = connection.info, connection.engine.url.database
    if "kaan_gate" not in info:
        on_disk = file and file != ":memory:"
        info["kaan_gate"] = os.open(f"{file}-turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) if on_disk else None
    gate: int | None = info["kaan_gate"]
    return gate


def _taken(gate: int) -> bool:
    try:
        fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _close_gate(connection: Any, record: Any) -> None:
    gate = record.info.pop("kaan_gate", None)
    if gate is not None:
        os.close(gate)


@contextmanager
def _errors() -> Iterator[None]:
    """A locked, full or unreachable database raises RetryableError; a value it cannot hold raises InvalidInput. Other
    errors, such as a wrong statement, pass through."""
    try:
        yield
    except (sa.exc.DataError, UnicodeEncodeError, OverflowError) as error:  # the drivers' own of half a character, and
        raise InvalidInput(  # of a number beyond 64 bits
            "bad-value",
            "A value cannot be stored or looked for: it is too long, or has a NUL or half of a character in it.",
            "Leave out control characters, and shorten it.",
        ) from error
    except sa.exc.OperationalError as error:
        text = quantities.shortened(str(error.orig).splitlines()[0], 80) if error.orig else "unknown"
        raise RetryableError(
            "database-unavailable",
            f"The database did not accept the request ({text}).",
            "Check free disk space and that the database server runs: `python -m ml_backend doctor`.",
        ) from error
    except sa.exc.DatabaseError as error:
        if type(error) is not sa.exc.DatabaseError:  # a constraint, a wrong statement
            raise
        raise ConfigurationError(
            "database-damaged",
            "The database file is damaged: it cannot be read.",
            "Keep the file, and bring a backup back into an empty DATA_DIR with `python -m ml_backend restore`.",
        ) from error
