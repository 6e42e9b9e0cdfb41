"""Utterance -> Prediction row of its task: what the serving parser says of the text, as marks and choices.

Only what the project's config offers is drafted: Label Studio would not show another intent or name. The row has the
true version; Label Studio sees the draft label, as for transcripts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ml_backend import db, languages, tables
from ml_backend.context import Context
from ml_backend.labelling import labelconfig
from ml_backend.labelling.controls import Controls
from ml_backend.labelling.utterance_marks import (
    CORRECTION,
    ENTITIES,
    INTENT,
    OUT_OF_SCOPE,
    MarkedUtterance,
    to_result,
)
from ml_backend.models import kinds, registry
from ml_backend.models.registry import ANY_LANGUAGE, CHAMPION, Version
from ml_backend.serving import default_model
from ml_backend.tables import predictions, projects, tasks, utterances
from sync.drafts.drafts import NOTHING

if TYPE_CHECKING:
    from ml_backend.nlu.parsing import Parse, Parser


class UtteranceDrafts:
    """The serving parsers, each loaded when the first text needs it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._versions: dict[str, Version] = {}
        default_model.ensure(context, kinds.NLU)

    def wishes(self, project: sa.Row[Any]) -> str:
        """A digest of all that decides a draft besides the text: the project's config and the serving versions."""
        row = tables.aliases.c
        serving = sa.select(row.language, row.model_version_id).where(row.kind == kinds.NLU, row.alias == CHAMPION)
        said = sorted(list(map(str, each)) for each in self._context.db.rows(serving))
        return hashlib.sha256(json.dumps([project.config_sha256, said]).encode()).hexdigest()[:32]

    def version(self, language: str | None) -> str:
        """The version that drafts texts of a language."""
        return self._serving(language).version

    def rows(
        self, project: sa.Row[Any], asked: Any, labels: Sequence[str], *, blind: bool = False
    ) -> list[dict[str, Any]]:
        """The prediction's rows of an utterance's task, without `task_id`: one for each label.

        Those of a blind task are empty: whoever answers it must not see what a model says.
        """
        serving = self._serving(asked.language)
        parser = self._parser(serving)
        found = parser.parse(asked.text)
        marked = _marked(found, labelconfig.parse(project.label_config), asked.language, parser.needs.fallback)
        result = [] if blind else to_result(asked.text, marked, score=round(found.confidence, 4))
        why = {"reason_code": "blind", "reason": "This task is annotated without a draft."} if blind else {}
        drafted = []
        for label in labels:
            body: Any = {"model_version": label, "score": round(found.confidence, 4), "result": result}
            shown = {} if result else dict.fromkeys(("delivered_at", "confirmed_at"), tables.now())
            drafted.append({
                "project_id": project.id, "draft_label": label, "model_version": serving.version,
                "config_sha256": project.config_sha256 or "", "score": body["score"] if result else None,
                "body": json.dumps(body, ensure_ascii=False, separators=(",", ":")) if result else NOTHING,
                "delivered_by": None if result else "nobody", **shown, **why,
            })  # fmt: skip
        return drafted

    def stale(self, project: sa.Row[Any], page: Sequence[sa.Row[Any]]) -> bool:
        """Whether one of these tasks would be drafted differently now."""
        asked = self._asked(page)
        return any(
            task.config_sha256 != (project.config_sha256 or "")
            or task.model_version != self.version(asked[task.id].language)
            for task in page
            if task.id in asked
        )

    def draft_page(self, project: sa.Row[Any], page: Sequence[sa.Row[Any]], label: str) -> None:
        """Store the drafts of these tasks under the project's next label, unless it changed meanwhile."""
        asked = self._asked(page)
        drafted = {
            each.id: self.rows(project, asked[each.id], (label,), blind=bool(each.blind))
            for each in page
            if each.id in asked
        }
        with self._context.db.transaction() as connection:
            now = sa.select(projects.c.next_draft_label).where(projects.c.id == project.id).with_for_update()
            if connection.execute(now).scalar() != label:
                return
            there = sa.select(tasks.c.id).where(tasks.c.id.in_(drafted), tasks.c.reason_code == "erased")
            erased = set(connection.execute(there).scalars())  # while they were parsed
            for task_id, rows in drafted.items():
                for values in rows if task_id not in erased else ():
                    key = ("task_id", "draft_label")
                    db.insert_once(connection, predictions, {"task_id": task_id, **values}, key=key)

    def _asked(self, page: Sequence[sa.Row[Any]]) -> dict[int, sa.Row[Any]]:
        """The utterance of each task."""
        mine = sa.select(utterances).where(utterances.c.task_id.in_([task.id for task in page]))
        rows = self._context.db.rows(mine.where(utterances.c.source != CORRECTION).order_by(utterances.c.id.desc()))
        return {row.task_id: row for row in rows}

    def _serving(self, language: str | None) -> Version:
        name = language or ANY_LANGUAGE
        if name not in self._versions:
            self._versions[name] = registry.champion(self._context, kinds.NLU, language=name)
        return self._versions[name]

    def _parser(self, version: Version) -> Parser:
        from ml_backend.nlu import loading  # ONNX Runtime: only where a text is parsed

        loaded: dict[str, Parser] = self._context.keep("parsers", dict)
        if version.version not in loaded:
            loaded[version.version] = loading.load(registry.verified(self._context, version))
        return loaded[version.version]


def _marked(found: Parse, controls: Controls, language: str | None, fallback: str) -> MarkedUtterance:
    """What of a parse the config can show: the likeliest intent also below the threshold, since a person checks it."""
    intents = controls.other_choices[INTENT].options
    entities = controls.other_labels[ENTITIES].options if ENTITIES in controls.other_labels else ()
    spoken = controls.choices["language"].options if "language" in controls.choices else ()
    return MarkedUtterance(
        intent=found.best if found.best in intents else None,
        entities=tuple(
            {"entity": each.entity, "start": each.start, "end": each.end}
            for each in found.entities
            if each.entity in entities
        ),
        language=next((each for each in spoken if language and languages.code_of(each) == language), None),
        out_of_scope=found.best == fallback and OUT_OF_SCOPE in controls.other_choices,
    )
