"""`project`: create, attach, fill, detach and list Label Studio projects."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from ml_backend import db, quantities, settings, tables
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig, project_rules
from ml_backend.tables import projects, recordings, tasks
from sync.drafts.decoding_choice import problems_of
from sync.projects import attachment, offered_languages
from sync.projects.connections import TITLE
from sync.projects.project_sync import project_of
from sync.recordings import layouts
from sync.recordings.sources import RecordingSource, add_recording
from sync.tasks import choices, utterance_tasks
from sync.tasks.task_creation import TaskRequest, request_task

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Create, attach or detach a Label Studio project.")

PER_TRANSACTION = 25

ProjectId = Annotated[int, typer.Argument(min=1, help="The project's number in Label Studio, from its address.")]


@app.command()
def create(
    config: Annotated[
        str, typer.Option(help="original, calls, tts, tts-pairs, nlu, or the path of an XML file.")
    ] = "calls",
    title: Annotated[str | None, typer.Option(help="Title in Label Studio.")] = None,
    extra_params: Annotated[
        str | None, typer.Option(help='JSON for the ML backend, e.g. \'{"language": "hi", "hotwords": ["Kaan"]}\'.')
    ] = None,
    as_json: printing.AsJson = False,
) -> None:
    """Create a Label Studio project, with storage, ML backend, webhook and instructions. Safe to repeat.

    Example: python -m ml_backend project create --config calls --title "Support calls"
    """
    context = _open()
    name = Path(config).stem if config not in labelconfig.NAMES else config
    row_id = attachment.create(
        context, config=_config(context, config), title=title or f"{TITLE} {name}", extra_params=_params(extra_params)
    )
    _say_row(context, row_id, "is ready", as_json=as_json)


@app.command()
def attach(
    project_id: ProjectId,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would change.")] = False,
    extra_params: Annotated[str | None, typer.Option(help="JSON for the ML backend.")] = None,
    as_json: printing.AsJson = False,
) -> None:
    """Adopt an existing project: its config, tasks and annotations stay; every change is listed first.

    Example: python -m ml_backend project attach 2 --dry-run
    """
    context = _open()
    planned = attachment.plan(context, project_id)
    changes = [change.sentence for change in planned.changes if change.needed]
    if not as_json:
        printing.say(f"Project {project_id}, {planned.project.get('title')}:")
        for sentence in changes or ["Nothing has to change."]:
            printing.say(f"  - {sentence}")
        for sentence in (*planned.notices, *planned.warnings):
            printing.say(f"  ! {sentence}")
    facts = {"changes": changes, "notices": list(planned.notices), "warnings": list(planned.warnings)}
    if dry_run:
        printing.result({"project": project_id, "dry_run": True, **facts}, "Nothing was changed.", as_json=as_json)
        return
    row_id = attachment.attach(context, project_id, extra_params=_params(extra_params))
    _say_row(context, row_id, "is attached", as_json=as_json, **facts)


@app.command()
def detach(project_id: ProjectId, as_json: printing.AsJson = False) -> None:
    """Undo what attach changed. Tasks, annotations and predictions stay in Label Studio. Safe to repeat.

    Example: python -m ml_backend project detach 2
    """
    said = attachment.detach(_open(), project_id)
    if as_json:
        printing.say_json({"project": project_id, "undone": said})
        return
    for sentence in said or ["It was detached already."]:
        typer.echo(f"  - {sentence}")


@app.command()
def add(
    project_id: ProjectId,
    where: Annotated[
        str, typer.Argument(help="Bucket and prefix of recordings, e.g. call-recordings/recordings/2026.")
    ],
    limit: Annotated[int, typer.Option(min=1, help="At most this many new recordings.")] = 10_000,
    blind_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share, drawn at random, that is written without a draft: the test set.")
    ] = 0.0,
    as_json: printing.AsJson = False,
) -> None:
    """Bring recordings that lie in the object store into a project as tasks. The bucket is only read.

    Example: python -m ml_backend project add 2 call-recordings/recordings/2026/01 --blind-share 0.2
    """
    context = _open()
    row = _attached(context, project_id)
    bucket, _, prefix = where.removeprefix("s3://").partition("/")
    keys: list[str] = []
    added = known = 0
    for found in context.store.list(bucket, prefix=prefix):
        if Path(found.key).suffix.lower() not in layouts.AUDIO_SUFFIXES:
            continue
        keys.append(found.key)
        if len(keys) == PER_TRANSACTION:
            new, old = _add(context, row, bucket, keys, blind_share)
            added, known, keys = added + new, known + old, []
        if added + len(keys) >= limit:
            break
    new, old = _add(context, row, bucket, keys, blind_share)
    added, known = added + new, known + old
    sentence = f"{quantities.counted(added, 'recording')} added to project {project_id}; {known} were there already."
    printing.result({"project": project_id, "added": added, "known": known}, sentence, as_json=as_json)


@app.command()
def rules(
    project_id: ProjectId,
    selection: Annotated[
        str | None, typer.Option(help='JSON over the settings, e.g. \'{"review": "all"}\' or \'{"max_open": 200}\'.')
    ] = None,
    routing: Annotated[
        str | None, typer.Option(help='JSON: which calls the project takes, e.g. \'{"language": ["hi"]}\'.')
    ] = None,
    as_json: printing.AsJson = False,
) -> None:
    """Show or change which calls a project takes and which of them become tasks. `{}` brings the settings back.

    Example: python -m ml_backend project rules 2 --selection '{"max_open": 200}'
    """
    context = _open()
    row = _attached(context, project_id)
    given = {"selection": selection, "routing": routing}
    values = {name: project_rules.typed(name, text) or sa.null() for name, text in given.items() if text is not None}
    if values:
        with context.db.transaction() as connection:
            db.update(connection, projects, row.id, **values)
            enqueueing.enqueue(connection, job_kinds.SAMPLE_PROJECT, key=f"{row.id}:1", project_id=row.id, everything=1)
    row = context.db.row(projects, row.id)
    in_force = asdict(choices.policy_of(row.selection, context.settings))
    in_force["reviewers"] = list(project_rules.selection(row.selection).reviewers)
    wrong = [each for name in given for each in project_rules.problems(name, getattr(row, name))]
    facts = {"project": project_id, "selection": in_force, "routing": row.routing or None, "problems": wrong}
    if as_json:
        printing.say_json(facts)
        return
    for name, value in in_force.items():
        typer.echo(f"  {name}: {value}")
    typer.echo(
        f"  takes: {json.dumps(row.routing) if row.routing else 'every call that is not our own synthetic voice'}"
    )
    for each in wrong:
        typer.echo(f"  ! not used: {each}")


@app.command()
def update(project_id: ProjectId, as_json: printing.AsJson = False) -> None:
    """Bring a project's labelling config and instructions up to LANGUAGES, as `doctor` asks for. Safe to repeat.

    A project of the `nlu` config also gets the intents and entities of utterances that came in since it was made.

    Example: python -m ml_backend project update 2
    """
    context = _open()
    said = offered_languages.update(context, _attached(context, project_id))
    if as_json:
        printing.say_json({"project": project_id, "changes": said})
        return
    for sentence in said or ["Nothing has to change."]:
        printing.say(sentence)


@app.command("list")
def list_projects(as_json: printing.AsJson = False) -> None:
    """Show the projects this service knows, with their state and counts.

    Example: python -m ml_backend project list
    """
    context = _open()
    rows = [as_dict(context, row) for row in context.db.rows(sa.select(projects).order_by(projects.c.ls_project_id))]
    if as_json:
        printing.say_json({"projects": rows})
        return
    if not rows:
        printing.say("There are no projects. `python -m ml_backend project create` makes one.")
        return
    lines = []
    for row in rows:
        counts = row["tasks"]
        waiting = f" (+{counts['waiting']} waiting)" if counts["waiting"] else ""
        numbers = (f"{counts['open']}{waiting}", counts["annotated"], counts["drafted"], counts["refused"])
        cells = (row["project"], row["title"], row["state"], row["draft_label"], *numbers, _why(row))
        lines.append([str(cell) for cell in cells])
    printing.table(
        ("project", "title", "state", "draft label", "open", "annotated", "with draft", "refused", "why"), lines,
        right=("open", "annotated", "with draft", "refused"),
    )  # fmt: skip


def as_dict(context: Context, row: sa.Row[Any]) -> dict[str, Any]:
    """One project with its counts of tasks."""
    with context.db.reading() as connection:
        by_state = sa.select(tasks.c.state, sa.func.count()).where(tasks.c.project_id == row.id)
        counted = connection.execute(by_state.group_by(tasks.c.state)).all()
        states: dict[str, int] = {str(found[0]): int(found[1]) for found in counted}
        shown = sa.and_(tables.predictions.c.project_id == row.id, tables.predictions.c.draft_label == row.draft_label)
        of_each = sa.select(tasks.c.blind, sa.func.count()).join(tables.predictions).where(shown)
        drafted = {bool(found[0]): int(found[1]) for found in connection.execute(of_each.group_by(tasks.c.blind))}
        reasons = sa.select(sa.func.count()).where(tasks.c.project_id == row.id, tasks.c.reason_code.is_not(None))
        refused = connection.execute(reasons.where(tasks.c.state.in_(("open", "refused")))).scalar_one()
        why = connection.execute(
            sa.select(tasks.c.reason_code, sa.func.count(), sa.func.min(tasks.c.reason))
            .where(tasks.c.project_id == row.id, tasks.c.reason_code.is_not(None))
            .where(tasks.c.state.in_(("open", "refused")))
            .group_by(tasks.c.reason_code)
            .order_by(sa.func.count().desc())
        ).all()
    return {
        "project": row.ls_project_id,
        "title": row.title or "",
        "state": row.state,
        "draft_label": row.draft_label,
        "next_draft_label": row.next_draft_label,
        "url": f"{row.instance_url}/projects/{row.ls_project_id}",
        "tasks": {
            "open": states.get("open", 0),
            "annotated": states.get("annotated", 0),
            "wanted": states.get("wanted", 0),
            "waiting": states.get("waiting", 0),
            "deleted": states.get("deleted", 0),
            "refused": refused,
            "drafted": drafted.get(False, 0),
            "blind": drafted.get(True, 0),
        },
        "reason": row.reason,
        "refusals": [{"code": code, "number": int(number), "example": reason} for code, number, reason in why],
    }


def _why(row: dict[str, Any]) -> str:
    """The reason for the project's state, and why its tasks have no draft."""
    of_tasks = [f"{each['number']} {each['code']}: {each['example']}" for each in row["refusals"]]
    return " ".join(filter(None, (row["reason"], *of_tasks)))


