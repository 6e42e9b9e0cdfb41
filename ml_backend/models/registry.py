"""Model versions and their aliases: rows, moved by compare-and-set, with an append-only history (design D8).

A version is a folder (or a hub name) with a manifest; it never changes. An alias such as champion names one version
per kind and language. Moving it requires its current revision, so the later of two concurrent promotions fails.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.db import insert_once
from ml_backend.errors import ConfigurationError, PermanentError, RetryableError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.models import kinds, manifest, model_files
from ml_backend.storage.object_store import sha256_of

BUNDLED = Path(__file__).parents[1] / "bundled" / "model"
CHAMPION = "champion"
NEWEST = "newest"  # in commands: the version that was registered last
ANY_LANGUAGE = "*"


@dataclass(frozen=True)
class Version:
    """A model version and, if it was found through an alias, that alias's revision."""

    id: int
    version: str
    kind: str
    location: str
    manifest: dict[str, Any]
    languages: tuple[str, ...]
    revision: int = 0
    lineage: dict[str, Any] | None = None
    rolled_back: bool = False


def register(
    context: Context, location: str, *, run_id: int | None = None,
    lineage: dict[str, Any] | None = None, parity: dict[str, Any] | None = None,
) -> Version:  # fmt: skip
    """Verify the files at a location and register them as a version. The same files give the same row.

    If the row's location no longer exists (another installation, another DATA_DIR), it is replaced by this one.
    `lineage` says what the version was made from, `parity` how the served form compares with the trained one.
    """
    described, languages = _describe(context, location)
    with context.db.transaction() as connection:
        row_id, new = insert_once(
            connection,
            tables.model_versions,
            {
                "version": described["model_version"],
                "kind": described.get("kind", kinds.ASR),
                "location": location,
                "manifest": described,
                "languages": list(languages),
                "run_id": run_id,
                "lineage": lineage,
                "parity": parity,
            },
            key=("version",),
        )
        found = _by_id(connection, row_id)
    if (
        new
        or found.location == location
        or model_files.present(context, found.location, found.manifest["files"]) is None
    ):
        return found
    with context.db.transaction() as connection:
        table = tables.model_versions
        moved = sa.update(table).where(table.c.id == row_id, table.c.location == found.location)
        connection.execute(moved.values(location=location))
        return _by_id(connection, row_id)


def named(context: Context, version: str) -> Version | None:
    """A version by name, or None."""
    with context.db.reading() as connection:
        row = connection.execute(_versions().where(tables.model_versions.c.version == version)).first()
    return None if row is None else _version(row)


def find(context: Context, version: str, *, kind: str = "", language: str = ANY_LANGUAGE) -> Version:
    """A version by name, or `champion` (of a language), or `newest`; PermanentError lists the known ones.

    `nlu:champion` and `nlu:newest` are of that kind; without a kind, `champion` is that of asr, and `newest` of any.
    """
    prefix, _, rest = version.partition(":")
    if prefix in kinds.KINDS and rest in (CHAMPION, NEWEST):
        kind, version = prefix, rest
    if version == CHAMPION:
        return champion(context, kind or kinds.ASR, language)
    if version == NEWEST:
        newest = _versions().order_by(tables.model_versions.c.id.desc()).limit(1)
        with context.db.reading() as connection:
            latest = connection.execute(newest.where(tables.model_versions.c.kind == kind) if kind else newest).first()
        if latest is not None:
            return _version(latest)
    if (found := named(context, version)) is not None:
        return found
    raise PermanentError("unknown-model-version", f"There is no model version {version[:80]!r}.", known(context))


def known(context: Context) -> str:
    """The next step for a name that no version has: the names there are."""
    with context.db.reading() as connection:
        latest = sa.select(tables.model_versions.c.version).order_by(tables.model_versions.c.id.desc()).limit(20)
        return f"Known: {', '.join(connection.execute(latest).scalars()) or 'none yet'}."


def champion(context: Context, kind: str = "asr", language: str = ANY_LANGUAGE) -> Version:
    """The version that serves this language: its own champion, else the champion for every language."""
    found = aliased(context, kind, language=language) or aliased(context, kind, language=ANY_LANGUAGE)
    if found is None:
        raise ConfigurationError(
            "no-champion", f"No {kind} model version serves yet.", "Start a worker once, or promote a version."
        )
    return found


def aliased(
    context: Context, kind: str = "asr", *, language: str = ANY_LANGUAGE, alias: str = CHAMPION
) -> Version | None:
    """The version an alias names, with the alias's revision; None if there is no such alias."""
    with context.db.reading() as connection:
        statement = _versions(tables.aliases.c.revision).join(
            tables.aliases, tables.aliases.c.model_version_id == tables.model_versions.c.id
        )
        row = connection.execute(statement.where(*_alias(kind, language, alias))).first()
    return None if row is None else _version(row, revision=row.revision)


def move_alias(
    context: Context,
    version: Version,
    *,
    expected_revision: int,
    who: str,
    why: str,
    numbers: dict[str, Any] | None = None,
    language: str = ANY_LANGUAGE,
    alias: str = CHAMPION,
) -> int:
    """Point an alias at `version`; returns the new revision.

    `expected_revision` is the one the decision was based on (0: no alias yet). If the alias has moved since, nothing
    changes and RetryableError `alias-moved` is raised. The history row is in the same transaction.
    """
    try:
        with context.db.transaction() as connection:
            return move(
                connection, version, expected_revision=expected_revision, who=who, why=why, numbers=numbers,
                language=language, alias=alias,
            )  # fmt: skip
    except sa.exc.IntegrityError as error:  # two callers created the alias at once
        raise _moved_meanwhile(alias) from error


