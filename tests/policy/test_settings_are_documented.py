"""A setting nobody can find is no setting: `.env.example` and the reference list every one, and nothing else."""

import re

import pytest

from ml_backend import settings
from scripts import reference_pages
from tests.policy.source import ROOT

KNOWN = {name: (default, description) for name, default, description in settings.describe()}
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
FILES = {f"{name}_FILE" for name in settings.secret_names()}
COMPOSE = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("docker-compose*.yml")).replace("$$", "")
COMPOSE_ONLY = set(re.findall(r"\$\{([A-Z_]+)", COMPOSE)) | {"POSTGRES_PASSWORD_FILE", "REDIS_PASSWORD_FILE"}
COMPOSE_ONLY -= set(KNOWN) | FILES


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


def test_the_reference_lists_every_setting_once_with_its_default():
    text = reference_pages.fill((ROOT / "docs/reference/settings.md").read_text(encoding="utf-8"))
    listed = re.findall(r"^\| `([A-Z0-9_]+)`\{[^}]*\} \| (?:`(.*?)`)? ?\|", text, re.MULTILINE)
    assert sorted(listed) == sorted((name, default) for name, (default, _) in KNOWN.items())


def test_no_document_names_a_setting_that_does_not_exist():
    """A word in capitals with an underscore, as code: a setting, one of the compose file, or of somebody else."""
    others = re.compile(r"LABEL_STUDIO_|X_|MLFLOW_|ASR_MANIFEST$|SECRET_KEY$|.*_FILE$|KAAN_")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        named = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)`", path.read_text(encoding="utf-8")))
        unknown = {name for name in named - set(KNOWN) - COMPOSE_ONLY if not others.match(name)}
        assert not unknown, path.name


def test_the_names_of_the_compose_file_are_known_to_the_check_for_misspelt_ones():
    from ml_backend import setting_values

    assert set(setting_values.COMPOSE) == COMPOSE_ONLY
