"""`make smoke`: the demo as a whole, looked at through Label Studio's own API."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.db import Database
from ml_backend.views.training_progress import BLIND_AUDIT
from sync.demo import bundled_calls
from tests.patience import until
from tests.stack import wer
from tests.stack.running import CALLS, choices, texts

pytestmark = pytest.mark.stack

QUALITIES = {"excellent", "good", "fair", "poor"}
WER_AT_MOST = 0.15


@pytest.fixture
def database(stack):
    database = Database(stack.settings["DATABASE_URL"])
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def calls():
    """The bundled calls by the short form of their call_sid that tasks show."""
    return {call.call_sid[:8]: call for call in bundled_calls.read(CALLS)}


def drafted(stack, project_id, *, tasks):
    """Wait until a project has this many tasks and each is drafted; gives the tasks."""

    def complete():
        found = stack.label_studio.tasks(project_id)
        return found if len(found) == tasks and all(task["predictions"] for task in found) else None

    return until(complete, f"{tasks} drafted tasks in project {project_id}", within_s=240, every_s=1)


def filled(stack, title, *, config="original"):
    """A project of its own with all bundled calls, drafted."""
    project_id = stack.create_project(title, config=config)
    stack.cli("project", "add", str(project_id), f"{bundled_calls.BUCKET}/recordings")
    return project_id


def is_blind(calls, task, config):
    """Whether a task of the demo is the one that is written down without a draft."""
    return config == "calls" and bundled_calls.DRAWN.get(calls[task["data"]["call"]].path.name) == BLIND_AUDIT


def with_drafts(stack, calls, config):
    return [one for one in stack.label_studio.tasks(stack.project(config)) if not is_blind(calls, one, config)]


@pytest.mark.parametrize("config", ["original", "calls"])
def test_every_bundled_call_is_one_task_with_one_draft_but_for_the_blind_one(stack, calls, config):
    project_id = stack.project(config)
    shown = stack.label_studio.call("GET", f"/api/projects/{project_id}")["model_version"]
    tasks = stack.label_studio.tasks(project_id)
    assert sorted(task["data"]["call"] for task in tasks) == sorted(calls)
    blind = [task for task in tasks if is_blind(calls, task, config)]
    assert len(blind) == (config == "calls")
    assert not any(texts(task["predictions"]) for task in blind)
    for task in with_drafts(stack, calls, config):
        assert [prediction["model_version"] for prediction in task["predictions"]] == [shown], task["data"]


@pytest.mark.parametrize("config", ["original", "calls"])
def test_the_drafts_say_what_was_said(stack, calls, config, capsys):
    tasks = with_drafts(stack, calls, config)
    pairs = [(calls[task["data"]["call"]].text, texts(task["predictions"])) for task in tasks]
    rate = wer.pooled(pairs)
    with capsys.disabled():
        count = sum(len(wer.words(said)) for said, _ in pairs)
        print(f"\npooled WER of the bundled calls in `{config}`: {rate:.1%} of {count} words")
    assert rate <= WER_AT_MOST, "\n".join(f"{wer.pooled([p]):.0%} {p[0]} | {p[1]}" for p in pairs if p[0])


@pytest.mark.parametrize("config", ["original", "calls"])
def test_quality_is_pre_set_on_every_call(stack, calls, config):
    for task in with_drafts(stack, calls, config):
        (quality,) = choices(task["predictions"], "quality")
        assert quality in QUALITIES


def test_language_and_script_are_pre_set_where_somebody_speaks(stack, calls):
    for task in with_drafts(stack, calls, "calls"):
        spoken = bool(texts(task["predictions"]))
        assert len(choices(task["predictions"], "language")) == spoken
        assert len(choices(task["predictions"], "script")) == spoken


def test_regions_the_model_is_unsure_of_are_marked_and_most_of_what_it_got_wrong_is_among_them(stack, calls):
    marked, wrong, regions = 0, 0, 0
    for task in with_drafts(stack, calls, "calls"):
        items = [item for prediction in task["predictions"] for item in prediction["result"]]
        unsure = {item["id"] for item in items if item["type"] == "labels" and item["from_name"] == "check"}
        said = set(wer.words(calls[task["data"]["call"]].text))
        for item in (one for one in items if one["type"] == "textarea"):
            regions += 1
            marked += item["id"] in unsure
            wrong += item["id"] in unsure and not set(wer.words(" ".join(item["value"]["text"]))) <= said
        assert ("unsure" in task["data"]["status"]) == bool(unsure)
    assert 3 <= marked <= regions / 3
    assert wrong >= marked / 2


@pytest.mark.parametrize("config", ["original", "calls"])
def test_the_most_useful_task_has_a_draft_and_the_order_says_something(stack, calls, config):
    tasks = sorted(stack.label_studio.tasks(stack.project(config)), key=lambda task: -float(task["data"]["usefulness"]))
    assert len({task["data"]["usefulness"] for task in tasks}) > len(tasks) / 2
    assert texts(tasks[0]["predictions"])
    assert min(task["id"] for task in tasks) == tasks[0]["id"]  # Label All Tasks begins with it, too
    silent = [task for task in tasks if not calls[task["data"]["call"]].text]
    assert {float(task["data"]["usefulness"]) for task in silent} == {0.0}


def test_a_call_for_each_reason_of_the_readme_is_there(stack, database):
    mine = sa.select(tables.tasks.c.selection_reason).where(
        tables.tasks.c.project_id == sa.select(tables.projects.c.id)
        .where(tables.projects.c.ls_project_id == stack.project("calls")).scalar_subquery()
    )  # fmt: skip
    assert {row.selection_reason for row in database.rows(mine)} == {"blind", "review", "audit", "all", "by-hand"}


@pytest.mark.parametrize("config", ["original", "calls"])
def test_where_nobody_speaks_the_text_is_left_empty(stack, calls, config):
    silent = [t for t in stack.label_studio.tasks(stack.project(config)) if not calls[t["data"]["call"]].text]
    assert len(silent) >= 1
    for task in silent:
        assert texts(task["predictions"]) == ""
        assert task["data"]["status"] == "silent: submit if so, press Shift+5 if somebody speaks"
        assert choices(task["predictions"], "reject") == ["no-speech"]


def test_the_label_stream_opens_every_call_with_its_draft(stack, calls, database):
    """Walked as an annotator who accepts every draft; what was accepted is in our database, word for word."""
    project_id = filled(stack, "Walked stream")
    drafted(stack, project_id, tasks=len(calls))
    accepted = {}
    for _ in calls:
        task = stack.label_studio.next_task(project_id)
        (prediction,) = task["predictions"]
        body = {"result": prediction["result"], "parent_prediction": prediction["id"], "lead_time": 3.0}
        made = stack.label_studio.call("POST", f"/api/tasks/{task['id']}/annotations/", json=body)
        accepted[made["id"]] = texts([prediction])
    assert len(accepted) == len(calls)

    def stored():
        wanted = tables.annotations.c.ls_annotation_id.in_(accepted)
        rows = database.rows(sa.select(tables.annotations).where(wanted))
        return {row.ls_annotation_id: row.text or "" for row in rows} if len(rows) == len(accepted) else None

    assert until(stored, "every annotation is in our database", within_s=120) == accepted


def test_a_file_uploaded_by_hand_gets_its_transcript(stack, calls):
    project_id = stack.create_project("Uploaded by hand")
    call = next(call for call in calls.values() if call.path.name.startswith("en-broken"))
    stack.label_studio.upload(project_id, call.path)
    (task,) = drafted(stack, project_id, tasks=1)
    assert task["data"]["audio"].startswith("/data/upload/")
    opened = stack.label_studio.next_task(project_id)
    assert wer.pooled([(call.text, texts(opened["predictions"]))]) <= 0.5
    assert len(opened["predictions"]) == 1


def test_retrieving_predictions_for_many_tasks_leaves_no_duplicate(stack, calls):
    """While the same tasks are being drafted and pushed: whoever comes first delivers, the other does not."""
    project_id = stack.create_project("Retrieved")
    audio = [task["data"]["audio"] for task in stack.label_studio.tasks(stack.project("original"))]
    rows = [{"data": {"audio": value}} for value in audio * 3]
    stack.label_studio.call("POST", f"/api/projects/{project_id}/import", json=rows)
    for _ in range(3):
        stack.label_studio.action(project_id, "retrieve_tasks_predictions")
    tasks = drafted(stack, project_id, tasks=len(rows))
    stack.label_studio.action(project_id, "retrieve_tasks_predictions")
    until(lambda: _nothing_waits(stack), "all jobs have run", within_s=120)
    tasks = stack.label_studio.tasks(project_id)
    assert {task["id"]: len(task["predictions"]) for task in tasks} == {task["id"]: 1 for task in tasks}


def test_start_training_is_accepted_and_becomes_a_job_row(stack, database):
    (backend,) = stack.label_studio.call("GET", "/api/ml/", params={"project": stack.project("original")})
    before = _training_jobs(database)
    stack.label_studio.call("POST", f"/api/ml/{backend['id']}/train", json={})
    until(lambda: len(_training_jobs(database)) == len(before) + 1, "the training job is a row")
    said = "No training worker is running"  # a demo trains nothing by itself
    until(lambda: said in stack.cli("status", check=False).stdout, "status says who is missing", within_s=60, every_s=2)
    stack.cli("jobs", "cancel", str(_training_jobs(database)[-1].id))


def test_the_label_stream_stays_pre_filled_while_the_backend_is_down(stack, calls):
    project_id = filled(stack, "Backend down")
    drafted(stack, project_id, tasks=len(calls))
    until(lambda: _shown_label(stack, project_id).startswith("draft-"), "Label Studio reads drafts by their label")
    with stack.frozen("web"):
        started = time.monotonic()
        task = stack.label_studio.next_task(project_id)
        assert len(task["predictions"]) == 1
        assert time.monotonic() - started < 10


def test_status_finds_nothing_wrong_and_doctor_neither(stack):
    said = []

    def content() -> bool:
        found = stack.cli("status", check=False)
        said.append(found.stdout)
        return found.returncode == 0

    try:
        until(content, "status is content", within_s=60, every_s=2)
    except AssertionError:
        raise AssertionError(said[-1]) from None
    examined = stack.cli("doctor", check=False)
    assert examined.returncode == 0, examined.stdout + examined.stderr


def _shown_label(stack, project_id):
    return str(stack.label_studio.call("GET", f"/api/projects/{project_id}")["model_version"])


def _training_jobs(database):
    return database.rows(sa.select(tables.jobs.c.id).where(tables.jobs.c.name == "train"))


def _nothing_waits(stack):
    database = Database(stack.settings["DATABASE_URL"])
    try:
        now = sa.select(tables.jobs.c.id).where(
            tables.jobs.c.state.in_(("waiting", "queued", "running")), tables.jobs.c.due_at <= tables.now()
        )
        return not database.rows(now.where(tables.jobs.c.queue != "training"))
    finally:
        database.dispose()
