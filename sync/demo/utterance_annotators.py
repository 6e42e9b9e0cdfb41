"""Open utterances -> annotations by simulated people, for `learn`.

They know what each utterance means, and work through Label Studio's API as a browser does: they take over the draft's
right parts and correct the others; without a draft they mark everything. Now and then they submit a draft unread, mark
too little of an entity, or choose another intent. Mistakes are drawn by the utterance, so that a run after an
interruption continues with the same team.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sa

from ml_backend import languages
from ml_backend.context import Context
from ml_backend.labelling import labelconfig
from ml_backend.labelling.controls import Controls
from ml_backend.labelling.utterance_marks import INTENT, LANGUAGE, TEXT, VERDICT, MarkedUtterance, to_result
from ml_backend.tables import projects, tasks
from sync.demo.simulated_annotators import CORRECTED, LEFT, UNREAD, WRITTEN, Done
from sync.label_studio.label_studio_client import client_of

WRONG_INTENT, SHORT_MARK = 0.03, 0.06
CONFIRMED = "confirmed: the draft was right"


class Meaning(Protocol):
    """What an utterance means: an `intent_corpus.LabelledUtterance`."""

    text: str
    intent: str
    language: str
    entities: tuple[dict[str, Any], ...]


def annotate(context: Context, project_id: int, meanings: Sequence[Meaning]) -> Iterator[Done]:
    """Annotate the open tasks over these utterances in our project `project_id`. Safe to repeat."""
    project, by_text = context.db.row(projects, project_id), {each.text: each for each in meanings}
    controls, client = labelconfig.parse(project.label_config), client_of(context)
    mine = sa.select(tasks.c.ls_task_id, tasks.c.data_value).where(
        tasks.c.project_id == project_id, tasks.c.ls_task_id.is_not(None), tasks.c.data_value.in_(by_text)
    )
    rows = {int(row.ls_task_id): row.data_value for row in context.db.rows(mine.order_by(tasks.c.id))}
    there = {int(task["id"]): task for task in client.tasks(project.ls_project_id, ids=list(rows), whole=True)}
    waiting = [number for number in rows if number in there and not there[number].get("annotations")]
    done = len(rows) - len(waiting)
    yield Done(done, len(rows))
    for number in waiting:
        draft: Mapping[str, Any] = next(iter(reversed(there[number].get("predictions") or [])), {})
        body, what = work(by_text[rows[number]], draft, controls)
        client.call("POST", f"/api/tasks/{number}/annotations/", json=body)
        done += 1
        yield Done(done, len(rows), what)


def work(said: Meaning, draft: Mapping[str, Any], controls: Controls) -> tuple[dict[str, Any], str]:
    """One annotation in Label Studio's format, and its kind of work."""
    draw = random.Random(f"annotator {said.text}")
    drafted = list(draft.get("result") or ())
    parent = {"parent_prediction": draft["id"]} if draft.get("id") else {}
    if drafted and draw.random() < UNREAD:
        return {"result": drafted, "lead_time": round(draw.uniform(1, 2), 1), **parent}, LEFT
    offered = controls.other_choices[INTENT].options
    intent = said.intent if draw.random() >= WRONG_INTENT else draw.choice(offered)
    spoken = controls.choices[LANGUAGE].options if LANGUAGE in controls.choices else ()
    marked = MarkedUtterance(
        intent=intent,
        entities=tuple(_mark(each, said.text, draw) for each in said.entities),
        language=next((each for each in spoken if languages.code_of(each) == said.language), None),
    )
    result = to_result(said.text, marked)
    right = _facts(result) == _facts(drafted)
    verdict = {"choices": ["right" if right else "corrected"]}
    result.append({"id": VERDICT, "from_name": VERDICT, "to_name": TEXT, "type": "choices", "value": verdict})
    what = WRITTEN if not drafted else CONFIRMED if right else CORRECTED
    return {"result": result, "lead_time": round(draw.uniform(3, 12), 1), **parent}, what


def _mark(entity: Mapping[str, Any], text: str, draw: random.Random) -> dict[str, Any]:
    """The entity as a person marks it: sometimes without its last word."""
    start, end = int(entity["start"]), int(entity["end"])
    first, space, _ = text[start:end].rpartition(" ")
    if space and draw.random() < SHORT_MARK:
        end = start + len(first)
    return {"entity": entity["entity"], "start": start, "end": end}


def _facts(result: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a result says, without ids and scores."""
    return sorted(f"{item['from_name']} {sorted(item['value'].items())}" for item in result)
