"""A setting nobody can find is no setting: `.env.example` and the README list every one, and nothing else."""

import re

import pytest

from ml_backend import settings
from tests.policy.source import ROOT

KNOWN = {name: (default, description) for name, default, description in settings.describe()}
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
COMPOSE_ONLY = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))) - set(KNOWN)


def test_every_setting_is_described():
    assert not [name for name, (_, description) in KNOWN.items() if not description.endswith(".")]


@pytest.mark.parametrize("name", KNOWN)
def test_the_example_file_shows_every_setting_with_its_default_and_description(name):
    default, description = KNOWN[name]
    found = re.search(rf"((?:^# .*\n)+)^(# )?{name}=(.*)$", EXAMPLE, re.MULTILINE)
    assert found, f"{name} is not in .env.example"
    assert found.group(3) == default
    above = " ".join(found.group(1).replace("\n# ", " ").removeprefix("# ").split())
    assert description in above


def test_the_example_file_names_nothing_unknown():
    named = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", EXAMPLE, re.MULTILINE))
    assert named == set(KNOWN) | COMPOSE_ONLY


def test_an_untouched_copy_of_the_example_file_changes_nothing(tmp_path, monkeypatch):
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    copy = tmp_path / ".env"
    copy.write_text(EXAMPLE, encoding="utf-8")
    assert settings.Settings(_env_file=copy) == settings.Settings(_env_file=None)


@pytest.mark.parametrize("name", KNOWN)
def test_the_readme_lists_every_setting(name):
    assert f"`{name}`" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_names_of_the_compose_file_are_known_to_the_check_for_misspelt_ones():
    from ml_backend import setting_values

    assert set(setting_values.COMPOSE) == COMPOSE_ONLY
