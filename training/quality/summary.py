"""All annotations -> the report that `annotations summary` and /api/annotations/summary show.

It holds counts, rates and ids, but no text and no names. A job stores it in `summaries` for the web process, which does
not import `training`. The row `stamped` has the annotations that a dataset must not use as references.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import KaanError
from ml_backend.models import kinds
from ml_backend.tables import datasets, summaries
from training.quality import (
    agreement,
    draft_quality,
    duplicates,
    exclusions,
    gold_tasks,
    intent_reviews,
    leakage,
    review_time,
    stamping,
)
from training.quality import reviews as review_rows
from training.quality.figures import share
from training.quality.reviews import AgreementPair, Review, Scope
from training.quality.stamping import Findings

NAME = "annotations"


def summarise_annotations(context: JobContext) -> None:
    """The job: make the whole report and store it for `/api`. Safe to repeat."""
    body, left_out = make(context)
    with context.db.transaction() as connection:
        keep(connection, NAME, body)
        keep(connection, exclusions.NAME, left_out)


def renew_verdicts(context: Context) -> None:
    """Recompute what a dataset leaves out, so that the same annotations always give the same dataset."""
    with context.db.reading() as connection:
        left_out = _left_out(_stamped(connection), duplicates.find(duplicates.fingerprints(connection)).surplus())
    with context.db.transaction() as connection:
        keep(connection, exclusions.NAME, left_out)


def _stamped(connection: Connection) -> Mapping[int, str]:
    reviews = review_rows.reviews(connection, Scope())
    of_calls = stamping.find(reviews, review_rows.pairs(connection, reviews)).annotations
    return {**of_calls, **intent_reviews.report(connection, Scope())[1]}


def _left_out(stamped: Mapping[int, str], surplus: Iterable[int]) -> dict[str, Any]:
    return {"annotations": {str(key): why for key, why in stamped.items()}, "recordings": sorted(surplus)}


def make(context: Context, scope: Scope | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the report, what a dataset must leave out: annotation ids with the reason, surplus recordings)."""
    scope = scope or Scope()
    with context.db.reading() as connection:
        reviews = review_rows.reviews(connection, scope)
        pairs = review_rows.pairs(connection, reviews)
        twins = duplicates.find(duplicates.fingerprints(connection, scope.project_id))
        checked = _datasets(connection, context)
        of_texts, copied = intent_reviews.report(connection, scope)
    found = stamping.find(reviews, pairs)
    body = {
        "made_at": tables.now().isoformat(timespec="seconds"),
        "project_id": scope.project_id,
        "since": _text(scope.since),
        "annotations": totals(reviews),
        "agreement": agreement.by_start(pairs),
        "alpha": {
            "all": agreement.alphas(reviews),
            "blind": agreement.alphas([each for each in reviews if each.blind]),
        },
        "review_time": review_time.by_start(reviews),
        "rejection": measure(reviews),
        "drafts": draft_quality.by_version(reviews, found.people),
        "gold": gold_tasks.measure(reviews),
        "people": table(reviews, pairs, found),
        "stamping": found.to_dict(reviews),
        "duplicates": twins.to_dict(),
        "leaks": checked,
        "utterances": of_texts,
    }
    return body, _left_out({**found.annotations, **copied}, twins.surplus())


def totals(reviews: list[Review]) -> dict[str, Any]:
    """Annotations by kind, people, and length of audio."""
    answered = [each for each in reviews if each.answered]
    return {
        "all": len(reviews),
        "answered": len(answered),
        "drafted": sum(each.drafted for each in answered),
        "blind": sum(each.blind for each in answered),
        "before_attach": sum(each.before_attach for each in reviews),
        "people": len({each.annotator for each in reviews}),
        "tasks": len({each.task_id for each in reviews}),
        "audio_s": round(sum(each.audio_s or 0.0 for each in answered), 1),
    }


def keep(connection: Connection, name: str, body: dict[str, Any]) -> None:
    """Replace the stored report."""
    db.upsert(connection, summaries, {"name": name, "body": body, "made_at": tables.now()}, key=("name",))


def _datasets(connection: Connection, context: Context) -> list[dict[str, Any]]:
    """The newest version of each dataset, with its leaks."""
    newest = sa.select(sa.func.max(datasets.c.id)).where(datasets.c.state == "ready").group_by(datasets.c.name)
    rows = connection.execute(sa.select(datasets).where(datasets.c.id.in_(newest)).order_by(datasets.c.name)).all()
    known = leakage.origins(connection) if rows else {}
    results = []
    for row in rows:
        names = {"dataset": row.name, "version": row.version, "sha256": row.manifest_sha256}
        with tempfile.TemporaryDirectory(prefix="kaan-leaks-") as folder:
            path = Path(folder) / "manifest.jsonl"
            try:
                context.store.fetch(context.settings.audio_bucket, row.manifest_key or "", path)
            except KaanError as error:
                results.append({**names, "note": f"its manifest cannot be read: {error.sentence}"})
                continue
            read = partial(_lines, path, of="text" if row.kind == kinds.NLU else "audio_sha256")
            leaks = leakage.of_utterances(read()) if row.kind == kinds.NLU else leakage.find(read, known)
            results.append({**names, **leakage.to_dict(leaks, sum(1 for _ in read()))})
    return results


def _lines(path: Path, *, of: str) -> Iterator[dict[str, Any]]:
    """The lines that have such a field and a split."""
    with path.open(encoding="utf-8") as file:
        for text in file:
            line = json.loads(text)
            if isinstance(line, dict) and of in line and "split" in line:
                yield line


def _text(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None


def measure(reviews: Sequence[Review]) -> dict[str, Any]:
    """Rejected: a reason was chosen, such as private or no-speech. Skipped: no answer at all."""
    skipped = sum(each.skipped for each in reviews)
    rejected = [each for each in reviews if each.reject and not each.skipped]
    reasons = Counter(reason for each in rejected for reason in each.reject)
    return {
        "rejected": share(len(rejected), len(reviews) - skipped),
        "skipped": share(skipped, len(reviews)),
        "reasons": dict(reasons.most_common()),
    }


def table(reviews: Sequence[Review], pairs: Sequence[AgreementPair], found: Findings) -> list[dict[str, Any]]:
    """One row per person, the most annotations first. People are Label Studio's user ids; None: no author."""
    mine: dict[int | None, list[Review]] = defaultdict(list)
    for review in reviews:
        mine[review.annotator].append(review)
    order = sorted(mine, key=lambda who: (-len(mine[who]), who or 0))
    return [_line(who, mine[who], pairs, found) for who in order]


def _line(who: int | None, mine: Sequence[Review], pairs: Sequence[AgreementPair], found: Findings) -> dict[str, Any]:
    answered = [each for each in mine if each.answered]
    between = agreement.measure(agreement.of_person(pairs, who))
    against = gold_tasks.measure(mine)
    work = draft_quality.measure(draft_quality.judged(mine))
    return {
        "annotator": who,
        "annotations": len(mine),
        "audio_s": round(sum(each.audio_s or 0.0 for each in answered), 1),
        "time": review_time.measure(mine),
        "edit_rate": work["edit_rate"],
        "accepted_unchanged": work["accepted_unchanged"],
        "agreement": {"tasks": between["tasks"], "wer": between["wer"]},
        "gold": {"answers": against["answers"], "wer": against["wer"], "right": against["right"]},
        **{name: measure(mine)[name] for name in ("rejected", "skipped")},
        "stamped": sum(each.id in found.annotations for each in mine),
        "signs": [sign.name for sign in found.people.get(who or 0, ())],
    }
