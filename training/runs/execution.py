"""Training run -> a registered model version, or the reason why not. Safe to repeat after a crash.

The trainer is a separate process in the run's workspace. This job starts it, writes its progress to the database, stops
it on cancellation, and registers its result. After a kill, the next attempt continues in the workspace from the last
complete checkpoint. Nothing is promoted here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import packages, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import ConfigurationError, InvalidInput, KaanError, PermanentError, RetryableError
from ml_backend.jobs import devices, enqueueing, job_kinds
from ml_backend.models import kinds, model_files, registry
from ml_backend.tables import datasets, model_versions, runs
from ml_backend.views import training_progress as row_facts
from training.datasets import dataset
from training.runs import trainer_process
from training.runs.workspace import Workspace

OVER = ("done", "failed", "cancelled", "refused")
TRAINED, INTERRUPTED = "trained", "interrupted"  # weights are complete, not served; its process ended
Report = Callable[[float, str], None]
_PERSONAL = (
    "checkpoints", "audio.i16", "features.f16", "features.json", "rows.jsonl", "plan.json", "best.safetensors",
    "weights", "model", "learnt.json", "result.json",
)  # fmt: skip
_ONLY_TO_LEARN = ("checkpoints", "best.safetensors")
_KEPT = ("wer", "old_wer", "before", "average", "best_step", "trained_step", "stopped", "unknown_words")
_REFUSALS = ("training-data-refused", "training-memory", "training-time", "training-disk", "dataset-superseded")


def create(
    context: Context, dataset_id: int, arguments: Any, *, who: str, why: str, kind: str = kinds.ASR, job: bool = False
) -> int:
    """Insert a waiting run, and with `job` its job, in one transaction. `arguments` are the options of the kind."""
    with context.db.transaction() as connection:
        values = {
            "kind": kind, "dataset_id": dataset_id, "arguments": {"options": arguments.to_json()}, "who": who,
            "why": why, "state": "waiting",
        }  # fmt: skip
        run_id = int(connection.execute(sa.insert(runs).values(**values).returning(runs.c.id)).scalar_one())
        if job:
            enqueueing.enqueue(connection, job_kinds.RUN_TRAINING, key=str(run_id), run_id=run_id)
    return run_id


def require_trainer(kind: str = kinds.ASR) -> None:
    """ConfigurationError where no trainer can start; called before a run or its step begins."""
    packages.require("Training", *kinds.of(kind).packages)


def run_training(context: JobContext, run_id: int) -> None:
    """The job of a single run, outside the pipeline; it too keeps to the permitted hours."""
    require_trainer(find(context, run_id).kind)
    settings, now = context.settings, tables.now()
    opens = devices.opens_at(settings.training_window, now, zone=settings.exotel_time_zone)
    if opens > now:
        with context.db.transaction() as connection:
            enqueueing.enqueue(connection, job_kinds.RUN_TRAINING, key=str(run_id), due_at=opens, run_id=run_id)
        context.report(0.0, f"Run {run_id} goes on at {opens:%Y-%m-%d %H:%M} UTC.")
        return
    try:
        with device(context, run_id):
            execute(context, run_id, report=context.report)
    except devices.Busy as busy:
        devices.ask_again(context, job_kinds.RUN_TRAINING, str(run_id), run_id=run_id)
        context.report(0.0, busy.sentence)


@contextmanager
def device(context: Context, run_id: int) -> Iterator[None]:
    """The leases that `execute` needs: the device, and the only training of this kind."""
    row, owner = find(context, run_id), f"run-{run_id}"
    here = devices.here(getattr(options_of(row), "device", "auto"))
    with devices.held(context, f"training:{row.kind}", owner), devices.held(context, here, owner):
        yield


def execute(context: Context, run_id: int, *, report: Report = lambda fraction, note: None) -> str | None:
    """Train, convert, compare, register; returns the version's name, None when the run was cancelled.

    A run of the pipeline (its row has a `step`) stays `running`, because steps follow; a single one is `done`.
    """
    row = context.db.row(runs, run_id)
    made = version_of(context, run_id)
    if made is not None:
        return made
    if row.state in OVER and not resumable(context, row):
        raise PermanentError("run-over", f"Run {run_id} is {row.state} already.", "Start a new one.")
    if row.cancel_asked:
        _cancelled(context, run_id)
        return None
    workspace = Workspace(folder_of(context, run_id))
    workspace.folder.mkdir(parents=True, exist_ok=True)
    with workspace.locked() as lock:  # before a word in its row: without the lock, the run is another process's
        _note(
            context, run_id, state="running", started_at=row.started_at or tables.now(), folder=str(workspace.folder),
            finished_at=None, reason_code=None, reason=None,
        )  # fmt: skip
        try:
            _prepared(context, row, workspace, report)
            result = workspace.result()
            if result is None or result["state"] != "done" or not result["parity"]["passed"]:
                result = trainer_process.train(context, run_id, workspace, lock=lock, report=report)
            if result["state"] == "stopped":
                _cancelled(context, run_id)
                return None
            _note_left_out(context, run_id, workspace)
            kinds.of(row.kind).require_worth(result)
            return _registered(context, row, workspace, result)
        except RetryableError as error:
            _paused(context, run_id, error)
            raise
        except (PermanentError, ConfigurationError) as error:
            _stopped_by(context, run_id, workspace, error)
            raise
        except BaseException:
            _note(context, run_id, state=INTERRUPTED, reason_code="interrupted", reason=_gone(run_id))
            raise


def require_ended(context: Context, row: sa.Row[Any]) -> None:
    """RetryableError `run-under-way` while a process works on it: another would change its options, end its lease."""
    if row.state == "running" and row_facts.alive(context.db, row):
        step = f"Wait, or `train cancel {row.id}`."
        raise RetryableError("run-under-way", f"Run {row.id} is still running.", step)


def register(context: Context, run_id: int) -> str:
    """Register a run's stored weights although they were not to be served; the version's row says why not."""
    row = find(context, run_id)
    made = version_of(context, run_id)
    if made is not None:
        return made
    workspace = Workspace(folder_of(context, run_id))
    require_ended(context, row)
    if workspace.learnt() is None:
        raise PermanentError(
            "no-weights-kept", f"Run {run_id} has kept no weights.", f"`train show {run_id}` says what became of it."
        )
    with workspace.locked() as lock:
        result = workspace.result()
        if result is None or result.get("parity") is None:
            _note(context, run_id, state="running", finished_at=None)
            try:
                result = trainer_process.train(
                    context, run_id, workspace, lock=lock, report=lambda fraction, note: None
                )
            except KaanError as error:
                _stopped_by(context, run_id, workspace, error)
                raise
        return _registered(context, row, workspace, result, insisted=True)


def state_of(context: Context, row: Any) -> str:
    """A run's real state; `interrupted` where its row still says running and its process has ended."""
    with context.db.reading() as connection:
        return row_facts.state_of(connection, row)


