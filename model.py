"""SpeechModel: the Label Studio plugin. Tasks -> stored predictions; training requests -> job rows.

Thin over the kernel: nothing is transcribed here. The class has the interface of label-studio-ml 2.x and subclasses
its base when that is installed, so this file runs unchanged under the upstream server, where it opens the kernel by
the environment; our own server hands it the context it has open.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
import threading
from collections.abc import Sequence
from typing import Any, ClassVar

from ml_backend.context import Context, open_context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import parameters, project_rows
from ml_backend.labelling.prediction_lookup import Deliveries
from ml_backend.labelling.project_rows import Project


class _Plain:
    """The same interface where label-studio-ml 2.x is not installed."""

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.project_id = project_id or ""
        if label_config is not None:
            self.use_label_config(label_config)
        self.setup()

    def use_label_config(self, label_config: str) -> None:
        """Which labelling interface this instance works with."""

    def setup(self) -> None:
        """Called once per instance."""


def _upstream_base() -> type[Any]:
    """LabelStudioMLBase of 2.x, else our own: 1.x has another interface and breaks beside a modern Flask.

    Our own server does without it even where it is installed: it brings torch and pandas into the process.
    """
    if "ml_backend.api.app" in sys.modules or importlib.util.find_spec("label_studio_ml") is None:
        return _Plain
    try:
        from label_studio_ml.model import LabelStudioMLBase
    except Exception:  # any failure of somebody else's import means: not usable here
        return _Plain
    is_2x = "project_id" in inspect.signature(LabelStudioMLBase.__init__).parameters
    return LabelStudioMLBase if is_2x else _Plain


_opening = threading.Lock()


class SpeechModel(_upstream_base()):  # type: ignore[misc]
    """Drafts for speech tasks. One instance per request, as the upstream server makes them.

    Its base has no name of its own here: `label-studio-ml create --from model.py` would take it for a second candidate.
    """

    context: ClassVar[Context | None] = None
    _label_config: str | None = None
    _extra_params: dict[str, Any] | None = None
    _known_project: Project | None = None

    def setup(self) -> None:
        """Nothing to prepare: models are loaded by workers, never by a request."""

    def use_label_config(self, label_config: str) -> None:
        """The project's labelling interface as this request tells it."""
        self._label_config, self._known_project = label_config, None

    def set_extra_params(self, extra_params: Any) -> None:
        """The project's language, prompt, hotwords, minimum_confidence; changed ones draft open tasks again."""
        self._extra_params, self._known_project = parameters.accept(extra_params), None
        self._project()

    def predict(
        self, tasks: Sequence[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        """One entry per task: a prediction, or an empty list while there is none."""
        return [json.loads(body) for body in self.answers(tasks, context)]

    def answers(self, tasks: Sequence[Any], context: dict[str, Any] | None = None) -> list[bytes]:
        """The same as JSON texts, as they are stored."""
        return self._deliveries().answers(self._project(), tasks, interactive=bool(context))

    def fit(self, event: str, data: Any, **kwargs: Any) -> dict[str, str]:
        """Start Training becomes one job row; annotations reach training through webhooks and reconciliation."""
        if event != "START_TRAINING":
            return {"status": "ok"}
        project = self._project()
        with self._context().db.transaction() as connection:
            job_id = enqueueing.enqueue(connection, job_kinds.TRAIN, key=str(project.id), project_id=project.id)
        return {"status": "ok", "job": str(job_id)}

    def get(self, key: str) -> str | None:
        """What 2.x keeps per project: `model_version`, `label_config`, `extra_params`."""
        if key == "model_version":
            return self._project().draft_label
        if key == "label_config":
            return self._label_config
        return json.dumps(self._extra_params) if key == "extra_params" and self._extra_params else None

    def set(self, key: str, value: Any) -> None:
        """Only what Label Studio may change; the draft label is the kernel's."""
        if key == "extra_params":
            self.set_extra_params(value)
        elif key == "label_config":
            self.use_label_config(value)

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        return self.get(key) is not None

    @property
    def model_version(self) -> str:
        """The project's draft label: the one string Label Studio sees."""
        return str(self.get("model_version"))

    def _project(self) -> Project:
        if self._known_project is None:
            self._known_project = project_rows.upsert(
                self._context(),
                project_rows.id_of(self.project_id),
                label_config=self._label_config,
                extra_params=self._extra_params,
            )
        return self._known_project

    @classmethod
    def _context(cls) -> Context:
        with _opening:
            if cls.context is None:
                from ml_backend import settings

                cls.context = open_context(settings.load())
            return cls.context

    def _deliveries(self) -> Deliveries:
        context = self._context()
        with _opening:
            made: Deliveries = context.keep("deliveries", lambda: Deliveries(context))
        return made
