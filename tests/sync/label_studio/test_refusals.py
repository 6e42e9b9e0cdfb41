"""What Label Studio refuses or has no more is named in its own row, and never stops its neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.commands import command_line
from ml_backend.errors import PermanentError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.jobs.schedules import SCHEDULES, make_due
from sync.commands import status
from sync.drafts import drafts
from sync.projects.project_sync import sync_project
from sync.projects.task_reconciliation import find_tasks
from tests.sync.redrafts import Drafted, drafted

NUMBER = 12


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Drafted]:
    with drafted(tmp_path / "data", NUMBER) as made:
        yield made


def wanted(world: Drafted) -> None:
    """All tasks are ready, and in Label Studio is none."""
    with world.context.db.transaction() as connection:
        connection.execute(sa.update(tables.tasks).values(state="wanted", ls_task_id=None))
        connection.execute(sa.update(tables.recordings).values(derived_key="derived/x/audio.wav"))
        undone = {"delivered_by": None, "delivered_at": None, "confirmed_at": None}
        connection.execute(sa.update(tables.predictions).values(**undone))
        enqueueing.enqueue(connection, job_kinds.CREATE_TASKS, key=str(world.project_id), project_id=world.project_id)
    world.studio.tasks.clear()
    world.studio.predictions.clear()


def refusing(world: Drafted, *numbers: int) -> None:
    """Label Studio refuses an import that holds one of these tasks, as it does: whole, with 400."""
    names = {f"s3://b/{number}.wav" for number in numbers}

    def refused(entry: dict[str, Any]) -> bool:
        identity = {row.external_key: row.source_identity for row in world.context.db.rows(_KEYS)}
        return identity.get(str(entry["data"]["kaan_key"])) in names

    world.studio.refuse_task = refused


_KEYS = sa.select(tables.tasks.c.external_key, tables.recordings.c.source_identity).join(tables.recordings)


def imports(world: Drafted) -> int:
    return sum(path.endswith("/import") for _, path in world.studio.requests)


def rows(world: Drafted, table: sa.Table) -> list[Any]:
    return list(world.context.db.rows(sa.select(table).order_by(table.c.id)))


def states(world: Drafted) -> dict[int, str]:
    return {row.id: row.state for row in rows(world, tables.tasks)}


@pytest.mark.parametrize("bad", [(5,), (1, NUMBER), (3, 4, 5)])
def test_a_task_that_is_refused_is_named_and_all_others_are_made(world: Drafted, bad: tuple[int, ...]) -> None:
    wanted(world)
    refusing(world, *bad)
    world.run("create-tasks")
    assert states(world) == {n: "refused" if n in bad else "open" for n in range(1, NUMBER + 1)}
    told = [row for row in rows(world, tables.tasks) if row.id in bad]
    assert {row.reason_code for row in told} == {"import-refused"}
    assert all("this task is bad" in row.reason for row in told)
    assert imports(world) <= 8 * len(bad) + 1, "halves are tried, not each task"
    assert len(world.studio.tasks) == NUMBER - len(bad), "and none is made twice"
    assert {job.state for job in rows(world, tables.jobs) if job.name == "create-tasks"} == {"done"}


def test_when_every_task_is_refused_the_project_says_so_and_they_stay_wanted(world: Drafted) -> None:
    wanted(world)
    refusing(world, *range(1, NUMBER + 1))
    world.run("create-tasks")
    assert set(states(world).values()) == {"wanted"}
    assert world.project().reason_code == "import-refused"
    assert imports(world) < 2 * NUMBER


def nothing_there(world: Drafted) -> None:
    world.studio.projects.clear()
    sync_project(world.context, world.project_id)


def no_text_to_write_into(world: Drafted) -> None:
    there = world.studio.projects[world.project().ls_project_id]
    there["label_config"] = '<View><Audio name="a" value="$audio"/></View>'
    sync_project(world.context, world.project_id)


def wishes_of_an_older_release(world: Drafted) -> None:
    for backend in world.studio.backends.values():
        backend["extra_params"] = {"beam_size": "many"}
    sync_project(world.context, world.project_id)


def every_task_refused(world: Drafted) -> None:
    wanted(world)
    refusing(world, *range(1, NUMBER + 1))
    world.run("create-tasks")


def one_task_refused(world: Drafted) -> None:
    wanted(world)
    refusing(world, 5)
    world.run("create-tasks")


def an_address_nobody_listed(world: Drafted) -> None:
    world.studio.add_task(world.project().ls_project_id, {"audio": "https://elsewhere.example/call.wav"})
    find_tasks(world.context, world.project_id)


def audio_nobody_can_transcribe(world: Drafted) -> None:
    with world.context.db.transaction() as connection:
        error = PermanentError("audio-missing", "The normalised audio is gone.", "Run its ingest job again.")
        drafts.give_up(connection, 3, error)


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (nothing_there, "-m ml_backend project detach {number}` detaches it"),
        (no_text_to_write_into, "TextArea"),
        (wishes_of_an_older_release, "beam_size must be 1 to 20"),
        (every_task_refused, "Tasks are refused: "),
        (one_task_refused, "1 import-refused: "),
        (an_address_nobody_listed, "1 audio-source-refused: The audio is not in"),
        (audio_nobody_can_transcribe, "1 audio-missing: The normalised audio is gone."),
    ],
)
def test_project_list_says_why_in_its_last_column_whole_on_a_narrow_screen(
    world: Drafted, happens: Any, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(world.context.settings.data_dir))
    monkeypatch.setenv("COLUMNS", "40")
    assert command_line.main(["project", "list"]) == 0
    assert "refused:" not in capsys.readouterr().out, "while all is well there is no reason"
    happens(world)
    assert command_line.main(["project", "list"]) == 0
    [titles, line] = capsys.readouterr().out.splitlines()
    assert titles.split()[-1] == "why"
    said = line[titles.index("why") :]
    assert why.format(number=world.project().ls_project_id) in said
    assert "…" not in said


def test_a_refused_task_is_tried_again_when_the_labelling_interface_has_changed(
    world: Drafted,
) -> None:
    wanted(world)
    refusing(world, 5)
    world.run("create-tasks")
    refusing(world)
    there = world.studio.projects[world.project().ls_project_id]
    there["label_config"] = there["label_config"].replace("</View>", "<!-- changed --></View>")
    sync_project(world.context, world.project_id)
    world.run("create-tasks")
    assert states(world)[5] == "open"


def test_a_task_that_was_deleted_and_restored_is_drafted_and_settled_at_the_next_look(world: Drafted) -> None:
    project, [first, second, third] = world.project(), rows(world, tables.tasks)[:3]
    gone = {row.ls_task_id: world.studio.tasks.pop(row.ls_task_id) for row in (first, second, third)}
    with world.context.db.transaction() as connection:  # the third was never drafted
        connection.execute(sa.delete(tables.predictions).where(tables.predictions.c.task_id == third.id))
    find_tasks(world.context, world.project_id)
    assert [states(world)[row.id] for row in (first, second, third)] == ["deleted"] * 3

    world.studio.tasks.update(gone)
    world.studio.annotate(second.ls_task_id, "said")
    find_tasks(world.context, world.project_id, [row.ls_task_id for row in (first, second, third)])  # one look
    assert [states(world)[row.id] for row in (first, second, third)] == ["open", "annotated", "open"]
    ingests = [job.arguments["recording_id"] for job in rows(world, tables.jobs) if job.name == "ingest-recording"]
    assert third.recording_id in ingests
    world.run("push-predictions")
    there = {one["task"] for one in world.studio.predictions.values() if one["model_version"] == project.draft_label}
    assert first.ls_task_id in there, "the draft that went with the task is sent again"
    world.run("push-predictions")
    mine = [one for one in world.studio.predictions.values() if one["task"] == first.ls_task_id]
    assert len(mine) == 1


def test_what_was_erased_is_not_opened_again(world: Drafted) -> None:
    [task] = rows(world, tables.tasks)[:1]
    world.context.db.update(tables.tasks, task.id, state="deleted", reason_code="erased")
    find_tasks(world.context, world.project_id)
    assert states(world)[task.id] == "deleted"


PROJECT_JOBS = (
    job_kinds.PUSH_PREDICTIONS, job_kinds.CREATE_TASKS, job_kinds.CONFIRM_ANSWERS,
    job_kinds.FIND_TASKS, job_kinds.SYNC_PROJECT,
    job_kinds.REDRAFT_PROJECT,
)  # fmt: skip


@pytest.mark.parametrize("kind", PROJECT_JOBS, ids=lambda kind: kind.name)
def test_a_project_that_was_deleted_ends_in_its_row_whoever_notices(world: Drafted, kind: job_kinds.JobKind) -> None:
    wanted(world)
    if kind is job_kinds.REDRAFT_PROJECT:
        with world.context.db.transaction() as connection:
            connection.execute(sa.update(tables.tasks).values(state="annotated"))
            connection.execute(sa.update(tables.projects).values(next_draft_label="draft-2"))
    if kind is job_kinds.PUSH_PREDICTIONS:
        with world.context.db.transaction() as connection:
            connection.execute(sa.update(tables.tasks).values(state="open", ls_task_id=tables.tasks.c.id))
    if kind is job_kinds.CONFIRM_ANSWERS:
        with world.context.db.transaction() as connection:
            connection.execute(sa.update(tables.tasks).values(state="open", ls_task_id=tables.tasks.c.id))
            answered = {"delivered_by": "answer", "delivered_at": label_studio_time()}
            connection.execute(sa.update(tables.predictions).values(**answered))
    world.studio.projects.clear()
    world.studio.tasks.clear()
    with world.context.db.transaction() as connection:
        enqueueing.enqueue(connection, kind, key="x", project_id=world.project_id)
    world.run(kind.name)
    row = world.project()
    if (
        kind is not job_kinds.CONFIRM_ANSWERS
    ):  # a task's predictions are an empty list whether there is a project or not
        assert (row.state, row.reason_code) == ("missing", "project-missing")
    world.run(*job_kinds.KINDS)
    ended = {job.state for job in rows(world, tables.jobs) if job.name in {each.name for each in PROJECT_JOBS}}
    assert "failed" not in ended


def label_studio_time() -> Any:
    from datetime import timedelta

    return tables.now() - timedelta(minutes=5)


def test_a_missing_project_gets_no_work_and_no_trouble_until_it_is_back(world: Drafted) -> None:
    there = dict(world.studio.projects)
    world.studio.projects.clear()
    sync_project(world.context, world.project_id)
    assert world.project().state == "missing"
    with world.context.db.transaction() as connection:
        connection.execute(sa.delete(tables.jobs))
    made = make_due(world.context.db, *SCHEDULES)
    concerned = [job.name for job in rows(world, tables.jobs) if job.id in made and "project_id" in job.arguments]
    assert concerned == ["sync-project"], "somebody looks whether it is back"
    facts = status.read(world.context)
    assert not [sentence for sentence in facts["trouble"] if "roject" in sentence and "running" not in sentence]
    assert [project["reason"] is not None for project in facts["projects"]] == [True]

    world.studio.projects.update(there)
    world.run("sync-project")
    row = world.project()
    assert (row.state, row.reason_code) == ("attached", None)
    assert [job.arguments for job in rows(world, tables.jobs) if job.name == "compare-annotations"] == [
        {"project_id": world.project_id, "full": 1}
    ]


def test_a_project_that_never_was_ends_in_its_row_too(world: Drafted) -> None:
    values = {"instance_url": world.studio.url, "ls_project_id": 987_654}
    with world.context.db.transaction() as connection:
        made, _ = db.insert_once(connection, tables.projects, values, key=("instance_url", "ls_project_id"))
        enqueueing.enqueue(connection, job_kinds.SYNC_PROJECT, key=str(made), project_id=made)
    world.run("sync-project")
    assert world.row(tables.projects, made).state == "missing"
    assert {job.state for job in rows(world, tables.jobs) if job.name == "sync-project"} == {"done"}
    assert not [each for each in make_due(world.context.db, *SCHEDULES) if _about(world, each, made)]


def _about(world: Drafted, job_id: int, project_id: int) -> bool:
    return bool(world.row(tables.jobs, job_id).arguments.get("project_id") == project_id)


def test_a_missing_project_is_let_go_without_an_error(world: Drafted) -> None:
    from sync.projects import attachment

    number = world.project().ls_project_id
    world.studio.projects.clear()
    for table in (world.studio.backends, world.studio.webhooks, world.studio.storages):
        table.clear()
    sync_project(world.context, world.project_id)
    assert attachment.detach(world.context, number)
    assert world.project().state == "detached"


def test_fifty_that_fail_for_ever_keep_nobody_from_its_turn(world: Drafted) -> None:
    """The schedule takes some at a time; those whose last try is longest ago come first."""
    numbers = itertools.count(1)
    with world.context.db.transaction() as connection:
        for _ in range(30):
            failed(connection, next(numbers))
    with world.context.db.transaction() as connection:
        for _ in range(30):
            failed(connection, next(numbers))
    [schedule] = [each for each in SCHEDULES if each.kind is job_kinds.INGEST_RECORDING]
    seen: set[int] = set()
    for _ in range(2):
        made = make_due(world.context.db, schedule)
        seen |= {world.row(tables.jobs, each).arguments["recording_id"] for each in made}
        with world.context.db.transaction() as connection:  # all of them fail again, a while ago
            for each in made:
                values = {"state": "failed", "error_branch": "retryable", "finished_at": tables.now()}
                old = label_studio_time() - (tables.now() - label_studio_time()) * 3
                connection.execute(
                    sa.update(tables.jobs).where(tables.jobs.c.id == each).values(**values, created_at=old)
                )
    assert len(seen) == 60


def failed(connection: Any, number: int) -> None:
    recording = {"source": "object", "source_identity": f"s3://c/{number}", "state": "found"}
    row_id = connection.execute(sa.insert(tables.recordings).values(**recording).returning(tables.recordings.c.id))
    row_id = row_id.scalar_one()
    long_ago = label_studio_time() - (tables.now() - label_studio_time()) * 12
    job = {
        "name": "ingest-recording", "queue": "sync", "arguments": {"recording_id": row_id}, "state": "failed",
        "unique_key": f"ingest-recording:{row_id}", "error_branch": "retryable", "created_at": long_ago,
        "finished_at": long_ago, "due_at": long_ago, "priority": 50,
    }  # fmt: skip
    connection.execute(sa.insert(tables.jobs).values(**job))
