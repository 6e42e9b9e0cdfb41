"""Training run -> a registered model version, or the reason why not. Safe to repeat after a crash.

The trainer is a process of its own in the run's workspace; this job feeds it, tells the database what it says, stops it
when somebody cancels, and at the end moves its result into the registry. Killed at any moment, the next attempt finds
the workspace and goes on from the last whole checkpoint. Nothing is promoted here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import devices, jobs, manifest, model_files, packages, registry, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import ConfigurationError, InvalidInput, KaanError, PermanentError, RetryableError
from ml_backend.tables import datasets, model_versions, runs
from training import bases, dataset, estimates, following, material
from training.arguments import Arguments
from training.bases import Base
from training.workspace import Workspace

OVER = ("done", "failed", "cancelled", "refused")
Report = Callable[[float, str], None]
_PERSONAL = (
    "checkpoints", "audio.i16", "features.f16", "features.json", "rows.jsonl", "plan.json", "best.safetensors",
    "weights", "model",
)  # fmt: skip
_KEPT = ("wer", "old_wer", "before", "average", "best_step", "stopped")
_REFUSALS = ("training-data-refused", "training-memory", "training-time", "training-disk", "dataset-superseded")


def create(context: Context, dataset_id: int, arguments: Arguments, *, who: str, why: str, job: bool = False) -> int:
    """A waiting run, and with `job` the job that carries it out; one transaction."""
    with context.db.transaction() as connection:
        values = {
            "kind": "asr", "dataset_id": dataset_id, "arguments": {"options": arguments.to_json()}, "who": who,
            "why": why, "state": "waiting",
        }  # fmt: skip
        run_id = int(connection.execute(sa.insert(runs).values(**values).returning(runs.c.id)).scalar_one())
        if job:
            jobs.enqueue(connection, jobs.RUN_TRAINING, key=str(run_id), run_id=run_id)
    return run_id


def require_trainer() -> None:
    """ConfigurationError where no trainer can start: before a run is made, or a step of it begun."""
    packages.require("Training", *packages.TRAINER)


def run_training(context: JobContext, run_id: int) -> None:
    """The job of a run that was asked for by itself, outside the pipeline; it keeps to the permitted hours, too."""
    require_trainer()
    settings, now = context.settings, tables.now()
    opens = devices.opens_at(settings.training_window, now, zone=settings.exotel_time_zone)
    if opens > now:
        with context.db.transaction() as connection:
            jobs.enqueue(connection, jobs.RUN_TRAINING, key=str(run_id), due_at=opens, run_id=run_id)
        context.report(0.0, f"Run {run_id} goes on at {opens:%Y-%m-%d %H:%M} UTC.")
        return
    try:
        with device(context, run_id):
            execute(context, run_id, report=context.report)
    except devices.Busy as busy:
        devices.ask_again(context, jobs.RUN_TRAINING, str(run_id), run_id=run_id)
        context.report(0.0, busy.sentence)


@contextmanager
def device(context: Context, run_id: int) -> Iterator[None]:
    """What whoever calls `execute` holds: the device, and the right to train this kind, which one of all has."""
    row, owner = find(context, run_id), f"run-{run_id}"
    here = devices.here(options_of(row).device)
    with devices.held(context, f"training:{row.kind}", owner), devices.held(context, here, owner):
        yield


def execute(context: Context, run_id: int, *, report: Report = lambda fraction, note: None) -> str | None:
    """Train, convert, compare, register; gives the version's name, None when the run was cancelled.

    A run of the pipeline (its row has a `step`) stays `running`, because steps follow; one by itself is `done`.
    """
    row = context.db.row(runs, run_id)
    made = version_of(context, run_id)
    if made is not None:
        return made
    if row.state in OVER:
        raise PermanentError("run-over", f"Run {run_id} is {row.state} already.", "Start a new one.")
    if row.cancel_asked:
        _cancelled(context, run_id)
        return None
    workspace = Workspace(folder_of(context, run_id))
    workspace.folder.mkdir(parents=True, exist_ok=True)
    _note(context, run_id, state="running", started_at=row.started_at or tables.now(), folder=str(workspace.folder))
    try:
        with workspace.locked() as lock:
            base = _prepared(context, row, workspace, report)
            result = workspace.result()
            if result is None or result["state"] != "done":
                result = following.train(context, run_id, workspace, lock=lock, report=report)
            if result["state"] == "stopped":
                _cancelled(context, run_id)
                return None
            return _registered(context, row, workspace, base, result)
    except RetryableError:
        raise
    except (PermanentError, ConfigurationError) as error:
        _ended(context, run_id, "refused" if error.code in _REFUSALS else "failed", error)
        raise


def cancel(context: Context, run_id: int) -> str:
    """Ask a run to stop; gives one sentence. A waiting run is over at once, a running one within seconds."""
    row = find(context, run_id)
    if row.state in OVER:
        return f"Run {run_id} is {row.state} already."
    _note(context, run_id, cancel_asked=True)
    if row.state == "waiting":
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
    """The version a run has made, if it has."""
    found = context.db.rows(sa.select(model_versions.c.version).where(model_versions.c.run_id == run_id))
    return found[0].version if found else None


def folder_of(context: Context, run_id: int) -> Path:
    return context.settings.data_dir / "training" / f"run-{run_id}"


def options_of(row: Any) -> Arguments:
    """The options of a run's row; one that was asked for by a schedule has only those it changes, or none."""
    return Arguments.from_json(dict((row.arguments or {}).get("options") or {}))


