"""Whatever becomes of webhooks, the annotations here end as they are in Label Studio, and the difference is shown."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from werkzeug.wrappers import Request, Response

from ml_backend import tables
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.metrics import Metrics
from ml_backend.reports import working_state
from sync.annotations import differences
from sync.commands import doctor, status
from sync.projects import connections, task_reconciliation
from tests.sync import web
from tests.sync.conftest import Service

CALLS = ("en-delivery-noisy.wav", "hi-refund-sum.wav", "mr-new-address.wav")


def said(text: str) -> list[dict[str, object]]:
    return [
        {"id": "t", "from_name": "transcription", "to_name": "audio", "type": "textarea", "value": {"text": [text]}}
    ]


@dataclasses.dataclass
class Team:
    """People at work in one project: what they do is done by the API, and Label Studio tells us or not."""

    service: Service
    project: sa.Row[Any]
    task_ids: list[int]

    def submit(self, task_id: int, text: str, **more: Any) -> int:
        body = {"result": said(text), "lead_time": 4.5, **more}
        return int(self.service.client.call("POST", f"/api/tasks/{task_id}/annotations/", json=body)["id"])

    def change(self, annotation_id: int, **values: Any) -> None:
        self.service.client.call("PATCH", f"/api/annotations/{annotation_id}/", json=values)

    def delete(self, annotation_id: int) -> None:
        self.service.client.call("DELETE", f"/api/annotations/{annotation_id}/")

    def there(self) -> dict[int, tuple[str, str, bool]]:
        """Label Studio's truth: id -> (updated_at, text, skipped)."""
        found = {}
        for task in self.service.client.tasks(self.project.ls_project_id, whole=True):
            for one in task["annotations"]:
                texts = [
                    " ".join(item["value"]["text"]).strip() for item in one["result"] if item["type"] == "textarea"
                ]
                updated_at = one["updated_at"].replace("Z", "+00:00")
                found[one["id"]] = (updated_at, " ".join(texts), one["was_cancelled"])
        return found

    def here(self) -> dict[int, tuple[str, str, bool]]:
        """The same from our rows: the newest that is not deleted counts."""
        rows = self.service.context.db.rows(
            sa.select(tables.annotations)
            .where(tables.annotations.c.project_id == self.project.id, tables.annotations.c.deleted_at.is_(None))
            .order_by(tables.annotations.c.ls_updated_at)
        )
        return {
            row.ls_annotation_id: (row.ls_updated_at.isoformat(), (row.text or "").strip(), row.skipped) for row in rows
        }

    def compare(self, full: int = 0) -> None:
        with self.service.context.db.transaction() as connection:
            key = f"{self.project.id}:{full}"
            enqueueing.enqueue(
                connection, job_kinds.COMPARE_ANNOTATIONS, key=key, project_id=self.project.id, full=full
            )
        self.service.run_jobs(quiet_s=0)

    def difference(self) -> dict[str, Any]:
        return differences.read(self.service.context, self.project.id) or {}


@pytest.fixture
def team(service: Service) -> Team:
    """A project with drafted tasks, read once in full."""
    project = service.project()
    service.bring(project, *CALLS)
    service.run_jobs()
    made = Team(service, project, [task["id"] for task in service.there(project)])
    made.compare(full=1)
    return made


def deaf(team: Team) -> None:
    """From here on Label Studio tells nobody."""
    [hook] = team.service.client.webhooks(team.project.ls_project_id)
    team.service.client.change_webhook(hook, is_active=False)


def test_webhooks_dropped_repeated_and_out_of_order_leave_the_same_annotations_as_label_studio_has(team: Team) -> None:
    service, chance = team.service, random.Random(20261122)
    kept: list[bytes] = []

    def record(request: Request) -> Response:
        kept.append(request.get_data())
        return Response("{}", mimetype="application/json")

    with web.serving(record) as recorder:
        [hook] = service.client.webhooks(team.project.ls_project_id)
        service.client.change_webhook(hook, url=f"{recorder.url}/webhook")
        ids = [team.submit(chance.choice(team.task_ids), f"said {number}") for number in range(24)]
        for number in range(40):
            one = chance.choice(ids)
            act: Callable[[], None] = chance.choice(
                [
                    lambda one=one, number=number: team.change(one, result=said(f"changed {number}")),
                    lambda one=one: team.change(one, was_cancelled=True),
                    lambda one=one: team.change(one, was_cancelled=False),
                    lambda one=one: (team.delete(one), ids.remove(one)),
                ]  # type: ignore[list-item]
            )
            act()
        service.client.action(team.project.ls_project_id, "predictions_to_annotations", team.task_ids[:2])
        service.client.delete_task(team.task_ids[2])

    assert len(kept) > 60
    sent = [one for one in kept if chance.random() >= 0.3]
    sent += [one for one in sent if chance.random() < 0.2]
    chance.shuffle(sent)
    secret = service.context.settings.label_studio_webhook_secret.get_secret_value()
    headers = {"X-Webhook-Secret": secret, "Content-Type": "application/json"}
    for body in sent:
        assert httpx.post(f"{service.url}/webhook", content=body, headers=headers).status_code == 200
    service.run_jobs()
    team.compare()

    assert team.here() == team.there()
    assert team.difference()["difference"] == 0
    [task_row] = [row for row in service.rows(tables.tasks) if row.ls_task_id == team.task_ids[2]]
    assert task_row.state == "deleted"


