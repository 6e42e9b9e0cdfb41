"""A rendered draft -> whether people see it, or empty regions instead. Pure; stored once on the task's row.

A draft that is too wrong costs more time than it saves: people read it, compare it, and delete it. The choice is taken
when the first draft of a model version is rendered, and kept for that version: what is learnt later changes no open
task. `/predict` and the pusher both read the prediction that follows from it. Such a task is not blind: it may be
learnt from, and is never part of the test set.

Shown whatever is expected: drafts of audit tasks, which are a random sample that measures drafts; of experiments, whose
arms are compared by their edits; what an annotator asked for; and one in ten of the others, so that the break-even
stays measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from ml_backend.usefulness.team_model import TeamModel

NO_DRAFT = "no-draft"
TRIAL_SHARE = 0.1
ALWAYS_SHOWN = frozenset({"audit"})  # reasons of the selection


@dataclass(frozen=True)
class DraftChoice:
    """Of one task and model version; `why` is a sentence."""

    shown: bool
    model_version: str
    expected_error: float | None = None
    break_even: float | None = None
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """The value of `tasks.draft_choice`."""
        return asdict(self)


def stored(value: Any, model_version: str) -> DraftChoice | None:
    """The choice that was taken for a draft of this version, if there is one."""
    if not isinstance(value, Mapping) or value.get("model_version") != model_version:
        return None
    return DraftChoice(**value)


def choose_draft(
    model: TeamModel, *, task_key: str, reason: str | None, language: str | None, confidence: float, model_version: str,
    in_experiment: bool = False,
    asked_for: bool = False,
) -> DraftChoice:  # fmt: skip
    """Whether a draft of this confidence is worth showing."""
    error, even = round(model.expected_error(language, confidence), 4), round(model.break_even.value, 4)
    told = partial(DraftChoice, model_version=model_version, expected_error=error, break_even=even)
    if not model.is_calibrated(language) or error <= even:
        return told(shown=True)
    above = f"about {100 * error:.0f} % of its words are expected to be wrong"
    if asked_for:
        return told(shown=True, why="Shown because an annotator asked for it.")
    if reason in ALWAYS_SHOWN or in_experiment:
        return told(shown=True, why=f"Shown although {above}: it measures drafts.")
    if _draw(task_key) < TRIAL_SHARE:
        return told(shown=True, why=f"Shown although {above}: one in ten is, to measure what drafts cost.")
    limit = f"above {100 * even:.0f} % people write faster than they correct"
    return told(shown=False, why=f"The draft is left out: {above}, and {limit}.")


def _draw(task_key: str) -> float:
    return int.from_bytes(hashlib.sha256(f"draft trial|{task_key}".encode()).digest()[:7], "big") / 2**56