def _add(context: Context, project: sa.Row[Any], bucket: str, keys: list[str], blind_share: float) -> tuple[int, int]:
    added = 0
    with context.db.transaction() as connection:
        for key in keys:
            recording_id, _ = add_recording(connection, RecordingSource("object", f"s3://{bucket}/{key}"))
            recording = connection.execute(sa.select(recordings).where(recordings.c.id == recording_id)).one()
            _, new = request_task(connection, project, recording, wish=_wish(f"{bucket}/{key}", blind_share))
            if new:
                added += 1
                enqueueing.enqueue(
                    connection,
                    job_kinds.INGEST_RECORDING,
                    key=str(recording_id),
                    priority=job_kinds.BULK,
                    recording_id=recording_id,
                )
    return added, len(keys) - added


def _wish(name: str, blind_share: float) -> TaskRequest:
    choice = choices.choose_by_hand(name, blind_share)
    return TaskRequest(
        choice.reason or "",
        choice.probability,
        choice.usefulness,
        choice.blind,
        usefulness_reason=choice.usefulness_reason,
    )


def _open() -> Context:
    return open_context(settings.load())


def _attached(context: Context, ls_project_id: int) -> sa.Row[Any]:
    with context.db.reading() as connection:
        row = project_of(connection, context.settings.label_studio_url, ls_project_id)
    if row is None or row.state != "attached":
        raise InvalidInput(
            "not-attached",
            f"Project {ls_project_id} is not attached.",
            f"Run `python -m ml_backend project attach {ls_project_id}` first.",
        )
    return row


def _config(context: Context, name: str) -> str:
    if name in labelconfig.NAMES or not Path(name).is_file():
        return utterance_tasks.config_of(context, context.settings, name)
    return Path(name).read_text(encoding="utf-8")


def _params(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    values, problem = problems_of(text)
    if problem:
        raise InvalidInput("bad-extra-params", problem, "Correct --extra-params.")
    return values


def _say_row(context: Context, row_id: int, what: str, *, as_json: bool, **more: Any) -> None:
    row = as_dict(context, context.db.row(projects, row_id))
    sentence = f"Project {row['project']}, {row['title']}, {what}: {row['url']}"
    printing.result({**row, **more}, sentence, as_json=as_json)