def test_what_was_done_while_nobody_was_told_is_read_within_one_look(team: Team) -> None:
    deaf(team)
    one, other = (team.submit(task_id, "first") for task_id in team.task_ids[:2])
    team.change(one, result=said("second"))
    skipped = team.submit(team.task_ids[2], "", result=[], was_cancelled=True)
    assert team.here() == {}
    team.compare()
    assert team.here() == team.there()
    assert {row.found_by for row in team.service.rows(tables.annotations)} == {"list"}
    assert [row.skipped for row in team.service.rows(tables.annotations, ls_annotation_id=skipped)] == [True]

    deaf(team)
    team.delete(other)
    team.change(skipped, was_cancelled=False, result=said("after all"))
    team.compare()
    assert team.here() == team.there()
    assert other not in team.here()


def test_annotations_inside_an_import_are_kept_and_are_nobodys_ground_truth(team: Team) -> None:
    """Label Studio sends TASKS_CREATED for an import, and nothing for the annotations in it."""
    entry = {"data": {"audio": "s3://nowhere/imported.wav"}, "annotations": [{"result": said("brought along")}]}
    [task_id] = team.service.client.import_tasks(team.project.ls_project_id, [entry])
    team.service.run_jobs()

    [row] = team.service.rows(tables.annotations)
    assert (row.text, row.found_by, row.ground_truth, row.edited) == ("brought along", "import", False, "manual")
    assert row.task_id is not None
    assert row.ls_task_id == task_id


def test_many_predictions_turned_into_annotations_cost_no_request_each(team: Team) -> None:
    project = team.project.ls_project_id
    entries = [
        {
            "data": {"audio": f"s3://nowhere/{number}.wav"},
            "predictions": [{"model_version": "theirs-1", "score": 0.5, "result": said(f"heard {number}")}],
        }
        for number in range(30)
    ]
    task_ids = team.service.client.import_tasks(project, entries)
    team.service.run_jobs()
    team.service.client.action(project, "predictions_to_annotations", task_ids)
    team.service.run_jobs()

    assert team.here() == team.there()
    rows = team.service.rows(tables.annotations)
    assert {(row.edited, row.model_version) for row in rows} == {("untouched", "theirs-1")}
    assert {row.draft["text"] for row in rows} == {f"heard {number}" for number in range(30)}
    assert not team.service.rows(tables.jobs, name="read-annotation")


def test_the_draft_is_kept_as_it_was_though_label_studio_loses_it(team: Team) -> None:
    """In every mode: Label Studio keeps a copy in static mode only, and drops the link with the prediction."""
    service, task_id = team.service, team.task_ids[0]
    service.client.change_project(team.project.ls_project_id, model_version="Kaan")  # the backend answers, live
    [prediction] = service.client.predictions(task_id)
    drafted = " ".join(next(i for i in prediction["result"] if i["type"] == "textarea")["value"]["text"])
    made = team.submit(task_id, f"{drafted} and more", parent_prediction=prediction["id"])
    service.run_jobs()
    [first] = service.rows(tables.annotations)
    [ours] = [row for row in service.rows(tables.predictions) if row.ls_prediction_id == prediction["id"]]
    assert (first.edited, first.prediction_id, first.model_version) == ("edited", ours.id, ours.model_version)
    assert (first.draft["text"], first.draft["label"]) == (drafted, "draft-1")
    assert [word["text"].strip() for word in first.draft["words"]] == drafted.split()

    service.client.action(team.project.ls_project_id, "delete_tasks_predictions", [task_id])
    team.change(made, result=said(drafted))
    service.run_jobs()
    second = service.rows(tables.annotations)[-1]
    assert (second.text, second.prediction_id, second.draft) == (drafted, ours.id, first.draft)


def test_a_ground_truth_mark_that_moves_without_a_new_time_is_followed(team: Team) -> None:
    task_id = team.task_ids[0]
    one, other = team.submit(task_id, "one"), team.submit(task_id, "other")
    team.change(one, ground_truth=True)
    team.service.run_jobs()
    team.change(other, ground_truth=True)
    team.service.run_jobs()
    team.compare()

    newest = {row.ls_annotation_id: row.ground_truth for row in team.service.rows(tables.annotations)}
    assert newest == {one: False, other: True}


