"""Accepted utterances -> the lines of a manifest of kind nlu, and for every other one the reason why it is left out.

A family (rewordings of one sentence) and a caller are on one side of every split: what is connected through either is
one component, and a hash of its name places it. So the same utterances are on the same side in every version.

    test        rows that a person checked, and no others:
                  `unseen`  of components that nothing is trained on: this figure decides
                  `seen`    single rows of components that are trained on: it shows what a random split would
    validation  components of their own, so early stopping and calibration also see unseen wordings
    train       everything else

A test component's unchecked rows are left out of the dataset: they reword what is tested. An intent keeps at least one
component for training, whatever its hash says, because what was never trained on cannot be recognised.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.calls.consent import NO_TRAINING
from ml_backend.tables import annotations as written
from ml_backend.tables import calls, projects, recordings, tasks, utterances
from training.datasets import splits
from training.datasets.dataset_rows import DUPLICATE, EXCLUDED, LINE, ManifestLine
from training.datasets.filters import DatasetFilters
from training.quality import exclusions
from training.utterances.paraphrase_families import pattern
from training.utterances.utterance_checks import CORRECTION

TEST_SHARE, VALIDATION_SHARE, SEEN_SHARE = 0.2, 0.1, 0.1
LEAST_SPREAD = 3  # components of an intent below which all of them are trained on
LEAST_SCORED = 30  # rows of a language in the test part below which only counts are shown
UNSEEN, SEEN = "unseen", "seen"
CONFLICT, TEST_FAMILY = "label-conflict", "test-family"
_STREAM = {"yield_per": 2000}


@dataclass(frozen=True, slots=True)
class SplitRow:
    """What decides about the split of one row."""

    digest: str
    intent: str
    family: str
    caller: str | None
    checked: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """A row's split; `wording` only in the test part. An empty split means that the row is left out."""

    split: str
    wording: str | None = None


def lines(connection: Connection, filters: DatasetFilters) -> Iterator[ManifestLine]:
    """Every utterance once, in the order of `order`. One snapshot: use one reading transaction."""
    reasons: dict[int, str] = {}
    rows: list[SplitRow] = []
    ids: list[int] = []
    best: dict[tuple[str, str], tuple[bool, bool, str, int]] = {}  # one text's row: corrected, checked, by its digest
    labels: defaultdict[str, set[str]] = defaultdict(set)
    checked_labels: defaultdict[str, set[str]] = defaultdict(set)
    corrected_labels: defaultdict[str, set[str]] = defaultdict(set)  # in Label Studio: they overrule the source
    judged = exclusions.read(connection)  # drafts that were accepted unread are no reference
    for row in connection.execute(_statement(), execution_options=_STREAM):
        reasons[row.id] = _objection(row, filters) or judged.objection(row.annotation_id or 0, None)
        if not reasons[row.id]:
            said = " ".join(row.text.casefold().split())
            labels[said].add(row.intent)
            if row.checked:
                checked_labels[said].add(row.intent)
            if row.source == CORRECTION:
                corrected_labels[said].add(row.intent)
            place, rank = (said, row.intent), (row.source != CORRECTION, not row.checked, row.digest, row.id)
            best[place] = min(best.get(place, rank), rank)
    for row in connection.execute(_statement(), execution_options=_STREAM):
        if reasons[row.id]:
            continue
        said = " ".join(row.text.casefold().split())
        right = corrected_labels[said] or checked_labels[said] or labels[said]
        if len(right) > 1 or row.intent not in right:
            reasons[row.id] = CONFLICT
        elif best[said, row.intent][-1] != row.id:
            reasons[row.id] = DUPLICATE
        else:
            ids.append(row.id)
            rows.append(SplitRow(row.digest, row.intent, _family(row), row.caller, bool(row.checked)))
    placed = dict(zip(ids, place_rows(rows), strict=True))
    for row in connection.execute(_statement(), execution_options=_STREAM):
        where = placed.get(row.id)
        reason = reasons[row.id] or (TEST_FAMILY if where is not None and not where.split else "")
        if reason or where is None:
            yield ManifestLine(EXCLUDED, {"digest": row.digest, "source": row.source, "id": row.digest[:20]}, reason)
        else:
            yield ManifestLine(LINE, _line(row, where))


def order(line: dict[str, Any]) -> tuple[Any, ...]:
    """The sort key of lines."""
    return (line["digest"],)


def place_rows(rows: Collection[SplitRow]) -> list[Placed]:
    """The split of each row."""
    component = _components(rows)
    members: defaultdict[str, list[SplitRow]] = defaultdict(list)
    for row, name in zip(rows, component, strict=True):
        members[name].append(row)
    side = _sides(members)
    alone = Counter(row.caller for row in rows if row.caller)
    trained = [row for row, name in zip(rows, component, strict=True) if side[name] == splits.TRAIN]
    families, intents = Counter(row.family for row in trained), Counter(row.intent for row in trained)
    found = []
    for row, name in zip(rows, component, strict=True):
        if side[name] == splits.TEST:
            found.append(Placed(splits.TEST, UNSEEN) if row.checked else Placed(""))
        elif side[name] == splits.TRAIN and _seen(row, alone) and families[row.family] > 1 < intents[row.intent]:
            families[row.family] -= 1
            intents[row.intent] -= 1
            found.append(Placed(splits.TEST, SEEN))
        else:
            found.append(Placed(side[name]))
    return found