def resumable(context: Context, row: Any) -> bool:
    """Whether an ended run has weights that its next attempt can continue from."""
    return row.state == "failed" and Workspace(folder_of(context, row.id)).begun


def change(context: Context, run_id: int, options: dict[str, Any]) -> None:
    """Change options of a run's remaining steps, such as those that made it too large or kept it from being served."""
    row, workspace = find(context, run_id), Workspace(folder_of(context, run_id))
    if not options:
        return
    whole, read = {**options_of(row).to_json(), **options}, kinds.of(row.kind).options
    read(whole)
    plan = workspace.plan()
    if plan:
        arguments = read({**plan["arguments"], **options})
        workspace.write_plan({**plan, "arguments": arguments.to_json()})
        (workspace.folder / "result.json").unlink(missing_ok=True)
    _note(context, run_id, arguments={**(row.arguments or {}), "options": read(whole).to_json()})


def cancel(context: Context, run_id: int) -> str:
    """Ask a run to stop; returns one sentence. A waiting run ends at once, a running one within seconds."""
    row = find(context, run_id)
    if row.state in OVER:
        return f"Run {run_id} is {row.state} already."
    _note(context, run_id, cancel_asked=True)
    if row.state in ("waiting", TRAINED, INTERRUPTED) or not row_facts.alive(context.db, row):
        _cancelled(context, run_id)
        return f"Run {run_id} is cancelled."
    return f"Run {run_id} is asked to stop; nothing of it is registered."


def find(context: Context, run_id: int) -> sa.Row[Any]:
    try:
        return context.db.row(runs, run_id if run_id < 2**62 else 0)
    except LookupError:
        known = context.db.rows(sa.select(runs.c.id).order_by(runs.c.id.desc()).limit(10))
        raise InvalidInput(
            "no-such-run", f"There is no training run {run_id}.",
            f"Known: {', '.join(str(row.id) for row in known) or 'none yet'}.", status=404,
        ) from None  # fmt: skip


def version_of(context: Context, run_id: int) -> str | None:
    """The version that a run has made, or None."""
    found = context.db.rows(sa.select(model_versions.c.version).where(model_versions.c.run_id == run_id))
    return found[0].version if found else None


def folder_of(context: Context, run_id: int) -> Path:
    return context.settings.data_dir / "training" / f"run-{run_id}"


def options_of(row: Any) -> Any:
    """The options of a run's row, of its kind; a schedule stores only changed ones, or none."""
    return kinds.of(row.kind).options(dict((row.arguments or {}).get("options") or {}))


def _replayed(row: Any) -> int | None:
    """The older dataset that is mixed in, where the kind knows that."""
    return getattr(options_of(row), "replay_dataset_id", None) or None


def _prepared(context: Context, row: Any, workspace: Workspace, report: Report) -> None:
    """Fill the workspace with plan and rows; files of an earlier attempt are kept."""
    if row.dataset_id is None:
        raise PermanentError("no-dataset", f"Run {row.id} has no dataset.", "Export one first.")
    data = context.db.row(datasets, row.dataset_id)
    if data.kind != row.kind:
        raise PermanentError(
            "wrong-kind", f"{data.name}@{data.version} is a dataset of kind {data.kind}, this run is of {row.kind}.",
            f"Name a dataset of kind {row.kind}: `datasets list`.",
        )  # fmt: skip
    if workspace.plan():
        _require_unerased(context, row)
        return
    report(0.0, "reading the dataset")
    kinds.of(row.kind).prepare(context, row, workspace, lambda **values: _note(context, row.id, **values))


