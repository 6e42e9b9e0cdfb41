"""A request to train -> a Training run and its steps.

Start Training, the threshold and the weekly check only insert a job row; here the request becomes a run, or a refusal
that is kept for `training status` and `/api/training`, because Label Studio throws our answer away.
"""

from __future__ import annotations

from ml_backend.context import JobContext
from training import threshold


def train_requested(context: JobContext, run_id: int | None = None, project_id: int | None = None) -> None:
    """Begin a run: the one that was decided on, or one a person asks for now. Safe to repeat."""
    if run_id is None:
        answer = threshold.ask_by_hand(context, who="Label Studio", project_id=project_id)
        if answer.run_id is None:
            context.report(1.0, f"Refused: {answer.reason}")
            return
        run_id = answer.run_id
    context.report(0.0, f"Run {run_id} is recorded; it waits for its export.")