def move(
    connection: Connection,
    version: Version,
    *,
    expected_revision: int,
    who: str,
    why: str,
    numbers: dict[str, Any] | None = None,
    language: str = ANY_LANGUAGE,
    alias: str = CHAMPION,
) -> int:
    """`move_alias` in the caller's transaction."""
    table = tables.aliases
    where = _alias(version.kind, language, alias)
    joined = sa.select(tables.model_versions.c.version).join(
        table, table.c.model_version_id == tables.model_versions.c.id
    )
    before = connection.execute(joined.where(*where)).scalar()
    serves = before
    if before is None and language != ANY_LANGUAGE:  # the language was served by the champion of every language
        serves = connection.execute(joined.where(*_alias(version.kind, ANY_LANGUAGE, alias))).scalar()
    if expected_revision == 0 and before is None:
        connection.execute(
            sa.insert(table).values(
                kind=version.kind, language=language, alias=alias, model_version_id=version.id, revision=1
            )
        )
    else:
        changed = connection.execute(
            sa.update(table)
            .where(*where, table.c.revision == expected_revision)
            .values(model_version_id=version.id, revision=expected_revision + 1, updated_at=tables.now())
        ).rowcount
        if changed != 1:
            raise _moved_meanwhile(alias)
    connection.execute(
        sa.insert(tables.alias_history).values(
            kind=version.kind, language=language, alias=alias, from_version=before, to_version=version.version,
            who=who, why=why, numbers=numbers,
        )
    )  # fmt: skip
    if alias == CHAMPION and serves not in (None, version.version):
        draft_anew(connection)
    return expected_revision + 1


def _moved_meanwhile(alias: str) -> RetryableError:
    return RetryableError(
        "alias-moved", f"The {alias} was moved by another person or job meanwhile.", "Look again, then decide anew."
    )


def draft_anew(connection: Connection) -> None:
    """Queue new drafts of open tasks by the new champion; the draft label in Label Studio moves after them."""
    attached = sa.select(tables.projects.c.id).where(tables.projects.c.state == "attached")
    for project_id in connection.execute(attached.order_by(tables.projects.c.id)).scalars().all():
        enqueueing.enqueue(
            connection,
            job_kinds.REDRAFT_PROJECT,
            key=str(project_id),
            priority=job_kinds.BULK,
            project_id=int(project_id),
        )


def verified(context: Context, version: Version) -> str:
    """What to load, after comparing the files and the window policy with the row, because a folder may have changed.

    A changed copy that came from the store is fetched again once.
    """
    location = model_files.place(context, version.location)
    if location.startswith(model_files.HUB):
        return location
    try:
        _require_same(context, version)
    except PermanentError:
        if not model_files.remove(context, version.location):
            raise
        location = model_files.place(context, version.location)
        _require_same(context, version)
    return location


def _require_same(context: Context, version: Version) -> None:
    described, languages = _describe(context, version.location)
    fed = described.get("window"), described.get("needs"), languages
    stored = version.manifest
    registered = stored.get("window", fed[0]), stored.get("needs", fed[1]), version.languages
    if described["files"] != version.manifest["files"] or fed != registered:
        raise PermanentError(
            "model-file-changed",
            f"The files of model version {version.version} are not those that were registered.",
            "Restore the folder, or register the changed files as a version of their own.",
        )


def _describe(context: Context, location: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The manifest as stored in the row. A folder without a manifest is described by its current files."""
    if location.startswith(model_files.HUB):
        return {"model_version": location.removeprefix(model_files.HUB).split("/")[-1], "files": {}}, ()
    folder = Path(model_files.place(context, location))
    if (folder / manifest.FILE).is_file():
        found = manifest.verify(folder)
        described: dict[str, Any] = {"model_version": found.model_version, "files": _plain(found.files)}
        described["kind"] = found.kind
        described |= {"window": asdict(found.window)} if found.window else {"needs": found.needs}
        described["sample_rate_hz"] = found.sample_rate_hz
        return described, found.languages
    files = {}
    for path in sorted(folder.iterdir()):
        if path.is_file():
            manifest.refuse_pickle(path)
            files[path.name] = manifest.FileEntry(sha256_of(path), path.stat().st_size)
    return {"model_version": manifest.version_of(folder.name, files), "files": _plain(files)}, ()


def _plain(files: dict[str, manifest.FileEntry]) -> dict[str, Any]:
    return {name: asdict(entry) for name, entry in files.items()}


def _alias(kind: str, language: str, alias: str) -> tuple[sa.ColumnElement[bool], ...]:
    table = tables.aliases
    return table.c.kind == kind, table.c.language == language, table.c.alias == alias


def _versions(*more: Any) -> sa.Select[Any]:
    return sa.select(tables.model_versions, *more)


def _by_id(connection: Connection, row_id: int) -> Version:
    return _version(connection.execute(_versions().where(tables.model_versions.c.id == row_id)).one())


def _version(row: Any, *, revision: int = 0) -> Version:
    return Version(
        row.id, row.version, row.kind, row.location, row.manifest, tuple(row.languages), revision, row.lineage,
        rolled_back=row.rolled_back_at is not None,
    )  # fmt: skip
