"""A project we made -> its tab "Most useful first", the only order of work that holds across imports.

Measured on Label Studio 1.23.2, open edition. "Label All Tasks" hands tasks out in the order of their creation, with
locks; an import can only choose the order within itself. "Uncertainty sampling" uses scores only while the organisation
has one member, and draws at random with more. A tab's order does hold: "Label Tasks As Displayed" in the tab hands out
the most useful open task, whenever it was imported. It ignores locks, so two people who start at the same moment may
get the same task; both results are kept.
"""

from __future__ import annotations

from ml_backend.context import JobContext
from ml_backend.tables import projects
from sync.label_studio import missing
from sync.label_studio.label_studio_client import LabelStudioClient, client_of

TAB = "Most useful first"
USEFULNESS = "usefulness"  # a task's field in projects of ours: text with three decimals sorts the same as a number
DURATION, LANGUAGE, UNSURE_WORDS = "duration", "language", "unsure_words"  # further fields of those tasks
ORDERING = [f"-tasks:data.{USEFULNESS}"]
_COLUMN = ORDERING[0].removeprefix("-")
_HIDDEN = [
    f"tasks:{name}"
    for name in (
        "inner_id", "annotations_results", "annotations_ids", "predictions_score", "predictions_model_versions",
        "predictions_results", "file_upload", "storage_filename", "created_at", "updated_at", "updated_by",
        "avg_lead_time", "draft_exists", "total_predictions", "data.kaan_key",
    )
]  # fmt: skip


# Finished tasks leave the tab. A task for two annotators is finished when both are, which this filter checks.
_UNFINISHED = {"filter": "filter:tasks:completed_at", "operator": "empty", "type": "Datetime", "value": "true"}


def add_tab(client: LabelStudioClient, ls_project_id: int) -> bool:
    """Make the tab unless one with this title exists; gives whether it was made. People may change or delete it."""
    tabs = client.call("GET", "/api/dm/views/", params={"project": ls_project_id})
    if any((tab.get("data") or {}).get("title") == TAB for tab in tabs):
        return False
    data = {
        "title": TAB,
        "type": "list",
        "target": "tasks",
        "ordering": ORDERING,
        "columnsDisplayType": {_COLUMN: "Number", f"tasks:data.{UNSURE_WORDS}": "Number"},
        "hiddenColumns": {"explore": _HIDDEN, "labeling": [*_HIDDEN, _COLUMN, "tasks:id", "tasks:annotators"]},
        "filters": {"conjunction": "and", "items": [_UNFINISHED]},
    }
    client.call("POST", "/api/dm/views/", json={"project": ls_project_id, "data": data})
    return True


@missing.noticed
def close_instructions(context: JobContext, project_id: int) -> None:
    """Stop opening the instructions over the label stream once the project has its first annotation.

    Label Studio opens them at every entry and does not remember who has read them. Afterwards the button *Instructions*
    shows them. This runs once per project, so a person can turn the setting on again.
    """
    project = context.db.row(projects, project_id)
    client = client_of(context)
    if client.project(project.ls_project_id).get("show_instruction"):
        client.change_project(project.ls_project_id, show_instruction=False)
