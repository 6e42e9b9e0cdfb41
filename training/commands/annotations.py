"""`annotations`: list and show annotations, their quality, and gold tasks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from ml_backend import tables
from ml_backend.commands import printing
from ml_backend.commands.command_line import quiet_context
from ml_backend.context import Context
from ml_backend.labelling import project_rows
from ml_backend.labelling.utterance_marks import INTENT, OUT_OF_SCOPE
from ml_backend.views import annotation_views
from ml_backend.views.queries import MOST_DAYS
from training.commands import annotation_summary, gold
from training.quality.reviews import Scope

app = typer.Typer(add_completion=False, no_args_is_help=True, help="What people wrote, and how good it is.")
app.add_typer(gold.app, name="gold")

Project = Annotated[int | None, typer.Option(min=1, help="Only this project, by its number in Label Studio.")]
Days = Annotated[int | None, typer.Option(min=1, max=MOST_DAYS, help="Only annotations of the last so many days.")]


@app.command("list")
def list_annotations(
    project: Project = None,
    task: Annotated[int | None, typer.Option(min=1, help="Only of this task, by its number in Label Studio.")] = None,
    annotator: Annotated[
        int | None, typer.Option(min=1, help="Only by this person, by Label Studio's user id.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="Only in this language, e.g. hi.")] = None,
    edited: Annotated[str | None, typer.Option(help=f"Only these: {', '.join(annotation_views.EDITED)}.")] = None,
    days: Days = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many rows.")] = 30,
    as_json: printing.AsJson = False,
) -> None:
    """Show annotations, newest first: who, how long it took, how much of the draft was changed.

    Example: python -m ml_backend annotations list --annotator 1 --edited untouched
    """
    query = annotation_views.AnnotationQuery(
        project=project, task=task, annotator=annotator, language=language, edited=edited, since=_since(days),
        limit=limit,
    )  # fmt: skip
    found = annotation_views.find(quiet_context().db, query)
    if as_json:
        printing.say_json({"annotations": found})
        return
    if not found:
        printing.say("There are no such annotations.")
        return
    titles = ("annotation", "task", "person", "when (UTC)", "lang", "time", "quality", "draft", "text")
    printing.table(titles, map(_row, found), right=("annotation", "task", "time"))


@app.command()
def show(
    annotation: Annotated[int, typer.Argument(min=1, help="Number of the annotation in Label Studio.")],
    as_json: printing.AsJson = False,
) -> None:
    """Show one annotation: its text beside the draft, its versions, who agreed, and which samples came of it.

    Example: python -m ml_backend annotations show 12
    """
    found = annotation_views.show(quiet_context().db, annotation)
    if as_json:
        printing.say_json(found)
        return
    for title, text in _lines(found):
        printing.fact(title, text, width=11)


@app.command()
def summary(
    project: Project = None,
    days: Days = None,
    as_json: printing.AsJson = False,
) -> None:
    """Show how good the annotations are: agreement, time, drafts, people, unread drafts, duplicates and leaks.

    Counted now, from the rows; a job keeps the same for /api/annotations/summary every hour.

    Example: python -m ml_backend annotations summary --days 30
    """
    from training.quality import summary as report

    context = quiet_context()
    scope = Scope(project_id=_row_of(context, project), since=_since(days))
    body, _ = report.make(context, scope)
    if as_json:
        printing.say_json(body)
        return
    annotation_summary.show(body)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    took = f"{one['lead_time_s']:.0f} s" if one["lead_time_s"] else ""
    more = (one["language"] or "", took, one["quality"] or "")
    when = (one["created_at"] or "").replace("T", " ").removesuffix("Z")
    start = (str(one["id"]), str(one["ls_task_id"] or "-"), str(one["annotator"] or "-"), when)
    meant = [option for control in (OUT_OF_SCOPE, INTENT) for option in one["choices"].get(control, ())]  # of a text
    return (*start, *more, _draft(one), one["text"] or ", ".join(meant[:1]))


def _draft(one: dict[str, Any]) -> str:
    """The draft's fate in a word or two."""
    if one["skipped"]:
        return "skipped"
    if one["reject"]:
        return "rejected"
    counts = one["measures"] or {}
    if one["blind"] or counts.get("word_edits") is None:
        return "blind" if one["blind"] else one["edited"] or "none"
    things = "marks" if counts.get("normaliser") == "marks" else "words"
    return "unchanged" if counts.get("unchanged") else f"{counts['word_edits']} of {counts.get('words', 0)} {things}"


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    draft = found["draft"] or {}
    sure = f" (confidence {draft['confidence']:.2f})" if draft.get("confidence") is not None else ""
    known = [
        ("annotation", f"{found['id']} of {found['url'] or found['ls_task_id']}"),
        ("project", found["project"]),
        ("person", str(found["annotator"] or "unknown")),
        ("made", " ".join(filter(None, (found["created_at"], f"found by {found['found_by'] or 'unknown'}")))),
        ("took", f"{found['lead_time_s']:.0f} s" if found["lead_time_s"] else "unknown"),
        ("deleted", found["deleted_at"]),
        ("draft", f"{draft['text']}{sure}" if draft.get("text") else None),
        ("made by", found["model_version"]),
        ("text", found["text"]),
        ("edits", _draft(found)),
        ("says", ", ".join(filter(None, (found["language"], found["script"], found["quality"], found["accent"])))),
        ("rejected", ", ".join(found["reject"])),
        ("marked", ", ".join(name for name in ("ground_truth", "gold", "blind", "before_attach") if found[name])),
    ]
    lines = [(title, str(text)) for title, text in known if text]
    lines += [("version", f"{each['updated_at']} {each['edited'] or ''}") for each in found["versions"][1:]]
    for each in found["agreements"]:
        counts = each["counts"]
        said = f"{counts.get('word_edits', 0)} of {counts.get('words', 0)} words differ"
        lines.append(("beside", f"annotation {each['annotation']} of person {each['annotator'] or 'unknown'}: {said}"))
    for each in found["samples"]:
        why = f"{each['state']}: {each['reason']}" if each["reason"] else each["state"]
        lines.append(("sample", f"{each['start_s']:.1f} to {each['end_s']:.1f} s, {why}"))
    return lines


def _row_of(context: Context, ls_project_id: int | None) -> int | None:
    return None if ls_project_id is None else project_rows.row_of(context, ls_project_id)


def _since(days: int | None) -> datetime | None:
    return tables.now() - timedelta(days=days) if days else None
