"""A project as Label Studio describes it -> its row in `projects`.

Label Studio calls /setup before every /predict while a person waits, so the row is written only if something changed.
An unknown project gets a row in state `seen`. Its instance is the Label Studio of our settings, never the host name in
the request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig

_UID = re.compile(r"([1-9][0-9]{0,17})(\.[0-9]{1,20})?", re.ASCII)


@dataclass(frozen=True)
class Project:
    """The columns of one row that serving needs."""

    id: int
    state: str
    revision: int
    draft_label: str
    config_sha256: str | None
    audio_key: str  # of a config without audio: the key of its text


class _Served(NamedTuple):
    """The columns of `_SERVED`, in order."""

    id: int
    state: str
    revision: int
    draft_label: str
    config_sha256: str | None


_SERVED = (
    tables.projects.c.id,
    tables.projects.c.state,
    tables.projects.c.revision,
    tables.projects.c.draft_label,
    tables.projects.c.config_sha256,
)
_THIS = sa.and_(
    tables.projects.c.instance_url == sa.bindparam("instance"),
    tables.projects.c.ls_project_id == sa.bindparam("ls_project_id"),
)
_FIND = sa.select(*_SERVED).where(_THIS)
_FIND_ALL = sa.select(*_SERVED, tables.projects.c.label_config, tables.projects.c.extra_params).where(_THIS)
_AUDIO_KEY_OF_ROW = sa.select(tables.projects.c.label_config).where(_THIS)


def id_of(uid: Any) -> int:
    """Label Studio's project id from `23.1795340392`, `23` or 23."""
    text = str(uid) if isinstance(uid, int | str) and not isinstance(uid, bool) else ""
    if not (match := _UID.fullmatch(text)):
        raise InvalidInput(
            "bad-project",
            "The project is not a Label Studio project id.",
            "Send the project as Label Studio does: <id>.<created>.",
        )
    return int(match[1])


def row_of(context: Context, ls_project_id: int) -> int:
    """The id of our row for a project id of Label Studio. Raises InvalidInput `no-such-project`."""
    row = tables.projects
    ours_first = sa.case((row.c.instance_url == context.settings.label_studio_url, 0), else_=1)
    found = sa.select(row.c.id).where(row.c.ls_project_id == ls_project_id).order_by(ours_first, row.c.id).limit(1)
    rows = context.db.rows(found)
    if not rows:
        known = context.db.rows(sa.select(row.c.ls_project_id).distinct().order_by(row.c.ls_project_id).limit(20))
        step = f"Known: {', '.join(str(each.ls_project_id) for each in known) or 'none yet'}."
        raise InvalidInput("no-such-project", f"There is no project {ls_project_id}.", step)
    return int(rows[0].id)


def upsert(
    context: Context,
    ls_project_id: int,
    *,
    label_config: str | None = None,
    extra_params: dict[str, Any] | None = None,
) -> Project:
    """Upsert the project's row with Label Studio's values; None leaves a value as it is.

    Raises InvalidInput `bad-label-config` for XML that we do not accept.
    """
    place = {"instance": context.settings.label_studio_url, "ls_project_id": ls_project_id}
    digest = None
    if label_config:
        if not (controls := labelconfig.parse(label_config)).well_formed:
            raise InvalidInput("bad-label-config", controls.problems[0], "Correct the project's labelling interface.")
        digest = labelconfig.digest(label_config)
    row: Any
    if extra_params is None:
        find = context.keep("find-project", lambda: context.db.prepare(_FIND))
        found = find(place)
        row = None if found is None else _Served(*found)
    else:
        with context.db.reading() as connection:
            row = connection.execute(_FIND_ALL, place).first()
    if row is None or _differs(row, digest, extra_params):
        with context.db.transaction() as connection:
            row = _write(connection, place, label_config, digest, extra_params)
    if not label_config:
        with context.db.reading() as connection:
            label_config = connection.execute(_AUDIO_KEY_OF_ROW, place).scalar() or ""
    return Project(
        id=row.id,
        state=row.state,
        revision=row.revision,
        draft_label=row.draft_label,
        config_sha256=row.config_sha256,
        audio_key=labelconfig.parse(label_config).data_key,
    )


def _differs(row: Any, digest: str | None, extra_params: dict[str, Any] | None) -> bool:
    return (digest is not None and digest != row.config_sha256) or (
        extra_params is not None and extra_params != row.extra_params
    )


def _write(
    connection: Connection,
    place: dict[str, Any],
    label_config: str | None,
    digest: str | None,
    extra_params: dict[str, Any] | None,
) -> Any:
    """Insert or update the row and enqueue the jobs that follow, in one transaction."""
    first = {
        "instance_url": place["instance"],
        "ls_project_id": place["ls_project_id"],
        "label_config": label_config or "",
        "config_sha256": digest,
        "extra_params": extra_params or {},
    }
    project_id, new = db.insert_once(connection, tables.projects, first, key=("instance_url", "ls_project_id"))
    row = connection.execute(_FIND_ALL, place).one()
    if not new and not _differs(row, digest, extra_params):
        return row  # another request was first
    enqueueing.enqueue(connection, job_kinds.SYNC_PROJECT, key=str(project_id), project_id=project_id)
    if new:
        return row
    changes: dict[str, Any] = {"revision": row.revision + 1}
    if digest is not None and digest != row.config_sha256:
        changes |= {"label_config": label_config, "config_sha256": digest}
    if extra_params is not None:
        changes["extra_params"] = extra_params
    db.update(connection, tables.projects, project_id, **changes)
    if row.state != "detached":
        enqueueing.enqueue(connection, job_kinds.REDRAFT_PROJECT, key=str(project_id), project_id=project_id)
        enqueueing.enqueue(
            connection, job_kinds.SAMPLE_PROJECT, key=f"{project_id}:1", project_id=project_id, everything=1
        )
    return connection.execute(_FIND_ALL, place).one()
