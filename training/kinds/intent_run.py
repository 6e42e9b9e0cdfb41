"""Dataset -> the folder of a run that trains a parser of utterances; the trainer's result -> worth serving, or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_backend.context import Context
from ml_backend.errors import PermanentError
from ml_backend.models import kinds, manifest
from ml_backend.tables import datasets
from training.datasets import dataset
from training.kinds import kind_bases
from training.kinds.kind_bases import KindBase
from training.runs.nlu_arguments import NluArguments
from training.runs.workspace import Workspace, write_text

WEIGHTS = Path(__file__).parents[1] / "demo_intents" / "weights"  # the bundled parser's, to go on from
LEAST_ROWS = 50  # of validation: fewer cannot show whether a step was better than the base
_FIELDS = ("id", "text", "intent", "entities", "language", "script", "family", "split")


def prepare(context: Context, row: Any, workspace: Workspace, note: Callable[..., None]) -> None:
    """Fill the workspace with plan and rows; refuses data that nothing can be learnt from."""
    arguments = NluArguments.from_json(dict((row.arguments or {}).get("options") or {}))
    found = kind_bases.find(context, arguments.base, kinds.NLU, shipped=WEIGHTS)
    hub = KindBase(arguments.base, None, arguments.base.split("/")[-1])  # the trainer's library downloads it
    base = found or hub
    name = arguments.name or base.name
    manifest.require_name(name)
    lines = [line for line in dataset.read(context, row.dataset_id) if line["split"] != "test"]
    tested = {line["id"] for line in dataset.read(context, row.dataset_id, "test")}
    replayed = []
    if arguments.replay_dataset_id:
        older = dataset.read(context, arguments.replay_dataset_id)
        replayed = [line for line in older if line["split"] == "train" and line["id"] not in tested]
    intents = {line["intent"] for line in lines if line["split"] == "train"}
    if len(intents) < 2:
        raise PermanentError(
            "training-data-refused", f"The training rows have {len(intents)} intent{'s' * (len(intents) != 1)}: a "
            "parser chooses between at least two.", "Label utterances of other intents, then export anew.",
        )  # fmt: skip
    rows = [{**_row(line), "part": part} for part, some in (("new", lines), ("replay", replayed)) for line in some]
    counts = {split: sum(line["split"] == split for line in lines) for split in ("train", "validation")}
    note(
        base_version=base.version or base.location, metrics={**counts, "replay": len(replayed), "intents": len(intents)}
    )
    write_text(workspace.folder / "rows.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in rows))
    data = context.db.row(datasets, row.dataset_id)
    workspace.write_plan(
        {
            "arguments": arguments.to_json(), "base": base.location, "base_version": base.version,
            "base_name": name, "name": name,
            "languages": sorted({line["language"] for line in lines if line["language"]}),
            "memory_share": context.settings.training_memory_share,
            "trained_on": f"dataset {data.name}@{data.version}, run {row.id}, from {base.version or base.location}",
        }
    )  # fmt: skip


def require_worth(result: dict[str, Any]) -> None:
    """Refuse a result whose served form differs from the trained one, or that is no better than its base."""
    parity, before, after = result["parity"], result.get("before"), result.get("after")
    if not parity["passed"]:
        raise PermanentError(
            "parity-failed",
            f"The served form gives {100 * parity['difference']:.1f} % of the texts another label than the trained one "
            f"({100 * parity['bound']:.1f} % are allowed).",
            "Try --option form=float32.",
        )
    if before is None or after is None or result.get("new_intents") or after["rows"] < LEAST_ROWS:
        return
    if result["best_step"] == 0:
        raise PermanentError(
            "no-step-better",
            f"No step was better than the base: macro-F1 {before['macro_f1']:.3f} on {after['rows']} unseen wordings.",
            "More rows, or a lower learning_rate, may help.",
        )


def _row(line: dict[str, Any]) -> dict[str, Any]:
    return {name: line.get(name) for name in _FIELDS}
