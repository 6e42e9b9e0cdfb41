"""Dataset -> the folder of a run that trains a Whisper; the trainer's result -> worth serving, or why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ml_backend.context import Context
from ml_backend.errors import PermanentError
from ml_backend.models import manifest
from ml_backend.tables import datasets
from training.runs import bases, estimates, workspace_rows
from training.runs.arguments import Arguments
from training.runs.bases import Base
from training.runs.workspace import NEW, RATE_HZ, REPLAY, Row, Workspace

LEAST_WORDS = 100  # of validation: fewer cannot show whether a step was better than the base


def prepare(context: Context, row: Any, workspace: Workspace, note: Callable[..., None]) -> None:
    """Fill the workspace with plan, rows and audio; refuses what cannot be learnt from, or does not fit."""
    arguments = Arguments.from_json(dict((row.arguments or {}).get("options") or {}))
    base = bases.find(context, arguments.base)
    manifest.require_name(arguments.name or base.name)
    arguments = arguments.settled(base.window.pad_to_s)
    found = workspace_rows.gather(
        context, row.dataset_id, arguments.replay_dataset_id, base, most_left_out=arguments.most_left_out
    )
    estimate = _estimate(context, base, arguments, found, workspace)
    note(base_version=base.version or base.location, estimate=estimate, metrics=found.to_json())
    workspace_rows.write(context, found, workspace, most_left_out=arguments.most_left_out)
    note(metrics=found.to_json())
    languages = sorted(set(base.languages) | {line["language"] for line in found.new + found.replay})
    data = context.db.row(datasets, row.dataset_id)
    workspace.write_plan(
        {
            "arguments": arguments.to_json(), "base": base.location, "base_version": base.version,
            "base_name": base.name, "name": arguments.name or base.name, "window": asdict(base.window),
            "languages": languages, "base_languages": list(base.languages),
            "memory_share": context.settings.training_memory_share,
            "trained_on": f"dataset {data.name}@{data.version}, run {row.id}, from {base.name}",
        }
    )  # fmt: skip


def _estimate(
    context: Context, base: Base, arguments: Arguments, found: workspace_rows.TrainingRows, workspace: Workspace
) -> dict[str, Any] | None:
    size = bases.size_of(base)
    if size is None:
        return None
    lines = [(NEW, line) for line in found.new] + [(REPLAY, line) for line in found.replay]
    rows = [
        Row(
            line["id"], line["text"], line["language"], 0, int((line["end_s"] - line["start_s"]) * RATE_HZ),
            line["split"], part, line.get("speaker_id") or "",
        )
        for part, line in lines
    ]  # fmt: skip
    estimate = estimates.estimate(
        size, arguments, estimates.Load.of(rows, base.window, arguments), folder=workspace.folder,
        memory_share=context.settings.training_memory_share,
    )  # fmt: skip
    estimates.refuse_what_cannot_fit(
        estimate, arguments, min_free_disk_mb=context.settings.min_free_disk_mb, padded_s=base.window.pad_to_s
    )
    return estimate.to_json()


def require_worth(result: dict[str, Any]) -> None:
    """Refuse a result that is not better than its base, or whose served form differs from the trained one."""
    parity = result["parity"]
    if not parity["passed"]:
        raise PermanentError(
            "parity-failed",
            f"The served form writes {100 * parity['difference']:.1f} % of {parity['words']} words otherwise than the "
            f"trained one ({100 * parity['bound']:.1f} % are allowed), with a WER of {100 * parity['wer_served']:.1f} "
            f"against {100 * parity['wer_trained']:.1f} %.",
            "Try --quantization float32, or allow more with --option parity_bound=0.05.",
        )
    before, words = result.get("before"), result.get("words") or 0
    if before and result["best_step"] == 0 and words >= LEAST_WORDS and result.get("wer") is not None:
        raise PermanentError(
            "no-step-better",
            f"No step was better than the base: WER {100 * before['wer']:.1f} % before, {100 * result['wer']:.1f} % at "
            f"the best step ({result.get('trained_step')}), of {words} words.",
            "More rows, a lower --learning-rate or --method lora may help.",
        )
