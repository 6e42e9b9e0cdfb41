"""Clips to rate -> ratings by simulated people, for `learn`.

Several people of Label Studio's, made here, rate every clip through its API. Their scores are drawn: a recording gets
more than the voice, and the voice more than a degraded copy; some people are more generous than others. The last one
does not listen and gives everything the same score. Draws depend on person and clip, so that a run after an
interruption continues with the same people.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from ml_backend.context import Context
from ml_backend.labelling import labelconfig
from ml_backend.tables import projects, tasks, voice_clips
from sync.demo.simulated_annotators import Done
from sync.label_studio.label_studio_client import LabelStudioClient, client_of

AXES = ("naturalness", "pronunciation", "emotion")
LIKED = {
    "reference": (4.5, 4.6, 4.2),
    "degraded": (1.6, 2.3, 2.0),
    None: (3.2, 3.9, 2.9),
}  # the mean of each axis, by the clip's role
GENEROUS, NOISE = 0.4, 0.6
SAME = 4  # the score of who does not listen
RATED = "rated"


def rate(context: Context, project_id: int, people: int) -> Iterator[Done]:
    """Have every clip of our project `project_id` rated by so many people. Safe to repeat."""
    project, client = context.db.row(projects, project_id), client_of(context)
    controls = labelconfig.parse(project.label_config)
    raters = _people(client, people)
    mine = (
        sa.select(tasks.c.ls_task_id, voice_clips.c.role, voice_clips.c.text_key)
        .join(voice_clips, voice_clips.c.recording_id == tasks.c.recording_id)
        .where(tasks.c.project_id == project_id, tasks.c.ls_task_id.is_not(None))
    )
    rows = {int(row.ls_task_id): row for row in context.db.rows(mine.order_by(tasks.c.usefulness.desc(), tasks.c.id))}
    there = {int(task["id"]): task for task in client.tasks(project.ls_project_id, ids=list(rows), whole=True)}
    done, of = 0, len(rows) * people
    for number, row in rows.items():
        rated = {_who(one) for one in there.get(number, {}).get("annotations") or ()}
        for place, rater in enumerate(raters):
            done += 1
            if rater in rated or number not in there:
                yield Done(done, of)
                continue
            scores = scored(place, people, row.role, f"{row.text_key} {row.role}")
            client.call(
                "POST", f"/api/tasks/{number}/annotations/",
                json={"result": _result(scores, controls.audio), "completed_by": rater, "lead_time": 6.0},
            )  # fmt: skip
            yield Done(done, of, RATED)


def scored(place: int, people: int, role: str | None, clip: str) -> dict[str, int]:
    """The scores of one person, by place among `people`, for a clip in a role."""
    if place == people - 1:
        return dict.fromkeys(AXES, SAME)
    generous = random.Random(f"listener {place}").gauss(0, GENEROUS)
    draw = random.Random(f"listener {place} {clip}")
    liked = zip(AXES, LIKED.get(role, LIKED[None]), strict=True)
    return {axis: min(5, max(1, round(draw.gauss(mean + generous, NOISE)))) for axis, mean in liked}


def _result(scores: Mapping[str, int], audio: str) -> list[dict[str, Any]]:
    return [
        {"id": axis, "from_name": axis, "to_name": audio, "type": "choices", "value": {"choices": [str(score)]}}
        for axis, score in scores.items()
    ]


def _people(client: LabelStudioClient, count: int) -> list[int]:
    """The ids of so many listeners in Label Studio; those that are missing are made."""
    known = {str(user["email"]): int(user["id"]) for user in client.call("GET", "/api/users/")}
    found = []
    for number in range(1, count + 1):
        email = f"listener-{number}@example.com"
        if email not in known:
            name = {"first_name": "Listener", "last_name": str(number), "username": f"listener-{number}"}
            known[email] = int(client.call("POST", "/api/users/", json={"email": email, **name})["id"])
        found.append(known[email])
    return found


def _who(annotation: Mapping[str, Any]) -> int:
    """The id of who made an annotation, which Label Studio gives as a number or as an object."""
    by = annotation.get("completed_by")
    return int(by["id"] if isinstance(by, Mapping) else by or 0)
