"""Label Studio's ML backend protocol: /, /health, /setup, /predict, /versions.

Label Studio calls /health (1 s) and /setup (3 s) before every /predict while an annotator waits, so each is only a
look-up. The model behind them is a plugin with the class interface of label-studio-ml 2.x.
"""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa
from flask import Response, request

from ml_backend import tables
from ml_backend.api.auth import Gate
from ml_backend.api.requests import answer, json_object
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, PermanentError
from ml_backend.labelling import parameters, project_rows

MAX_TASKS = 100_000


class Protocol:
    """The protocol routes over one plugin class."""

    def __init__(self, context: Context, plugin: type[Any], gate: Gate) -> None:
        self._context, self._plugin, self._gate = context, plugin, gate
        self._alive = orjson.dumps({"status": "UP"})
        self._alive_known = orjson.dumps({"status": "UP", "model_class": plugin.__name__, "v2": True})

    def health(self) -> Response:
        """Alive. Strangers learn nothing more; wrong credentials are refused, so that a slip shows when adding."""
        try:
            self._gate.protocol(request)
        except InvalidInput:
            if self._gate.has_credentials(request):
                raise
            return answer(self._alive)
        return answer(self._alive_known)

    def setup(self) -> Response:
        """The draft label of a project, after noting a changed config or changed extra parameters."""
        body = json_object()
        schema = _text(body, "schema")
        model = self._model(body, schema)
        extra_params = parameters.accept(body.get("extra_params"))
        if extra_params is not None:
            model.set_extra_params(extra_params)
        return answer({"model_version": str(model.get("model_version"))})

    def predict(self) -> Response:
        """One entry per task, always."""
        body = json_object()
        tasks = body.get("tasks")
        if not isinstance(tasks, list):
            raise InvalidInput("bad-tasks", "tasks is not a list.", "Send the tasks as Label Studio does.")
        if len(tasks) > MAX_TASKS:
            raise InvalidInput("too-many-tasks", f"There are more than {MAX_TASKS} tasks.", "Send fewer at once.")
        params = body.get("params")
        if params is not None and not isinstance(params, dict):
            raise InvalidInput("bad-params", "params is not an object.", "Send params as Label Studio does.")
        interaction = (params or {}).get("context")
        if interaction is not None and not isinstance(interaction, dict):
            raise InvalidInput("bad-context", "params.context is not an object.", "Leave it out or send an object.")
        model = self._model(body, _text(body, "label_config"))
        if hasattr(model, "answers"):  # stored predictions, already serialised
            return answer(b'{"results":[' + b",".join(model.answers(tasks, interaction or None)) + b"]}")
        return answer({"results": _entries(model.predict(tasks, context=interaction or {}), len(tasks))})

    def versions(self) -> Response:
        """The draft labels in use; of one project when the request names it (GET cannot)."""
        place = tables.projects.c.instance_url == self._context.settings.label_studio_url
        query = sa.select(tables.projects.c.draft_label).where(place).distinct()
        if request.method == "POST":
            ls_project_id = project_rows.id_of(json_object().get("project"))
            query = query.where(tables.projects.c.ls_project_id == ls_project_id)
        rows = self._context.db.rows(query.order_by(tables.projects.c.draft_label))
        return answer({"versions": [row.draft_label for row in rows]})

    def _model(self, body: dict[str, Any], label_config: str | None) -> Any:
        return self._plugin(project_id=str(project_rows.id_of(body.get("project"))), label_config=label_config)


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInput("bad-label-config", f"{name} is not text.", "Send the labelling interface as XML text.")
    return value or None


def _entries(predicted: Any, count: int) -> list[Any]:
    """A plugin's answer as one entry per task: Label Studio stores nothing from a list of the wrong length."""
    if hasattr(predicted, "model_dump"):  # label-studio-ml's ModelResponse
        predicted = predicted.model_dump()
    if isinstance(predicted, dict):
        predicted = predicted.get("predictions", [])
    entries = [[] if entry is None else entry for entry in predicted or []]
    if len(entries) != count:
        raise PermanentError(
            "plugin-answer", f"The plugin gave {len(entries)} answers for {count} tasks.", "Correct the plugin."
        )
    return entries
