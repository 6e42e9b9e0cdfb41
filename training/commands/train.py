"""`train asr|resume|list|show|cancel`: fine-tune a model on a dataset, in this process or as a job, and show runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from ml_backend import settings
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput, RetryableError
from ml_backend.jobs import devices
from ml_backend.jobs import processes as alive
from ml_backend.models import kinds
from ml_backend.reports.learning import run_curves
from ml_backend.tables import runs
from training.datasets import dataset as datasets
from training.runs import execution as training_runs
from training.runs import trainer_process
from training.runs.arguments import METHODS, PRECISIONS, QUANTIZATIONS, TRACKERS, Arguments
from training.schedule import threshold

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Fine-tune models on datasets.")
RunId = Annotated[int, typer.Argument(help="Number of the run, from `train list`.")]
_USUAL = Arguments()


@app.command()
def asr(
    dataset: Annotated[str, typer.Option(help="What to learn from: name, name@version or id.")],
    base: Annotated[str, typer.Option(help="champion, bundled, a version, a hub name or a folder.")] = _USUAL.base,
    method: Annotated[str, typer.Option(help=f"{' or '.join(METHODS)}.")] = _USUAL.method,
    epochs: Annotated[float, typer.Option(help="Times that every row is trained on.")] = _USUAL.epochs,
    steps: Annotated[int, typer.Option(help="Steps instead of epochs.")] = _USUAL.steps,
    learning_rate: Annotated[float, typer.Option(help="0: by method and size of the base.")] = _USUAL.learning_rate,
    batch_s: Annotated[float, typer.Option(help="Seconds of audio in one batch; 0: by the base.")] = _USUAL.batch_s,
    accumulation: Annotated[int, typer.Option(help="Batches added up before each step.")] = _USUAL.accumulation,
    precision: Annotated[str, typer.Option(help=f"{', '.join(PRECISIONS)}.")] = _USUAL.precision,
    gradient_checkpointing: Annotated[bool, typer.Option(help="Less memory, a third more time.")] = False,
    processes: Annotated[int, typer.Option(help="GPUs to train on.")] = _USUAL.processes,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = _USUAL.device,
    replay: Annotated[str, typer.Option(help="An older dataset mixed in against forgetting.")] = "",
    replay_share: Annotated[float, typer.Option(help="Its share of the training data.")] = _USUAL.replay_share,
    average: Annotated[float, typer.Option(help="Part of the base's weights in the result; -1 chooses.")] = 0.0,
    patience: Annotated[int, typer.Option(help="Validations without gain before stopping; 0: never.")] = 4,
    max_hours: Annotated[float, typer.Option(help="Refuse what would take longer.")] = _USUAL.max_hours,
    quantization: Annotated[str, typer.Option(help=f"{', '.join(QUANTIZATIONS)}.")] = _USUAL.quantization,
    report_to: Annotated[str, typer.Option(help=f"{', '.join(TRACKERS)}.")] = _USUAL.report_to,
    seed: Annotated[int, typer.Option(help="Same seed, same order of the data.")] = _USUAL.seed,
    option: Annotated[
        list[str] | None, typer.Option(help="Any other of training/runs/arguments.py: name=value.")
    ] = None,
    why: Annotated[str, typer.Option(help="Kept with the run.")] = "",
    job: Annotated[bool, typer.Option("--job", help="Leave it to the training worker.")] = False,
    as_json: printing.AsJson = False,
) -> None:
    """Fine-tune a Whisper on a dataset; the result is registered, never promoted.

    Example: python -m ml_backend train asr --dataset calls --base champion --average -1
    """
    context = open_context(settings.load())
    chosen = {
        "base": base, "method": method, "epochs": epochs, "steps": steps, "learning_rate": learning_rate,
        "batch_s": batch_s, "accumulation": accumulation, "precision": precision,
        "gradient_checkpointing": gradient_checkpointing, "processes": processes, "device": device,
        "replay_dataset_id": datasets.find_whole(context, replay).id if replay else 0, "replay_share": replay_share,
        "average": average, "patience": patience, "max_hours": max_hours, "quantization": quantization,
        "report_to": report_to, "seed": seed, **_others(option or [], _USUAL),
    }  # fmt: skip
    if not job:
        training_runs.require_trainer()
    dataset_id = int(datasets.find_whole(context, dataset).id)
    _begin(context, dataset_id, Arguments.from_json(chosen), kind=kinds.ASR, why=why, job=job, as_json=as_json)


def _of_kind(kind: str) -> Callable[..., None]:
    """The command that trains a model of another kind; its options are those of the kind."""

    def train(
        dataset: Annotated[str, typer.Option(help="What to learn from: name, name@version or id.")],
        base: Annotated[str, typer.Option(help="champion, bundled, a version, a hub name or a folder.")] = "champion",
        steps: Annotated[int, typer.Option(help="Training steps; 0: by the kind and the data.")] = 0,
        seed: Annotated[int, typer.Option(help="Same seed, same order of the data.")] = 1,
        option: Annotated[list[str] | None, typer.Option(help="Any other option of the kind: name=value.")] = None,
        why: Annotated[str, typer.Option(help="Kept with the run.")] = "asked on the command line",
        job: Annotated[bool, typer.Option("--job", help="Leave it to the training worker.")] = False,
        as_json: printing.AsJson = False,
    ) -> None:
        context, brought = open_context(settings.load()), kinds.of(kind)
        others = _others(option or [], brought.options({}))
        chosen = {"base": base, "seed": seed, **({"steps": steps} if steps else {}), **others}
        if not job:
            training_runs.require_trainer(kind)
        dataset_id = int(datasets.find_whole(context, dataset).id)
        _begin(context, dataset_id, brought.options(chosen), kind=kind, why=why, job=job, as_json=as_json)

    what = {kinds.NLU: "a parser of utterances on a dataset of utterances", kinds.TTS: "a voice on a dataset of voices"}
    train.__doc__ = f"""Train {what.get(kind, kind)}; the result is registered, never promoted.

    Example: python -m ml_backend train {kind} --dataset {kinds.of(kind).dataset}
    """
    return train


for _kind in kinds.names():
    if _kind != kinds.ASR:
        app.command(_kind)(_of_kind(_kind))


def _begin(context: Context, dataset_id: int, arguments: Any, *, kind: str, why: str, job: bool, as_json: bool) -> None:
    run_id = training_runs.create(context, dataset_id, arguments, who="command line", why=why, kind=kind, job=job)
    if job:
        waits = alive.waits_for(context.db, "training") or "The training worker takes it."
        printing.result({"run": run_id}, f"Run {run_id} is asked for. {waits}", as_json=as_json)
        return
    _here(context, run_id, as_json)


@app.command()
def resume(
    run_id: RunId,
    batch_s: Annotated[float | None, typer.Option(help="Smaller, where it did not fit into memory.")] = None,
    accumulation: Annotated[int | None, typer.Option(help="Batches added up before each step.")] = None,
    gradient_checkpointing: Annotated[bool, typer.Option(help="Less memory, a third more time.")] = False,
    quantization: Annotated[str | None, typer.Option(help="Another form to serve, where that one failed.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Any other of training/runs/arguments.py: name=value.")
    ] = None,
    as_json: printing.AsJson = False,
) -> None:
    """Go on with a run that was killed, did not fit or is not served: nothing it has learnt is learnt again.

    Example: python -m ml_backend train resume 1
    """
    context = open_context(settings.load())
    row = training_runs.find(context, run_id)
    training_runs.require_ended(context, row)
    changed: dict[str, Any] = {
        "batch_s": batch_s, "accumulation": accumulation, "quantization": quantization,
        "gradient_checkpointing": gradient_checkpointing or None,
    }  # fmt: skip
    changed = {name: value for name, value in changed.items() if value is not None} | _others(
        option or [], training_runs.options_of(row)
    )
    training_runs.change(context, run_id, changed)
    if row.step and row.step != "done":  # of the pipeline: a job does its next step
        with context.db.transaction() as connection:
            threshold.enqueue(connection, run_id)
        sentence = f"Run {run_id} goes on with its step {row.step}; the training worker does it."
        printing.result({"run": run_id, "step": row.step}, sentence, as_json=as_json)
        return
    training_runs.require_trainer(row.kind)
    _here(context, run_id, as_json)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, newest first.")] = 20,
    as_json: printing.AsJson = False,
) -> None:
    """Show training runs, newest first.

    Example: python -m ml_backend train list
    """
    context = open_context(settings.load())
    found = context.db.rows(sa.select(runs).order_by(runs.c.id.desc()).limit(limit))
    if as_json:
        printing.say_json({"runs": [to_dict(context, row) for row in found]})
        return
    if not found:
        printing.say("There is no training run yet.")
        return
    lines = [
        (
            str(row.id), row.kind, training_runs.state_of(context, row), row.base_version or "",
            trainer_process.sentence(row.progress) if row.progress else "",
            training_runs.version_of(context, row.id) or "",
            row.reason or row.why or "",
        )
        for row in found
    ]  # fmt: skip
    printing.table(("run", "kind", "state", "base", "progress", "version", "why"), lines, right=("run",))


@app.command()
def show(run_id: RunId, as_json: printing.AsJson = False) -> None:
    """Show one run: what it learns from, how far it is, what it came to.

    Example: python -m ml_backend train show 1
    """
    context = open_context(settings.load())
    facts = to_dict(context, training_runs.find(context, run_id))
    if as_json:
        printing.say_json(facts)
        return
    for name, text in _in_words(facts):
        printing.fact(name, text)


@app.command()
def cancel(run_id: RunId) -> None:
    """Stop a run, within its next step; nothing of it is registered.

    Example: python -m ml_backend train cancel 1
    """
    typer.echo(training_runs.cancel(open_context(settings.load()), run_id))


def to_dict(context: Context, row: Any) -> dict[str, Any]:
    """A run as plain values, as `/api` and the page show it."""
    with context.db.reading() as connection:
        return run_curves.to_dict(connection, row)


def _here(context: Context, run_id: int, as_json: bool) -> None:
    try:
        with training_runs.device(context, run_id):
            version = training_runs.execute(context, run_id, report=printing.progress)
    except devices.Busy as busy:
        raise RetryableError(
            busy.code, busy.sentence, f"When that is done: python -m ml_backend train resume {run_id}"
        ) from None
    row = training_runs.find(context, run_id)
    if as_json:
        printing.say_json(to_dict(context, row))
    elif version is None:
        typer.echo(f"Run {run_id} was cancelled.")
    else:
        printing.say(f"Run {run_id} made {version}. Next: python -m ml_backend evaluate {version}")


def _in_words(facts: dict[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """A run as titles and sentences; nested values get their parent's name."""
    for name, value in facts.items():
        title = f"{within} {name}".strip().replace("_", " ")
        if value in (None, "", {}, []):
            continue
        if isinstance(value, dict) and any(isinstance(each, dict) for each in value.values()):
            yield from _in_words(value, title)
        elif isinstance(value, dict):
            yield (
                title,
                ", ".join(f"{key} {_shown(each)}" for key, each in value.items() if each not in (None, "", [], {})),
            )
        else:
            yield title, ", ".join(map(_shown, value)) if isinstance(value, list) else _shown(value)


def _shown(value: Any) -> str:
    """`off` and `0.1732`, not `False` and `0.17324561403508773`."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 10_000 else str(value)


def _others(pairs: list[str], usual: Any) -> dict[str, Any]:
    """Parse `name=value` in the option's type."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        default = getattr(usual, name, None)
        if not equals or default is None:
            raise InvalidInput("training-arguments", f"{pair[:60]!r} is not an option.", "Write --option name=value.")
        try:
            found[name] = text == "true" if isinstance(default, bool) else type(default)(text)
        except ValueError:
            raise InvalidInput("training-arguments", f"{name} cannot be {text[:40]!r}.", "Write a number.") from None
    return found
