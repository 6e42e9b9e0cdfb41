"""Arguments of a run that did not fit -> what to reduce, cheapest first; only what is not reduced yet."""

from __future__ import annotations

from ml_backend.errors import PermanentError
from training.runs.arguments import Arguments
from training.runs.workspace import Workspace

OUT_OF_MEMORY = "training-out-of-memory"
_LEAST_BATCH_S = 10.0


def advice(arguments: Arguments, padded_s: float | None, *, windows: int = 0) -> str:
    """`padded_s`: what every window is padded to, None where each keeps its length. `windows`: of the largest batch."""
    found = []
    if padded_s and (count := windows or int(arguments.batch_s / padded_s)) > 1:
        found.append(f"--batch-s {max(1, count // 2) * padded_s:g} --accumulation {arguments.accumulation * 2}")
    elif not padded_s and arguments.batch_s > _LEAST_BATCH_S:
        found.append(f"--batch-s {arguments.batch_s / 2:g} --accumulation {arguments.accumulation * 2}")
    if not arguments.gradient_checkpointing:
        found.append("--gradient-checkpointing")
    if arguments.method != "lora":
        found.append("--method lora")
    return f"Use {', '.join(found)}, or a smaller base." if found else "Use a smaller base, or a larger machine."


def too_large(workspace: Workspace, sentence: str) -> PermanentError:
    """Out of memory will be so again: the run fails, and says what to reduce."""
    plan = workspace.plan()
    if workspace.learnt() is not None:
        return PermanentError(OUT_OF_MEMORY, sentence, "The weights are kept: give the machine more memory.")
    if not plan:
        return PermanentError(OUT_OF_MEMORY, sentence, advice(Arguments(), 30.0))
    padded_s = (plan.get("window") or {}).get("pad_to_s")
    return PermanentError(OUT_OF_MEMORY, sentence, advice(Arguments.from_json(plan["arguments"]), padded_s))