def _registered(
    context: Context, row: Any, workspace: Workspace, result: dict[str, Any], *, insisted: bool = False
) -> str:
    """Store both forms of the model in the object store, and insert the version's row with its lineage."""
    _require_unerased(context, row)
    version = str(result["model_version"])
    weights = model_files.publish(context, workspace.weights, f"{model_files.WEIGHTS}/{version}")
    location = model_files.publish(context, workspace.model, f"{model_files.FOLDER}/{version}")
    data, plan = context.db.row(datasets, row.dataset_id), workspace.plan()
    lineage = {
        "run_id": row.id, "dataset_id": row.dataset_id, "dataset": f"{data.name}@{data.version}",
        "manifest_sha256": data.manifest_sha256, "base": plan["base_version"] or plan["base"], "weights": weights,
        "replay_dataset_id": _replayed(row),
    }  # fmt: skip
    registry.register(context, location, run_id=row.id, lineage=lineage, parity=result["parity"])
    metrics = dict(context.db.row(runs, row.id).metrics or {})
    metrics["result"] = {key: result.get(key) for key in _KEPT}
    ended = {"state": "done", "finished_at": tables.now(), "reason_code": None, "reason": None}
    if row.step and not insisted:  # steps follow
        ended = {"state": "running"}
    _note(context, row.id, metrics=metrics, **ended)
    _clear(context, row.id)
    for made in (workspace.weights, workspace.model):
        shutil.rmtree(made, ignore_errors=True)
    return version


def _require_unerased(context: Context, row: Any) -> None:
    """Refuse the result if a person in its training data was erased during the run."""
    for dataset_id in filter(None, (row.dataset_id, _replayed(row))):
        data = context.db.row(datasets, dataset_id)
        if data.state == dataset.SUPERSEDED:
            raise PermanentError(
                "dataset-superseded",
                f"A person in {data.name}@{data.version} was erased while this run learnt from it.",
                f"Start a run on the latest version of {data.name}.",
            )


def _clear(context: Context, run_id: int) -> None:
    """Delete audio and texts from the folder of an ended run; its log and progress stay."""
    folder = folder_of(context, run_id)
    for name in _PERSONAL:
        _remove(folder / name)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _cancelled(context: Context, run_id: int) -> None:
    _note(context, run_id, state="cancelled", finished_at=tables.now(), reason="Cancelled on request.")
    _clear(context, run_id)


def _stopped_by(context: Context, run_id: int, workspace: Workspace, error: KaanError) -> None:
    """End the run for a permanent reason. Its weights are kept, unless an erasure forbids it."""
    erased = error.code == "dataset-superseded"
    if workspace.learnt() is not None and not erased:
        keeps = f"Its weights are kept: `train resume {run_id}` goes on, `models register --run {run_id}` takes them."
        sentence = f"trained, not served: {error.sentence} {error.next_step} {keeps}"
        _note(context, run_id, state=TRAINED, finished_at=tables.now(), reason_code=error.code, reason=sentence)
        for name in _ONLY_TO_LEARN:
            _remove(workspace.folder / name)
        return
    state = "refused" if error.code in _REFUSALS else "failed"
    sentence, kept = f"{error.sentence} {error.next_step}".strip(), workspace.begun and not erased
    if kept:
        sentence += f" Its last checkpoint is kept: `train resume {run_id}` goes on from it, with other options."
    _note(context, run_id, state=state, finished_at=tables.now(), reason_code=error.code, reason=sentence)
    if not kept:
        _clear(context, run_id)


def _paused(context: Context, run_id: int, error: KaanError) -> None:
    """Mark the run as interrupted: its job retries by itself, a person with `train resume`."""
    sentence = f"{error.sentence} {error.next_step} `train resume {run_id}` goes on.".strip()
    _note(context, run_id, state=INTERRUPTED, reason_code=error.code, reason=sentence)


def _gone(run_id: int) -> str:
    return f"Its process is gone. `train resume {run_id}` goes on from its last whole checkpoint."


def _note_left_out(context: Context, run_id: int, workspace: Workspace) -> None:
    """Add rows that only the trainer found unusable to those left out before."""
    found = next((line["left_out"] for line in workspace.progress() if line["phase"] == "left-out"), None)
    if found:
        metrics = dict(context.db.row(runs, run_id).metrics or {})
        shown = {reason: {"count": len(ids), "rows": ids[:20]} for reason, ids in found.items()}
        _note(context, run_id, metrics={**metrics, "left_out": {**metrics.get("left_out", {}), **shown}})


def _note(context: Context, run_id: int, **values: Any) -> None:
    with context.db.transaction() as connection:
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(updated_at=tables.now(), **values))
