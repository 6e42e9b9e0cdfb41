"""`speak` writes a WAV file, or says in a sentence why not."""

import json
import wave
from pathlib import Path

import pytest

from ml_backend import db
from ml_backend.__main__ import main
from ml_backend.context import open_context
from ml_backend.models import kinds, manifest, registry
from ml_backend.settings import load


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MIN_FREE_DISK_MB", "0")


def test_a_text_becomes_a_file_and_the_facts_about_it(tmp_path, capsys):
    out = tmp_path / "order.wav"
    assert main(["speak", "आपका order भेज दिया है।", "--language", "hi", "--out", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    with wave.open(str(out)) as file:
        assert abs(file.getnframes() / file.getframerate() - facts["duration_s"]) < 0.001
    assert facts["voice"] == "kaan"
    assert facts["model_version"].startswith("kaan-voice-")


def test_what_cannot_be_said_writes_no_file(tmp_path, capsys):
    out = tmp_path / "order.wav"
    assert main(["speak", "hello", "--language", "ta", "--out", str(out)]) != 0
    assert "It knows: en, hi, mr." in capsys.readouterr().err
    assert not out.exists()
    assert main(["speak", "hello", "--language", "en", "--out", str(tmp_path / "no" / "x.wav")]) != 0
    assert "cannot be written" in capsys.readouterr().err


def test_a_version_that_is_not_there_is_refused_and_leaves_no_empty_database(tmp_path, capsys):
    out = ["--language", "en", "--out", str(tmp_path / "x.wav")]
    assert main(["speak", "hello", "--model", "absent", *out]) != 0
    assert "[unknown-model-version]" in capsys.readouterr().err
    assert not (tmp_path / "data" / "kaan.db").exists()
    assert main(["speak", "hello", *out]) == 0
    assert main(["speak", "hello"]) != 0
    assert "[speech-nowhere]" in capsys.readouterr().err


def test_the_champion_of_the_voice_speaks_and_what_is_kept_is_spoken_once(tmp_path, capsys):
    (tmp_path / "data").mkdir(mode=0o700)
    db.upgrade(load().database)
    folder = tmp_path / "other"
    folder.mkdir()
    for file in kinds.BUNDLED[kinds.TTS].iterdir():
        if file.suffix == ".onnx":
            (folder / file.name).write_bytes(file.read_bytes())
    bundled = manifest.read(kinds.BUNDLED[kinds.TTS])
    manifest.write(
        folder, name="other", languages=bundled.languages, window=None, kind="tts", needs=bundled.needs,
        trained_on="a test", sample_rate_hz=bundled.sample_rate_hz,
    )  # fmt: skip
    context = open_context(load())
    other = registry.register(context, str(folder))
    words = ["speak", "hello", "--language", "en", "--keep", "--json"]
    assert main(words) == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["spoken"], first["model_version"]) == (True, bundled.model_version)
    registry.move_alias(context, other, expected_revision=1, who="a test", why="it is better")
    assert main(words) == 0
    second = json.loads(capsys.readouterr().out)
    assert (second["spoken"], second["model_version"], second["prompt"]) == (True, other.version, first["prompt"])
    assert main([*words, "--out", str(tmp_path / "x.wav")]) == 0
    third = json.loads(capsys.readouterr().out)
    assert third["spoken"] is False
    assert Path(third["path"]).read_bytes() == (context.store.root / third["rendering"]).read_bytes()
    assert main([*words, "--model", bundled.model_version]) == 0
    assert json.loads(capsys.readouterr().out)["spoken"] is False
    context.db.dispose()
