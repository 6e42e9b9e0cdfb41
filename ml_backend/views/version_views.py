"""Model versions with their scores, verdicts and history, for the command line and /api."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.models import registry
from ml_backend.tables import alias_history, aliases, evaluations, experiments, model_versions
from ml_backend.views.queries import PagedQuery

MOST_EXPERIMENTS = 100
_MAIN = "indic@1"  # the reading that decides


class VersionQuery(PagedQuery):
    """Which model versions."""

    kind: Annotated[str | None, Field(description="Only of this kind, e.g. asr.")] = None


def every(context: Context, query: VersionQuery) -> list[dict[str, Any]]:
    statement = sa.select(model_versions).order_by(model_versions.c.id.desc()).limit(query.limit)
    if query.kind is not None:
        statement = statement.where(model_versions.c.kind == query.kind)
    if query.before is not None:
        statement = statement.where(model_versions.c.id < query.before)
    rows = context.db.rows(statement)
    ids = [row.id for row in rows]
    mine = sa.select(evaluations).where(evaluations.c.model_version_id.in_(ids)).order_by(evaluations.c.id)
    scored: dict[int, list[Any]] = {}
    for one in context.db.rows(mine):
        scored.setdefault(one.model_version_id, []).append(one)
    serving = context.db.rows(sa.select(aliases).where(aliases.c.model_version_id.in_(ids)))
    return [_short(row, scored.get(row.id, []), serving) for row in rows]


def latest_scores(context: Context, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The newest scores of versions, by their ids; those of every kind as they were stored."""
    mine = sa.select(evaluations.c.model_version_id, evaluations.c.scores).where(
        evaluations.c.model_version_id.in_(ids), evaluations.c.against_version.is_(None)
    )
    return {row.model_version_id: row.scores for row in context.db.rows(mine.order_by(evaluations.c.id))}


def one(context: Context, version: str) -> dict[str, Any]:
    """Everything about one version, by name, `champion` or `newest`; InvalidInput 404 when there is none."""
    if version.rpartition(":")[2] in (registry.CHAMPION, registry.NEWEST):
        version = registry.find(context, version).version
    rows = context.db.rows(sa.select(model_versions).where(model_versions.c.version == version.replace("\x00", "")))
    if not rows:
        raise InvalidInput(
            "no-such-model", f"There is no model version {version[:60]!r}.", registry.known(context), status=404
        )
    row = rows[0]
    mine = sa.select(evaluations).where(evaluations.c.model_version_id == row.id).order_by(evaluations.c.id.desc())
    scored = context.db.rows(mine.limit(50))
    moves = sa.select(alias_history).where(
        sa.or_(alias_history.c.to_version == row.version, alias_history.c.from_version == row.version)
    )
    serving = context.db.rows(sa.select(aliases).where(aliases.c.model_version_id == row.id))
    return {
        **_short(row, list(reversed(scored)), serving), "location": row.location, "lineage": row.lineage,
        "parity": row.parity, "files": row.manifest.get("files", {}),
        "evaluations": [_scored(each) for each in scored],
        "history": [
            {"at": each.created_at, "alias": each.alias, "language": each.language, "from": each.from_version,
             "to": each.to_version, "who": each.who, "why": each.why, "numbers": each.numbers}
            for each in context.db.rows(moves.order_by(alias_history.c.id.desc()).limit(50))
        ],
    }  # fmt: skip


def experiment(row: Any) -> dict[str, Any]:
    """One comparison of two versions on real calls, as JSON."""
    return {
        "name": row.name, "kind": row.kind, "model_kind": row.model_kind,
        "options": row.options, "language": row.language, "traffic_share": row.traffic_share,
        "champion": row.champion, "challenger": row.challenger, "state": row.state, "reason": row.reason,
        "started_by": row.started_by, "started_at": row.created_at.isoformat(),
        "ends_at": row.ends_at.isoformat() if row.ends_at else None,
        "ended_at": row.ended_at.isoformat() if row.ended_at else None, "outcome": row.outcome,
        "would_end": _would_end(row),
    }  # fmt: skip


def experiments_of(context: Context) -> list[dict[str, Any]]:
    """The latest experiments, newest first."""
    rows = context.db.rows(sa.select(experiments).order_by(experiments.c.id.desc()).limit(MOST_EXPERIMENTS))
    return [experiment(row) for row in rows]


def experiment_named(context: Context, name: str) -> dict[str, Any]:
    """One by its name, with the figures of the last look; InvalidInput 404 when there is none."""
    rows = context.db.rows(sa.select(experiments).where(experiments.c.name == name.replace("\x00", "")))
    if not rows:
        raise InvalidInput(
            "unknown-experiment", "There is no such experiment.", "List them: /api/experiments.", status=404
        )
    return experiment(rows[0])


def _would_end(row: Any) -> list[str]:
    """What would end a running experiment, as the last look at its calls said; of an ended one, why it ended."""
    if row.state != "running":
        return [row.reason] if row.reason else []
    told = (row.outcome or {}).get("would_end")
    return list(told) if told else ["Nobody has looked at its calls yet: the first look comes within ten minutes."]


def _short(row: Any, scored: Sequence[Any], serving: Sequence[Any]) -> dict[str, Any]:
    plain = [one for one in scored if one.against_version is None]
    judged = [one for one in scored if one.against_version is not None]
    return {
        "id": row.id, "version": row.version, "kind": row.kind, "languages": row.languages, "made_at": row.created_at,
        "run_id": row.run_id, "retrain_by": row.retrain_by, "rolled_back_at": row.rolled_back_at,
        "reason": row.reason,
        "aliases": [
            {"alias": each.alias, "language": each.language, "revision": each.revision}
            for each in serving
            if each.model_version_id == row.id
        ],
        "wer": _wer(plain[-1]) if plain else None,
        "verdict": judged[-1].verdict if judged else None,
    }  # fmt: skip


def _scored(row: Any) -> dict[str, Any]:
    scores = row.scores or {}
    return {
        "evaluation": row.id, "at": row.created_at, "dataset_id": row.dataset_id, "test_sha256": row.test_sha256,
        "against": row.against_version, "verdict": row.verdict, "wer": _wer(row), "words": scores.get("words_said"),
        "report_key": row.report_key, "scores": scores,
    }  # fmt: skip


def _wer(row: Any) -> float | None:
    found = ((row.scores or {}).get("rates") or {}).get(_MAIN, {}).get("wer")
    return found[0] if found else None
