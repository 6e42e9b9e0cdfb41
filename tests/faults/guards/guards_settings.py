"""Taking away the guards of settings, packages, exports and backups, and of what an operator is told.

See `tests.faults.guards.guards`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

from ml_backend import db
from tests.faults.guards.guards import _set, guard, module
from tests.faults.guards.guards_jobs import _With


@guard("misspelt-settings-are-refused")
def _misspelt() -> None:
    """A name nobody knows is somebody else's."""
    _set("ml_backend.setting_values", "misspelt", lambda names, known, *, our_file=False: [])


@guard("secrets-lie-in-files")
def _files() -> None:
    """NAME_FILE is a variable like any other."""
    _set("ml_backend.setting_values", "from_files", lambda names, *layers: ({}, []))


@guard("sample-secrets-are-refused")
def _samples() -> None:
    _set("ml_backend.setting_values", "is_sample", lambda text: False)


@guard("what-is-missing-is-said-first")
def _packages() -> None:
    """Whatever is needed is taken to be installed until it is imported."""
    _set("ml_backend.packages", "missing", lambda *modules: [])


@guard("one-export-of-a-name-at-once")
def _one_export() -> None:
    """Nobody asks whether the name is being written."""
    dataset = module("training.datasets.dataset")
    dataset.devices = _With(dataset.devices, held=lambda *_, **__: contextlib.nullcontext())


@guard("unfinished-exports-are-taken-over")
def _taken_over() -> None:
    """What a killed export left stays as it is, and a new version is begun beside it."""
    dataset, sa = module("training.datasets.dataset"), module("sqlalchemy")
    real = dataset._version

    def version(connection: Any, name: str, *given: Any) -> Any:
        left = dataset.datasets.c.name == name, dataset.datasets.c.state == dataset.WRITING
        connection.execute(sa.update(dataset.datasets).where(*left).values(state="left"))
        return real(connection, name, *given)

    dataset._version = version


@guard("a-backup-is-judged-member-by-member")
def _backup() -> None:
    """Whatever the archive holds is unpacked as it says."""

    def unpack(file: Path, folder: Path, *, objects: bool = True) -> dict[str, Any]:
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="fully_trusted")  # noqa: S202 - this is what must be noticed
        files: dict[str, Any] = json.loads((folder / "manifest.json").read_text())["files"]
        (folder / "manifest.json").unlink()
        return files

    _set("sync.commands.backup", "_unpack", unpack)


@guard("a-backup-of-postgresql-is-of-one-moment")
def _moment() -> None:
    """Each table is read as it is when its turn comes."""
    _set("sync.commands.backup_database", "_freeze", lambda source: None)


@guard("a-restore-needs-an-empty-database")
def _empty() -> None:
    """Rows of a backup are put beside those that are there."""
    _set("sync.commands.backup_database", "refuse_unless_empty", db.upgrade)


@guard("work-that-nobody-takes-is-named")
def _nobody() -> None:
    """`status` shows how much waits, and not for whom."""
    _set("ml_backend.reports.working_state", "_nobody_for", lambda context, waiting, alive: [])


@guard("a-personal-link-opens-ones-own-day-only")
def _any_day() -> None:
    """Whoever is known by a link may ask for anybody."""
    from flask import g, request

    page = module("ml_backend.page.annotating.my_day_page").MyDayPage
    page.show = lambda self: self._day(request.args.get("annotator", g.annotator, type=int))


@guard("links-are-signed")
def _unsigned() -> None:
    """Whatever a link says is believed, and it lasts for ever."""
    links = module("ml_backend.page.annotating.personal_links")
    links.PersonalLinks.read = lambda self, text: links.PersonalLink(links.PERSON, 7)


@guard("a-share-of-few-is-not-judged")
def _judged() -> None:
    """One of one is all."""
    metrics, replace = module("ml_backend.reports.success_metrics"), dataclasses.replace
    metrics.METRICS = tuple(replace(one, least=0) for one in metrics.METRICS)


@guard("requests-share-their-commits")
def _own_commits() -> None:
    """Every request has a transaction of its own."""
    groups = module("ml_backend.api.webhooks.group_commit").GroupCommit
    real = groups._commit
    groups._commit = lambda self, batch: [real(self, [each]) for each in batch]


@guard("a-file-is-made-once")
def _made_once() -> None:
    """A whole file takes the place of the one that is there."""

    def link(source: Any, target: Any) -> None:
        aside = Path(f"{source}.copy")
        shutil.copyfile(source, aside)
        aside.replace(target)

    module("ml_backend.storage.local_store").os = _With(os, link=link)
