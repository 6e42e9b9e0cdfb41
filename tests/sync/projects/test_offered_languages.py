"""A project that was made before LANGUAGES changed: named by doctor, brought up to date by a command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.labelling import labelconfig
from sync.commands import doctor
from sync.projects import offered_languages
from sync.projects.project_sync import sync_project
from tests.sync.conftest import Service
from tests.sync.redrafts import Drafted, drafted


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Drafted]:
    with drafted(tmp_path / "data", 1) as made:
        yield made


def speaking(world: Drafted, languages: str) -> Context:
    """The deployment after LANGUAGES was changed and its processes restarted."""
    settings = world.context.settings.model_copy(update={"languages": languages})
    world.context = replace(world.context, settings=settings)
    return world.context


def behind(world: Drafted) -> str | None:
    project = world.project()
    return offered_languages.left_behind(world.context, project, there(world)["label_config"])


def there(world: Drafted) -> dict[str, Any]:
    return world.studio.projects[world.project().ls_project_id]


def test_a_project_of_the_usual_languages_is_not_left_behind(world: Drafted) -> None:
    assert behind(world) is None
    assert offered_languages.update(world.context, world.project()) == []


def test_doctor_names_a_project_that_is_left_behind_and_the_command_that_helps(world: Drafted) -> None:
    speaking(world, "ta,en")
    found = list(doctor._projects(world.context))
    [told] = [one for one in found if "LANGUAGES" in one.sentence]
    assert told.sentence == "The labelling config offers Hindi, English, Marathi; LANGUAGES asks for English, Tamil."
    assert told.next_step == f"Run `python -m ml_backend project update {world.project().ls_project_id}`."


def test_a_project_of_texts_gets_the_labels_that_came_in_and_keeps_its_own_on_their_keys(world: Drafted) -> None:
    config = labelconfig.read("nlu", labels={"intents": ["track", "refund"], "entities": ["order"]})
    there(world)["label_config"] = config
    assert behind(world) is None
    span = {"entity": "brand", "start": 0, "end": 3, "value": "abc"}
    with world.context.db.transaction() as connection:
        for number, (intent, spans) in enumerate((("warranty", [span]), ("refund", []), ("none_of_these", []))):
            connection.execute(sa.insert(tables.utterances).values(
                origin="t", external_id=str(number), source="human", text="abc d", intent=intent, entities=spans,
                digest="d", state="accepted",
            ))  # fmt: skip
    assert behind(world) == "The labelling config lacks warranty, brand, which utterances have."
    (said,) = offered_languages.update(world.context, world.project())[:1]
    assert said == "The labelling config offers warranty, brand too; open tasks are drafted anew."
    controls = labelconfig.parse(there(world)["label_config"])
    assert controls.other_choices["intent"].options == ("track", "refund", "warranty")
    assert controls.other_labels["entities"].options == ("order", "brand")
    assert behind(world) is None
    assert offered_languages.update(world.context, world.project()) == []


def test_an_update_offers_the_languages_in_config_and_instructions_and_nothing_is_left_to_do(world: Drafted) -> None:
    there(world)["expert_instruction"] = labelconfig.instructions(labelconfig.read("calls"))
    speaking(world, "ta,en")
    said = offered_languages.update(world.context, world.project())
    assert len(said) == 2
    assert there(world)["label_config"] == labelconfig.read("calls", ("ta", "en"))
    assert "எனக்கு" in there(world)["expert_instruction"]
    assert behind(world) is None
    sync_project(world.context, world.project_id)
    controls = labelconfig.parse(world.project().label_config)
    assert controls.choices["redraft"].options == ("en", "ta")
    assert offered_languages.update(world.context, world.project()) == []


def test_an_update_keeps_a_language_that_somebody_annotated_in_and_instructions_that_somebody_wrote(
    world: Drafted,
) -> None:
    world.context.db.update(tables.tasks, 1, state="annotated")
    with world.context.db.transaction() as connection:
        connection.execute(
            tables.annotations.insert().values(
                project_id=world.project_id, task_id=1, ls_annotation_id=5, result=[], ls_updated_at=tables.now(),
                text="मला", language="mr", segments=[], reject=[],
            )
        )  # fmt: skip
    there(world)["expert_instruction"] = "<p>Ours.</p>"
    speaking(world, "ta")
    offered_languages.update(world.context, world.project())
    assert labelconfig.parse(there(world)["label_config"]).choices["redraft"].options == ("mr", "ta")
    assert there(world)["expert_instruction"] == "<p>Ours.</p>"


def test_an_older_project_of_ours_gets_the_script_policy_of_new_languages_and_keeps_its_own(world: Drafted) -> None:
    world.context.db.update(tables.projects, world.project_id, script_policy={"hi": "Deva"})
    offered_languages.update(world.context, world.project())
    policy = world.project().script_policy
    assert (policy["hi"], policy["ta"], policy["en"]) == ("Deva", "Mixed", "Latn")


def test_a_config_of_other_people_is_left_alone(world: Drafted) -> None:
    theirs = labelconfig.read("calls").replace('value="good"', 'value="fine"')
    there(world)["label_config"] = theirs
    speaking(world, "ta")
    assert behind(world) is None
    with pytest.raises(InvalidInput, match="not one of ours"):
        offered_languages.update(world.context, world.project())
    assert there(world)["label_config"] == theirs


def test_a_language_that_no_config_can_offer_is_named(world: Drafted) -> None:
    found = list(doctor._projects(speaking(world, "hi,fr")))
    assert [one.sentence for one in found if "fr" in one.sentence.split(", which")[0]] == [
        "LANGUAGES names fr, which annotators are not offered: it has no entry with keys."
    ]


def test_label_studio_takes_the_config_of_an_update_and_gives_it_back_as_one_of_ours(service: Service) -> None:
    project = service.project("calls")
    settings = service.context.settings.model_copy(update={"languages": "ta,bn,en"})
    context = replace(service.context, settings=settings)
    before = service.client.project(project.ls_project_id)["label_config"]
    assert labelconfig.ready_made(before) == "calls"
    assert offered_languages.left_behind(context, project, before)
    assert len(offered_languages.update(context, project)) == 2, "config and instructions"
    after = service.client.project(project.ls_project_id)
    assert [one.code for one in labelconfig.offered_in(after["label_config"])] == ["en", "ta", "bn"]
    assert labelconfig.ready_made(after["label_config"]) == "calls"
    assert "எனக்கு" in after["expert_instruction"]
    assert offered_languages.left_behind(context, project, after["label_config"]) is None
