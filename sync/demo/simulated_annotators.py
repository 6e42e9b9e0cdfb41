"""Open tasks -> annotations by simulated people, for `learn`.

They know each call's reference from its index, and work through Label Studio's API as a browser does: they correct a
drafted task region by region and write a blind one from scratch. Their work has human mistakes: a letter is lost, two
are swapped, a word is missed, and sometimes a draft is submitted unchanged. Mistakes are drawn by the call's name, so
that a run after an interruption continues with the same team.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ml_backend.context import Context
from ml_backend.labelling import labelconfig
from ml_backend.labelling.controls import Controls
from ml_backend.languages import LANGUAGE_NAMES, SCRIPT_NAMES, scripts_in
from ml_backend.tables import projects, recordings, tasks
from sync.label_studio.label_studio_client import client_of

UNREAD = 0.05  # of the drafted calls: submitted as they were, after a few seconds
MISSED_WORD, TYPO = 0.01, 0.012  # of the words
BLIND_CARE = 0.5  # half as many mistakes without a draft, because every word is listened to
CORRECTED, WRITTEN, LEFT = "corrected", "written without a draft", "left as it was"


@dataclass(frozen=True)
class SaidPhrase:
    """A phrase with its times."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Done:
    """Progress, and the kind of work on the previous task."""

    number: int
    of: int
    what: str = ""


def annotate(context: Context, project_id: int, calls: Sequence[Mapping[str, Any]]) -> Iterator[Done]:
    """Annotate the open tasks over these calls (rows of their index) in our project `project_id`. Safe to repeat."""
    project, by_key = context.db.row(projects, project_id), {str(call["key"]): call for call in calls}
    controls, client = labelconfig.parse(project.label_config), client_of(context)
    mine = (
        sa.select(tasks.c.ls_task_id, tasks.c.blind, recordings.c.object_key, recordings.c.duration_s)
        .join(recordings, recordings.c.id == tasks.c.recording_id)
        .where(tasks.c.project_id == project_id, tasks.c.ls_task_id.is_not(None))
        .where(recordings.c.object_key.in_(by_key))
    )
    rows = {int(row.ls_task_id): row for row in context.db.rows(mine.order_by(tasks.c.usefulness.desc(), tasks.c.id))}
    there = {int(task["id"]): task for task in client.tasks(project.ls_project_id, ids=list(rows), whole=True)}
    waiting = [number for number in rows if number in there and not there[number].get("annotations")]
    done = len(rows) - len(waiting)
    yield Done(done, len(rows))
    for number in waiting:
        row = rows[number]
        draft: Mapping[str, Any] = {} if row.blind else next(iter(reversed(there[number].get("predictions") or [])), {})
        body, what = _work(by_key[row.object_key], draft, controls, blind=row.blind, length_s=float(row.duration_s))
        client.call("POST", f"/api/tasks/{number}/annotations/", json=body)
        done += 1
        yield Done(done, len(rows), what)


def _work(
    call: Mapping[str, Any], draft: Mapping[str, Any], controls: Controls, *, blind: bool, length_s: float
) -> tuple[dict[str, Any], str]:
    """One annotation in Label Studio's format, and its kind of work."""
    draw = random.Random(f"annotator {call['call_sid']}")
    drafted = list(draft.get("result") or ())
    parent = {"parent_prediction": draft["id"]} if draft.get("id") else {}
    if drafted and draw.random() < UNREAD:
        return {"result": drafted, "lead_time": round(draw.uniform(2, 5), 1), **parent}, LEFT
    phrases = [SaidPhrase(one["start_s"], one["end_s"], one["text"]) for one in call["phrases"]]
    care = BLIND_CARE if blind else 1.0
    written = [
        SaidPhrase(one.start_s, one.end_s, with_slips(one.text, draw, care))
        for one in placed(phrases, regions(drafted))
    ]
    items = [
        *(item for number, one in enumerate(written) for item in _region(number, one, controls, length_s)),
        *_choices(call, drafted, controls),
    ]
    lead_s = round(length_s * draw.uniform(1.4, 2.6 if not blind else 4.0), 1)
    return {"result": items, "lead_time": lead_s, **parent}, WRITTEN if blind else CORRECTED