@pytest.mark.parametrize("harm", ["removed", "disabled", "narrowed", "without the secret"])
def test_a_webhook_that_is_gone_or_off_is_put_back(team: Team, harm: str) -> None:
    client, project = team.service.client, team.project.ls_project_id
    [hook] = client.webhooks(project)
    if harm == "removed":
        client.delete_webhook(hook["id"])
    elif harm == "disabled":
        client.change_webhook(hook, is_active=False)
    elif harm == "narrowed":
        client.change_webhook({**hook, "actions": ["PROJECT_UPDATED"]}, send_for_all_actions=False)
    else:
        client.change_webhook(hook, headers={})
    assert connections.working_webhook(client, team.service.context.settings, project) is None
    team.compare()

    assert connections.working_webhook(client, team.service.context.settings, project) is not None
    assert len(client.webhooks(project)) == 1
    team.submit(team.task_ids[0], "heard again")
    team.service.run_jobs()
    assert [row.found_by for row in team.service.rows(tables.annotations)] == ["webhook"]


def test_a_row_lost_here_makes_a_difference_that_everybody_sees_and_a_full_comparison_repairs(team: Team) -> None:
    service = team.service
    for task_id in team.task_ids:
        team.submit(task_id, "kept")
    service.run_jobs()
    long_ago = tables.now() - timedelta(hours=2)
    with service.context.db.transaction() as connection:  # as after a restore of an older backup
        first = sa.select(sa.func.min(tables.annotations.c.id)).scalar_subquery()
        connection.execute(sa.delete(tables.samples))
        connection.execute(sa.delete(tables.annotations).where(tables.annotations.c.id == first))
        quiet = {"latest": tables.now().isoformat(), "seen_at": long_ago.isoformat(), "settled": True}
        connection.execute(sa.update(tables.checkpoints).values(position=quiet))
    found = differences.count(service.context, team.project, service.client.project(team.project.ls_project_id))
    with service.context.db.transaction() as connection:
        differences.write(connection, team.project, found)
    assert team.difference()["difference"] == 1
    [line] = [f for f in doctor._projects(service.context) if f.sentence.startswith("Annotations")]
    assert (line.state, "3 in Label Studio, 2 accounted for here, difference 1" in line.sentence) == ("warning", True)
    assert b"kaan_annotation_difference" in Metrics(service.context).text()
    assert status.read(service.context)["annotations"][0]["difference"] == 1

    with service.context.db.transaction() as connection:
        body = {**team.difference(), "full_at": long_ago.isoformat()}
        connection.execute(sa.update(tables.summaries).values(body=body))
    team.compare()
    assert team.difference()["difference"] == 0
    assert team.difference()["repaired"] == 1
    assert team.here() == team.there()


def test_who_annotates_while_everything_is_compared_makes_no_trouble(team: Team, monkeypatch) -> None:
    deaf(team)
    read = task_reconciliation.read

    def meanwhile(*given: Any, **named: Any) -> task_reconciliation.ReconciledTasks:
        seen = read(*given, **named)
        team.submit(team.task_ids[0], "just now")
        return seen

    monkeypatch.setattr(task_reconciliation, "read", meanwhile)
    team.compare(full=1)
    assert (team.difference()["difference"], working_state.judged(team.difference())["trouble"]) == (1, None)

    monkeypatch.undo()
    team.compare()
    assert team.difference()["difference"] == 0


def test_what_a_full_comparison_cannot_bring_in_is_trouble(team: Team, monkeypatch) -> None:
    deaf(team)
    team.submit(team.task_ids[0], "never read")
    monkeypatch.setattr(task_reconciliation, "read", lambda *given, **named: task_reconciliation.ReconciledTasks())
    team.compare(full=1)
    trouble = working_state.judged(team.difference())["trouble"]
    assert "1 annotations in Label Studio, 0 accounted for here" in trouble
    assert status.read(team.service.context)["annotations"][0]["trouble"] == trouble


def test_a_quiet_project_is_not_read_again_and_again(team: Team) -> None:
    service = team.service
    team.submit(team.task_ids[0], "the first, after which the project's instructions are closed")
    team.compare()
    with service.context.db.transaction() as connection:
        position = connection.execute(sa.select(tables.checkpoints.c.position)).scalar_one()
        ago = (tables.now() - timedelta(minutes=11)).isoformat()
        connection.execute(sa.update(tables.checkpoints).values(position={**position, "seen_at": ago}))
    team.compare()
    team.submit(team.task_ids[1], "one more")
    asked: list[tuple[str, int]] = []
    original = service.client._task_page

    def counted(project_id: int, query: Any, whole: bool = False) -> tuple[list[Any], int]:
        found = original(project_id, query, whole)
        asked.append(("page", len(found[0])))
        return found

    service.client._task_page = counted  # type: ignore[method-assign]
    team.compare()
    assert asked == [("page", 1)]


def test_a_project_deleted_in_label_studio_is_said_once_and_is_no_failed_job(team: Team) -> None:
    team.service.client.call("DELETE", f"/api/projects/{team.project.ls_project_id}/")
    team.compare()
    team.compare(full=1)

    row = team.service.context.db.row(tables.projects, team.project.id)
    assert row.reason_code == "project-missing"
    assert {job.state for job in team.service.rows(tables.jobs, name="compare-annotations")} == {"done"}
