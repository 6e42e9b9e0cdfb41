"""`doctor` where nothing was set up: what comes first stands first, and every next step can be taken there and then."""

from __future__ import annotations

from pathlib import Path

from ml_backend import db
from ml_backend.settings import Settings
from sync.commands import doctor


def look(folder: Path, **settings: object) -> list[doctor.Finding]:
    known = {"database_url": "", "object_store": "", "redis_url": "redis://127.0.0.1:9/0", **settings}
    return list(doctor.examine(Settings(_env_file=None, data_dir=folder, **known)))  # type: ignore[arg-type]


def test_an_empty_database_is_named_first_with_the_one_command_that_works_there(tmp_path: Path) -> None:
    first, *others = look(tmp_path)
    assert (first.world, first.state) == ("database", doctor.FAIL)
    assert first.sentence == "The database has no tables yet."
    assert first.next_step == "Run `python -m ml_backend db upgrade`."
    steps = " ".join(finding.next_step for finding in others)
    assert "project create" not in steps
    assert "backup" not in first.next_step + steps  # there is nothing to save
    for world in ("model", "exotel", "label studio", "projects"):
        (finding,) = [each for each in others if each.world == world]
        assert finding.state == doctor.SKIPPED


def test_a_project_is_not_asked_for_before_label_studio_answers(tmp_path: Path) -> None:
    db.upgrade(f"sqlite:///{tmp_path / 'kaan.db'}")
    token = {"label_studio_url": "http://127.0.0.1:9", "label_studio_api_key": "7f3c9e61b2d84a05e8f1"}
    found = look(tmp_path, **token)
    assert any(each.world == "label studio" and each.state == doctor.FAIL for each in found)
    (projects,) = [each for each in found if each.world == "projects"]
    assert projects.next_step.startswith("Mend what is said of Label Studio first, then")
