"""Candidate, champion -> a stored verdict, and the champion's alias moved or not.

Both are scored on the newest test set, under the same readings and decoding, and compared on rows that neither was
trained on. The alias moves only from the revision that the verdict was based on, so one of two concurrent promotions
fails with an error. A rollback needs no score and no network: the version before serves again, and the failed one is
marked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import quantities, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import InvalidInput, PermanentError
from ml_backend.jobs import devices, failpoints, job_kinds
from ml_backend.models import kinds, model_files, registry
from ml_backend.models.registry import ANY_LANGUAGE, CHAMPION, Version
from ml_backend.serving import default_model
from ml_backend.tables import alias_history, datasets, model_versions
from training.datasets import dataset
from training.promotion import judgements
from training.promotion.judgements import Judgement

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Promotion:
    """The result of an attempt. `refused` says why in one sentence; empty when the alias moved."""

    judgement: Judgement | None
    moved: bool
    refused: str = ""
    revision: int = 0


def promote(
    context: Context,
    candidate: Version,
    *,
    who: str,
    why: str,
    dataset_id: int | None = None,
    language: str = ANY_LANGUAGE,
    force: bool = False,
    report: Report = lambda fraction, note: None,
) -> Promotion:
    """Judge, and make the candidate the champion if the verdict allows it, or regardless with `force`.

    Raises RetryableError `alias-moved` when the champion changed meanwhile.
    """
    if force and not why.strip():
        raise InvalidInput("no-reason", "Forcing a promotion needs a reason.", "Give --why.")
    champion, revision = serving(context, candidate.kind, language)
    candidate = registry.find(context, candidate.version)  # again: it may be rolled back by now
    if champion.id == candidate.id and revision:
        raise InvalidInput("same-version", f"{candidate.version} is the champion already.", "Name another version.")
    if language != ANY_LANGUAGE and candidate.languages and language not in candidate.languages:
        raise InvalidInput(
            "unknown-language", f"{candidate.version} knows no language {language[:12]!r}.",
            f"Name one that it knows ({', '.join(sorted(candidate.languages))}), or another version.",
        )  # fmt: skip
    registry.verified(context, candidate)
    if candidate.rolled_back and not force:
        return Promotion(None, False, f"{candidate.version} was rolled back; it was found wanting in use.")
    judgement = _judged(context, champion, candidate, dataset_id, language, report, force=force)
    passed = judgement is not None and judgement.verdict.passed
    if not passed and not force:
        assert judgement is not None  # noqa: S101 - only `force` goes on without one
        return Promotion(judgement, False, judgement.words[0])
    numbers = {**(judgement.numbers if judgement else {}), "forced": force and not passed}
    failpoints.hit("promotion.before-alias")
    moved = registry.move_alias(
        context, candidate, expected_revision=revision, who=who, why=why or "The gate found it better.",
        numbers=numbers, language=language,
    )  # fmt: skip
    return Promotion(judgement, True, revision=moved)


def promote_version(context: JobContext, version: str, who: str, why: str, language: str = ANY_LANGUAGE) -> None:
    """The job of automatic promotion (AUTO_PROMOTE): the gate decides, nothing is forced. Safe to repeat."""
    candidate = registry.find(context, version)
    if serving(context, candidate.kind, language)[0].id == candidate.id:
        context.report(1.0, f"{version} is the champion.")
        return
    try:
        result = promote(context, candidate, who=who, why=why, language=language, report=context.report)
    except devices.Busy as busy:
        key = f"{version}:{language}"
        devices.ask_again(context, job_kinds.PROMOTE_VERSION, key, version=version, who=who, why=why, language=language)
        context.report(0.0, busy.sentence)
        return
    context.report(1.0, f"{version} is the champion." if result.moved else f"Refused: {result.refused}")


def roll_back(context: JobContext, model_kind: str, language: str, to: str, left: str, who: str, why: str) -> None:
    """The job of a rollback that a person asked for on the page. `left` served then: repeated, it goes back once."""
    current = registry.aliased(context, model_kind, language=language)
    if current is None or current.version != left:
        context.report(1.0, f"Refused: {left} no longer serves {language}.")
        return
    now, before = rollback(context, who=who, why=why, kind=model_kind, language=language, to=to)
    context.report(1.0, f"{now.version} serves again; {before.version} is marked as rolled back.")


def compare_versions(context: JobContext, first: str, second: str, who: str = "", why: str = "") -> None:
    """The job of a comparison as the gate would make it; nothing is promoted. Its row says who asked, and why."""
    before, after = registry.find(context, first), registry.find(context, second)
    try:
        found = judgements.judge(
            context, before, after, newest_test_set(context, after.kind), report=context.report
        )  # fmt: skip
    except devices.Busy as busy:
        key = f"{first}:{second}"
        devices.ask_again(context, job_kinds.COMPARE_VERSIONS, key, first=first, second=second, who=who, why=why)
        context.report(0.0, busy.sentence)
        return
    context.report(1.0, found.words[0])


def _judged(
    context: Context, champion: Version, candidate: Version, dataset_id: int | None, language: str, report: Report,
    *, force: bool,
) -> Judgement | None:  # fmt: skip
    """The verdict; None only with `force`, where none can be reached."""
    try:
        chosen = dataset_id if dataset_id is not None else newest_test_set(context, candidate.kind)
        return judgements.judge(context, champion, candidate, chosen, language=language, report=report)
    except PermanentError:
        if force:
            return None
        raise


def rollback(
    context: Context, *, who: str, why: str, kind: str = "asr", language: str = ANY_LANGUAGE, to: str = ""
) -> tuple[Version, Version]:
    """(version that serves now, version that served before). The latter is marked in the same transaction."""
    if not why.strip():
        raise InvalidInput("no-reason", "Going back needs a reason.", "Give --why.")
    current = registry.aliased(context, kind, language=language)
    if current is None:
        raise PermanentError("no-champion", f"No {kind} version serves {language}.", "`models list` shows what serves.")
    target = registry.find(context, to) if to else _before(context, current, language)
    kinds.require(target, kind)
    if target.id == current.id:
        raise InvalidInput("same-version", f"{target.version} is the champion already.", "Name another version.")
    _present(context, target)
    with context.db.transaction() as connection:
        mark = {"rolled_back_at": tables.now(), "reason_code": "rolled-back", "reason": quantities.shortened(why, 400)}
        connection.execute(sa.update(model_versions).where(model_versions.c.id == current.id).values(**mark))
        registry.move(
            connection, target, expected_revision=current.revision, who=who, why=f"Rolled back: {why}",
            language=language,
        )  # fmt: skip
    return target, current


def serving(context: Context, kind: str, language: str) -> tuple[Version, int]:
    """(the champion that a candidate is compared with, the revision of the alias that would move; 0: no alias)."""
    default_model.ensure(context, kind)
    own = registry.aliased(context, kind, language=language)
    return (own, own.revision) if own is not None else (registry.champion(context, kind), 0)


def newest_test_set(context: Context, kind: str = kinds.ASR) -> int:
    """The newest version with test rows: of the dataset that the kind's schedule exports, else of any of the kind."""
    brought = kinds.of(kind)
    ready = sa.select(datasets).where(datasets.c.state == dataset.READY, datasets.c.kind == kind)
    rows = context.db.rows(ready.order_by(datasets.c.id.desc()))
    tested = [row for row in rows if _test_rows(row)]
    found = next((row for row in tested if row.name == brought.dataset), next(iter(tested), None))
    if found is None:
        raise PermanentError("no-test-set", *brought.test_set_missing)
    return int(found.id)