def regions(drafted: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """The spans that a draft has text for."""
    texts = [item["value"] for item in drafted if item.get("type") == "textarea" and "start" in item["value"]]
    return sorted((float(value["start"]), float(value["end"])) for value in texts)


def placed(phrases: Sequence[SaidPhrase], stretches: Sequence[tuple[float, float]]) -> list[SaidPhrase]:
    """Phrases in the draft's regions, as a person corrects them; a new region where the draft has none.

    Several phrases in one region are one text. A region without speech is removed.
    """
    kept: dict[int, list[SaidPhrase]] = {}
    alone: list[SaidPhrase] = []
    for phrase in phrases:
        shared = [min(phrase.end_s, end) - max(phrase.start_s, start) for start, end in stretches]
        best = max(range(len(shared)), key=shared.__getitem__, default=-1)
        if best >= 0 and shared[best] > 0.5 * (phrase.end_s - phrase.start_s):
            kept.setdefault(best, []).append(phrase)
        else:
            alone.append(phrase)
    joined = [
        SaidPhrase(
            min(stretches[at][0], some[0].start_s), max(stretches[at][1], some[-1].end_s),
            " ".join(one.text for one in some),
        )
        for at, some in kept.items()
    ]  # fmt: skip
    return sorted([*joined, *alone], key=lambda one: one.start_s)


def with_slips(text: str, draw: random.Random, care: float = 1.0) -> str:
    """A text with rare typing mistakes."""
    words = []
    for word in text.split():
        if draw.random() < MISSED_WORD * care:
            continue
        words.append(_typo(word, draw) if draw.random() < TYPO * care and len(word) > 3 else word)
    return " ".join(words) or text


def _typo(word: str, draw: random.Random) -> str:
    at = draw.randrange(1, len(word) - 1)
    if draw.random() < 0.5:
        return word[:at] + word[at + 1 :]
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _region(number: int, phrase: SaidPhrase, controls: Controls, length_s: float) -> Iterator[dict[str, Any]]:
    """The label that makes the region, and its text: two items with one id."""
    assert controls.labels is not None  # noqa: S101 - `learn` makes its project from the config `calls`
    assert controls.text is not None  # noqa: S101
    place = {"start": phrase.start_s, "end": min(phrase.end_s, length_s), "channel": 0}
    for name, kind, value in (
        (controls.labels.name, "labels", {"labels": [controls.labels.speech]}),
        (controls.text.name, "textarea", {"text": [phrase.text]}),
    ):
        yield {
            "id": f"said-{number:02d}", "from_name": name, "to_name": controls.audio, "type": kind,
            "original_length": length_s, "value": {**place, **value},
        }  # fmt: skip


def _choices(
    call: Mapping[str, Any], drafted: Sequence[Mapping[str, Any]], controls: Controls
) -> Iterator[dict[str, Any]]:
    """The true language and script, and the draft's other choices."""
    script = "".join(scripts_in(call["text"]))
    wanted = {
        "language": LANGUAGE_NAMES.get(call["language"], ()), "script": SCRIPT_NAMES.get(script, SCRIPT_NAMES["Mixed"]),
    }  # fmt: skip
    mine = {controls.choices[role].name for role in wanted if role in controls.choices}
    yield from (dict(item) for item in drafted if item.get("type") == "choices" and item.get("from_name") not in mine)
    for role, words in wanted.items():
        choices = controls.choices.get(role)
        option = choices.option(*words) if choices else None
        if choices and option:
            value = {"choices": [option]}
            yield {
                "id": role, "from_name": choices.name, "to_name": controls.audio, "type": "choices", "value": value,
            }  # fmt: skip
