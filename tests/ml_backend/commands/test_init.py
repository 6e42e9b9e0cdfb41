"""`init` makes what it can, tells what it cannot, and never changes a value that is there."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from ml_backend import settings
from ml_backend.commands import command_line, init
from ml_backend.setting_values import is_sample
from tests.policy import test_compose


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [*(name for name, _, _ in settings.describe()), *(f"{name}_FILE" for name in settings.secret_names())]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def values(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z_]+)=(.+)$", file.read_text(encoding="utf-8"), re.MULTILINE))


def test_a_new_file_is_private_and_start_up_takes_it(folder, capsys):
    assert command_line.main(["init"]) == 0
    file = folder / ".env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = values(file)
    assert set(found) == set(init.MADE)
    assert not [name for name, value in found.items() if value in capsys.readouterr().out and name != "BASIC_AUTH_USER"]
    assert not [value for name, value in found.items() if not name.endswith("USER") and is_sample(value)]
    assert settings.load().basic_auth_pass.get_secret_value() == found["BASIC_AUTH_PASS"]


def test_two_files_share_no_secret(folder):
    for name in ("one", "two"):
        assert command_line.main(["init", "--file", name]) == 0
    one, two = values(folder / "one"), values(folder / "two")
    assert [name for name in one if one[name] == two[name]] == ["LABEL_STUDIO_FIRST_USER", "BASIC_AUTH_USER"]


def test_everything_compose_insists_on_is_made(folder):
    assert test_compose.required() <= set(init.MADE)


def test_it_is_told_what_has_to_come_from_elsewhere(folder, capsys):
    command_line.main(["init"])
    said = capsys.readouterr().out
    assert "LABEL_STUDIO_API_KEY" in said
    (folder / ".env").write_text(
        (folder / ".env").read_text().replace("LABEL_STUDIO_API_KEY=", "LABEL_STUDIO_API_KEY=x")
    )
    command_line.main(["init"])
    assert "LABEL_STUDIO_API_KEY" not in capsys.readouterr().out


def test_values_that_are_there_stay_and_are_named_and_gaps_are_filled(folder, capsys):
    mine = "# mine\nexport BASIC_AUTH_PASS='keep me as I am'\nMINIO_SECRET_KEY_FILE=/run/secrets/s3\n"
    mine += "API_TOKENS=\nOTHER=1\n"
    (folder / ".env").write_text(mine)
    (folder / ".env").chmod(0o644)
    assert command_line.main(["init"]) == 0
    text, said = (folder / ".env").read_text(), capsys.readouterr().out
    for line in (
        "# mine",
        "export BASIC_AUTH_PASS='keep me as I am'",
        "MINIO_SECRET_KEY_FILE=/run/secrets/s3",
        "OTHER=1",
    ):
        assert line in text.splitlines()
    assert "MINIO_SECRET_KEY=" not in text
    assert values(folder / ".env")["API_TOKENS"].startswith("operator:admin:")
    assert "Kept as they were: MINIO_SECRET_KEY, BASIC_AUTH_PASS." in said
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    assert "now only you can" in said

    again = (folder / ".env").read_bytes()
    assert command_line.main(["init"]) == 0
    assert (folder / ".env").read_bytes() == again
    assert "nothing was written" in capsys.readouterr().out


def test_a_link_stays_a_link(folder):
    (folder / "real").mkdir()
    (folder / "real" / "env").write_text("")
    (folder / ".env").symlink_to(folder / "real" / "env")
    command_line.main(["init"])
    assert (folder / ".env").is_symlink()
    assert set(values(folder / "real" / "env")) == set(init.MADE)


def test_a_folder_that_is_not_there_is_a_sentence(folder, capsys):
    assert command_line.main(["init", "--file", "nowhere/.env"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_without_the_example_file_every_setting_is_described_all_the_same(folder, monkeypatch):
    monkeypatch.setattr(init, "EXAMPLE", folder / "missing")
    command_line.main(["init"])
    text = (folder / ".env").read_text()
    assert all(re.search(rf"^(# )?{name}=", text, re.MULTILINE) for name, _, _ in settings.describe())
    assert settings.load() is not None