def _prepared(context: Context, row: Any, workspace: Workspace, report: Report) -> Base:
    """The workspace with plan, rows and audio; what is there from an earlier attempt is kept."""
    arguments = options_of(row)
    if row.dataset_id is None:
        raise PermanentError("no-dataset", f"Run {row.id} has no dataset.", "Export one first.")
    plan = workspace.plan()
    if plan:
        _require_unerased(context, row)
        return _base_of(plan)
    report(0.0, "reading the dataset")
    base = bases.find(context, arguments.base)
    manifest.require_name(arguments.name or base.name)
    arguments = arguments.settled(base.window.pad_to_s)
    found = material.gather(
        context, row.dataset_id, arguments.replay_dataset_id, base, most_left_out=arguments.most_left_out
    )
    estimate = _estimate(context, base, arguments, found, workspace)
    _note(context, row.id, base_version=base.version or base.location, estimate=estimate, metrics=found.to_json())
    material.write(context, found, workspace)
    languages = sorted(set(base.languages) | {line["language"] for line in found.new})
    workspace.write_plan(
        {
            "arguments": arguments.to_json(), "base": base.location, "base_version": base.version,
            "base_name": base.name, "name": arguments.name or base.name, "window": asdict(base.window),
            "languages": languages, "memory_share": context.settings.training_memory_share,
            "trained_on": f"{_dataset_name(context, row)}, run {row.id}, from {base.name}",
        }
    )  # fmt: skip
    return base


def _estimate(
    context: Context, base: Base, arguments: Arguments, found: material.Material, workspace: Workspace
) -> dict[str, Any] | None:
    size = bases.size_of(base)
    if size is None:
        return None
    estimate = estimates.estimate(
        size, arguments, train_s=found.train_s, max_s=base.window.max_s, padded_s=base.window.pad_to_s,
        clips=found.clips, folder=workspace.folder, memory_share=context.settings.training_memory_share,
    )  # fmt: skip
    estimates.refuse_what_cannot_fit(estimate, arguments, min_free_disk_mb=context.settings.min_free_disk_mb)
    return estimate.to_json()


def _registered(context: Context, row: Any, workspace: Workspace, base: Base, result: dict[str, Any]) -> str:
    """Both forms of the model in the object store, and the version's row with its lineage."""
    if not result["parity"]["passed"]:
        parity = result["parity"]
        raise PermanentError(
            "parity-failed",
            f"The served form hears {100 * parity['difference']:.1f} % of words otherwise than the trained one "
            f"({100 * parity['bound']:.1f} % are allowed).",
            "Use --quantization float16 or float32.",
        )
    _require_unerased(context, row)
    version = str(result["model_version"])
    weights = model_files.publish(context, workspace.weights, f"{model_files.WEIGHTS}/{version}")
    location = model_files.publish(context, workspace.model, f"{model_files.FOLDER}/{version}")
    data = context.db.row(datasets, row.dataset_id)
    lineage = {
        "run_id": row.id, "dataset_id": row.dataset_id, "dataset": f"{data.name}@{data.version}",
        "manifest_sha256": data.manifest_sha256, "base": base.version or base.location, "weights": weights,
        "replay_dataset_id": options_of(row).replay_dataset_id or None,
    }  # fmt: skip
    registry.register(context, location, run_id=row.id, lineage=lineage, parity=result["parity"])
    metrics = dict(context.db.row(runs, row.id).metrics or {})
    metrics["result"] = {key: result.get(key) for key in _KEPT}
    ended = {} if row.step else {"state": "done", "finished_at": tables.now()}
    _note(context, row.id, metrics=metrics, **ended)
    _clear(context, row.id)
    for made in (workspace.weights, workspace.model):
        shutil.rmtree(made, ignore_errors=True)
    return version


def _require_unerased(context: Context, row: Any) -> None:
    """Somebody may be erased while a run learns from them: then nothing of it may become a model."""
    for dataset_id in filter(None, (row.dataset_id, options_of(row).replay_dataset_id)):
        data = context.db.row(datasets, dataset_id)
        if data.state == dataset.SUPERSEDED:
            raise PermanentError(
                "dataset-superseded",
                f"Somebody in {data.name}@{data.version} was erased while this run learnt from it.",
                f"Start a run on the latest version of {data.name}.",
            )


def _clear(context: Context, run_id: int) -> None:
    """Nobody's voice or words stay in the folder of a run that is over; its log and progress do."""
    folder = folder_of(context, run_id)
    for name in _PERSONAL:
        path = folder / name
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _dataset_name(context: Context, row: Any) -> str:
    data = context.db.row(datasets, row.dataset_id)
    return f"dataset {data.name}@{data.version}"


def _base_of(plan: dict[str, Any]) -> Base:
    from ml_backend.manifest import Window

    return Base(
        plan["base"], plan["base_name"], Window(**plan["window"]), tuple(plan["languages"]), plan["base_version"]
    )


def _cancelled(context: Context, run_id: int) -> None:
    _note(context, run_id, state="cancelled", finished_at=tables.now(), reason="Somebody asked for it.")
    _clear(context, run_id)


def _ended(context: Context, run_id: int, state: str, error: KaanError) -> None:
    sentence = f"{error.sentence} {error.next_step}".strip()
    _note(context, run_id, state=state, finished_at=tables.now(), reason_code=error.code, reason=sentence)
    _clear(context, run_id)


def _note(context: Context, run_id: int, **values: Any) -> None:
    with context.db.transaction() as connection:
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(updated_at=tables.now(), **values))
