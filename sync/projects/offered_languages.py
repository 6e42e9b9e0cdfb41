"""The languages that a project's labelling config offers, against those that LANGUAGES asks for.

A project keeps the config it was made with. When LANGUAGES changes, `doctor` names the projects that are left behind,
and `project update` brings them up to date. Only ready-made configs are touched; a language with annotations stays. So
it is with the intents and entities of `nlu` when utterances with others come in: each stays in its order, on its key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ml_backend import db, languages
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig
from ml_backend.labelling.utterance_marks import ENTITIES, INTENT
from ml_backend.settings import Settings
from ml_backend.tables import annotations as written
from ml_backend.tables import projects
from sync.label_studio.label_studio_client import client_of
from sync.projects import my_day_link
from sync.projects.attachment import SCRIPT_POLICY
from sync.tasks.utterance_tasks import labels_of


def left_behind(context: Context, project: sa.Row[Any], config: str) -> str | None:
    """One sentence where a project's config offers other languages than LANGUAGES asks for; None where all is well."""
    wanted = _config(context, project, config)
    if wanted is None:
        return None
    if lacking := _lacking(config, wanted):
        return f"The labelling config lacks {', '.join(lacking[:10])}, which utterances have."
    if _names(config) == _names(wanted):
        return None
    return f"The labelling config offers {_names(config)}; LANGUAGES asks for {_names(wanted)}."


def without_entry(settings: Settings) -> list[str]:
    """The languages of LANGUAGES that no config can offer, because the language table has no keys for them."""
    offered = {one.code for one in languages.OFFERED}
    return [code for code in settings.spoken if code not in offered]


def update(context: Context, project: sa.Row[Any]) -> list[str]:
    """Bring a project's config, instructions and script policy up to LANGUAGES; gives a sentence for each change."""
    client = client_of(context)
    there = client.project(project.ls_project_id)
    config = str(there.get("label_config") or "")
    wanted = _config(context, project, config)
    if wanted is None:
        raise InvalidInput(
            "config-not-ours",
            f"The labelling config of project {project.ls_project_id} is not one of ours, or was changed by hand.",
            "Add the languages to its choices in Label Studio: Settings, Labeling Interface.",
        )
    said, changes = [], {}
    if _names(config) != _names(wanted):
        changes["label_config"] = wanted
        said.append(f"The labelling config offers {_names(wanted)} now; open tasks are drafted anew.")
    if lacking := _lacking(config, wanted):
        changes["label_config"] = wanted
        said.append(f"The labelling config offers {', '.join(lacking[:30])} too; open tasks are drafted anew.")
    page = str(there.get("expert_instruction") or "")
    plain, renewed = my_day_link.without(page), labelconfig.instructions(wanted)
    if changes and my_day_link.words(plain) == my_day_link.words(labelconfig.instructions(config)):
        linked = plain != page
        changes["expert_instruction"] = (
            my_day_link.below(context, project.ls_project_id, renewed) if linked else renewed
        )
        said.append("The instructions name them.")
    elif changes:
        said.append("The instructions stay as they are: they were changed by hand.")
    if changes:
        client.change_project(project.ls_project_id, **changes)
    made, policy = (project.attached_changes or {}).get("made"), project.script_policy
    with context.db.transaction() as connection:
        if made and isinstance(policy, Mapping) and not SCRIPT_POLICY.keys() <= policy.keys():
            db.update(connection, projects, project.id, script_policy=SCRIPT_POLICY | dict(policy))
            said.append("Every language of the language table has a script policy.")
        enqueueing.enqueue(connection, job_kinds.SYNC_PROJECT, key=str(project.id), project_id=project.id)
    return said


def _config(context: Context, project: sa.Row[Any], config: str) -> str | None:
    """What a ready-made config would be by now; None for a config of other people, and for one without languages."""
    name = labelconfig.ready_made(config)
    spoken = (*labelconfig.offered_by(context.settings), *_used(context, project))
    if name == "nlu":
        known = labels_of(context) or {}
        here = _labels(config)
        more = {each: [one for one in known.get(each, ()) if one not in here[each]] for each in here}
        return labelconfig.read(name, spoken, labels={each: [*here[each], *more[each]] for each in here})
    return labelconfig.read(name, spoken) if name in labelconfig.TRANSCRIBING else None


def _labels(config: str) -> dict[str, Sequence[str]]:
    """The intents and entities that a config offers, in its order; empty for one that asks for none."""
    controls = labelconfig.parse(config)
    intents, entities = controls.other_choices.get(INTENT), controls.other_labels.get(ENTITIES)
    return {"intents": intents.options if intents else (), "entities": entities.options if entities else ()}


def _lacking(config: str, wanted: str) -> list[str]:
    """The intents and entities that only the second config has."""
    if not labelconfig.parse(wanted).parses:
        return []
    here = _labels(config)
    return [one for each, options in _labels(wanted).items() for one in options if one not in here[each]]


def _used(context: Context, project: sa.Row[Any]) -> list[str]:
    """The languages with annotations: Label Studio refuses a config without an answer that was given."""
    mine = sa.select(written.c.language).where(written.c.project_id == project.id, written.c.language.is_not(None))
    return [str(code) for code in context.db.scalars(mine.distinct())]


def _names(config: str) -> str:
    return ", ".join(one.name for one in labelconfig.offered_in(config) if not one.parts)
