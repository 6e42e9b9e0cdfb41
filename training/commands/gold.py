"""`annotations gold`: tasks with a known answer, planted among the others to measure annotators."""

from __future__ import annotations

from typing import Annotated

import typer

from ml_backend.commands import printing
from ml_backend.commands.command_line import quiet_context
from ml_backend.errors import InvalidInput
from training.quality import gold_tasks, intent_reviews, reviews
from training.quality.reviews import Scope

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Tasks whose answer is known.")

Task = Annotated[int, typer.Argument(min=1, help="Number of the task in Label Studio.")]
Project = Annotated[int | None, typer.Option(min=1, help="Its project, by its number, where several have such a task.")]


@app.command()
def add(
    task: Task,
    text: Annotated[str | None, typer.Option(help="The known answer: what is said in the call.")] = None,
    intent: Annotated[str | None, typer.Option(help="The known answer: what a text means; it has no entities.")] = None,
    annotation: Annotated[int | None, typer.Option(min=1, help="Take the answer of this annotation.")] = None,
    project: Project = None,
    people: Annotated[int | None, typer.Option(min=1, max=100, help="So many people shall answer it.")] = None,
) -> None:
    """Make a task a gold task. Whoever annotates it is measured against the answer; no model learns from it.

    Example: python -m ml_backend annotations gold add 34 --text "haan ji" --people 5

    Example: python -m ml_backend annotations gold add 34 --intent refund --people 5
    """
    if sum(each is not None for each in (text, intent, annotation)) != 1:
        raise InvalidInput("one-answer", "Give the answer in one way.", "Give --text, --intent or --annotation.")
    with quiet_context().db.transaction() as connection:
        task_id = gold_tasks.task_of(connection, task, project)
        known = gold_tasks.known_answer(connection, task_id, text=text, intent=intent, ls_annotation_id=annotation)
        row = gold_tasks.plant(connection, task_id, known, people=people)
    typer.echo(f"Task {task} is a gold task, to be answered by {row.overlap}: {gold_tasks.shown(row.gold_text)}")


@app.command()
def remove(task: Task, project: Project = None) -> None:
    """Make a gold task a task like others again.

    Example: python -m ml_backend annotations gold remove 34
    """
    with quiet_context().db.transaction() as connection:
        gold_tasks.remove(connection, gold_tasks.task_of(connection, task, project))
    typer.echo(f"Task {task} is no gold task any more.")


@app.command("list")
def list_gold(as_json: printing.AsJson = False) -> None:
    """Show the gold tasks and how many answered them right.

    Example: python -m ml_backend annotations gold list
    """
    with quiet_context().db.reading() as connection:
        of_texts = intent_reviews.read(connection, Scope())
        found = gold_tasks.tasks_of(connection, reviews.reviews(connection), of_texts)
    if as_json:
        printing.say_json({"gold": found})
        return
    if not found:
        printing.say("There are no gold tasks. `annotations gold add` makes one.")
        return
    titles = ("task", "project", "wanted", "answers", "right", "answer")
    rows = [
        (str(one["ls_task_id"] or "-"), one["project"] or "", str(one["people"]), str(one["answers"]),
         str(one["right"]), one["text"])
        for one in found
    ]  # fmt: skip
    printing.table(titles, rows, right=titles[2:5])