def _test_rows(row: Any) -> int:
    splits = (row.counts or {}).get("splits") or {}
    return int((splits.get("test") or {}).get("rows") or 0)


def _before(context: Context, current: Version, language: str) -> Version:
    """The last champion before this one that was not rolled back."""
    with context.db.reading() as connection:
        moves = _moves(connection, current.kind, language)
        failed = set(
            connection.execute(
                sa.select(model_versions.c.version).where(model_versions.c.rolled_back_at.is_not(None))
            ).scalars()
        )
    name: str | None = current.version
    for move in moves:
        if move.to_version == name and move.from_version != name:
            name = move.from_version
            if name is not None and name not in failed and name != current.version:
                return registry.find(context, name)
    raise PermanentError("nothing-before", "There is no earlier champion to go back to.", "Name one: --to VERSION.")


def _moves(connection: Connection, kind: str, language: str) -> Sequence[Any]:
    history = alias_history.c
    mine = (history.kind == kind, history.language == language, history.alias == CHAMPION)
    return connection.execute(sa.select(alias_history).where(*mine).order_by(history.id.desc())).all()


def _present(context: Context, version: Version) -> None:
    """Check that its files exist with their lengths; loading checks the digests."""
    if (name := model_files.present(context, version.location, version.manifest["files"])) is not None:
        raise PermanentError(
            "model-file-changed", f"{version.version} is not whole any more: {name}.", "Restore it, or name --to."
        )