def language_counts(found: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows of each language by split, and whether there are enough in the test part for a score."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for line in found:
        part = line["split"] if line["split"] != splits.TEST else f"test_{line['wording']}"
        counts[line["language"] or "unknown"][part] += 1
    return {
        language: {**dict(sorted(numbers.items())), "scored": numbers["test_unseen"] >= LEAST_SCORED}
        for language, numbers in sorted(counts.items())
    }


def _seen(row: SplitRow, alone: Counter[str]) -> bool:
    """Whether a checked row of the training side is tested on: never one whose caller says more than this."""
    lonely = row.caller is None or alone[row.caller] == 1
    return row.checked and lonely and splits.position(f"seen|{row.digest}") < SEEN_SHARE


def _components(rows: Collection[SplitRow]) -> list[str]:
    """The name of each row's component: the first family in it, so that the order of rows changes nothing."""
    group: dict[str, str] = {}

    def root(name: str) -> str:
        while group.setdefault(name, name) != name:
            group[name] = group[group[name]]
            name = group[name]
        return name

    for row in rows:
        one = root(f"family:{row.family}")
        if row.caller:
            other = root(f"caller:{row.caller}")
            group[max(one, other)] = min(one, other)
    named: dict[str, str] = {}
    for row in rows:
        name, found = root(f"family:{row.family}"), f"family:{row.family}"
        named[name] = min(named.get(name, found), found)
    return [named[root(f"family:{row.family}")] for row in rows]


def _sides(members: dict[str, list[SplitRow]]) -> dict[str, str]:
    """The side of each component: by its hash, corrected where an intent would miss training or testing."""
    at = {name: splits.position(name) for name in members}
    testable = {name for name, rows in members.items() if any(row.checked for row in rows)}
    side = {}
    for name, place in at.items():
        if place < TEST_SHARE and name in testable:
            side[name] = splits.TEST
        elif TEST_SHARE <= place < TEST_SHARE + VALIDATION_SHARE:
            side[name] = splits.VALIDATION
        else:
            side[name] = splits.TRAIN
    of_intent: defaultdict[str, list[str]] = defaultdict(list)
    intents = {name: sorted({row.intent for row in rows}) for name, rows in members.items()}
    for name, theirs in intents.items():
        for intent in theirs:
            of_intent[intent].append(name)
    for intent in sorted(of_intent):
        found = sorted(of_intent[intent], key=lambda name: at[name])
        if len(found) < LEAST_SPREAD:
            side |= dict.fromkeys(found, splits.TRAIN)
        elif all(side[name] != splits.TRAIN for name in found):
            side[found[-1]] = splits.TRAIN
    for wanted in (splits.TEST, splits.VALIDATION):
        for intent in sorted(of_intent):
            found = sorted(of_intent[intent], key=lambda name: at[name])
            if len(found) < LEAST_SPREAD or any(side[name] == wanted for name in found):
                continue
            for name in found:
                usable = name in testable if wanted == splits.TEST else True
                if side[name] == splits.TRAIN and usable and _spared(name, intents[name], of_intent, side):
                    side[name] = wanted
                    break
    return side


def _spared(name: str, intents: list[str], of_intent: dict[str, list[str]], side: dict[str, str]) -> bool:
    """Whether every intent of a component has another one to be trained on."""
    return all(any(side[other] == splits.TRAIN for other in of_intent[intent] if other != name) for intent in intents)


def _objection(row: Any, filters: DatasetFilters) -> str:
    """Why this dataset leaves an utterance out, as a code; empty when it is used."""
    if row.state != "accepted":
        return str(row.reason_code or row.state)
    if not row.intent:
        return "intent-missing"
    if row.consent_purpose in NO_TRAINING or (
        filters.consent == "stated" and row.call_id is not None and row.consent_purpose != "training"
    ):
        return "consent"
    if filters.language_set and (row.language or "") not in filters.language_set:
        return "language"
    if filters.since or filters.until:
        at, first, end = row.started_at or row.created_at, filters.first_moment, filters.end_moment
        if (first and at < first) or (end and at >= end):
            return "date"
    if filters.project_ids and row.ls_project_id not in filters.project_ids:
        return "project"
    return ""


def _family(row: Any) -> str:
    """Its family; a row that families were not found for yet is compared by its pattern."""
    return row.family or f"pattern:{pattern(row.text, row.entities)}"


def _line(row: Any, where: Placed) -> dict[str, Any]:
    return {
        "id": row.digest[:20],
        "digest": row.digest,
        "source": row.source,
        "text": row.text,
        "intent": row.intent,
        "entities": row.entities,
        "language": row.language,
        "script": row.script,
        "family": _family(row),
        "caller": row.caller,
        "checked": bool(row.checked),
        "split": where.split,
        "wording": where.wording,
        "project_id": row.ls_project_id,
        "task_id": row.ls_task_id,
        "annotation_id": row.ls_annotation_id,
        "model_version": row.model_version,
        "consent_purpose": row.consent_purpose,
    }


def _statement() -> sa.Select[Any]:
    """Every utterance with all columns of a line, in the order of the manifest."""
    row = utterances.c
    return (
        sa.select(
            row.id, row.digest, row.source, row.text, row.intent, row.entities, row.language, row.script, row.family,
            row.caller, row.checked, row.model_version, row.annotation_id, row.state, row.reason_code, row.created_at,
            calls.c.id.label("call_id"), calls.c.consent_purpose, calls.c.started_at, tasks.c.ls_task_id,
            projects.c.ls_project_id, written.c.ls_annotation_id,
        )
        .outerjoin(recordings, recordings.c.id == row.recording_id)
        .outerjoin(calls, calls.c.id == sa.func.coalesce(row.call_id, recordings.c.call_id))
        .outerjoin(tasks, tasks.c.id == row.task_id)
        .outerjoin(projects, projects.c.id == tasks.c.project_id)
        .outerjoin(written, written.c.id == row.annotation_id)
        .order_by(row.digest, row.origin, row.external_id)
    )  # fmt: skip
