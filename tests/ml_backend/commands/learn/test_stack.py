"""Which demo `learn` uses, and what it says where it cannot begin."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from ml_backend.commands.demo import ports
from ml_backend.commands.learn import command, ending, new_calls, stack
from ml_backend.commands.learn.stack import Stack
from ml_backend.errors import ConfigurationError


def ready(folder, *, pid, port):
    (folder / "run").mkdir(parents=True)
    facts = {"pid": pid, "url": f"http://127.0.0.1:{port}", "label_studio_url": "x", "env_file": str(folder / "e")}
    (folder / "run" / "ready.json").write_text(json.dumps(facts))


def test_a_folder_in_which_no_demo_runs_has_none(tmp_path):
    assert stack.running(tmp_path) is None
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    ready(tmp_path / "killed", pid=gone.pid, port=ports.free())
    assert stack.running(tmp_path / "killed") is None
    ready(tmp_path / "mute", pid=os.getpid(), port=ports.free())
    assert stack.running(tmp_path / "mute") is None


def test_a_demo_that_cannot_start_is_an_error_with_its_own_words(tmp_path):
    (tmp_path / "kaan.db").write_text("somebody's")  # the demo refuses a folder that it did not make
    here, said = Stack(tmp_path), []
    stack.start(tmp_path, here, port=0, label_studio_port=0)
    with pytest.raises(ConfigurationError) as refused:
        stack.wait(here, said.append)
    assert refused.value.code == "demo-failed"
    assert any("not-a-demo" in line for line in said)
    here.stop()


def test_without_the_training_packages_nothing_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    done = CliRunner().invoke(command.app, ["--data-dir", str(tmp_path / "d")])
    assert isinstance(done.exception, ConfigurationError)
    assert done.exception.code == "no-training-set"
    assert not (tmp_path / "d").exists()


def test_the_calls_lie_where_no_synthetic_voice_is_and_in_the_layout_of_calls():
    from ml_backend.settings import Settings
    from sync.recordings import layouts

    settings = Settings(_env_file=None)
    for call in new_calls.read():
        name = layouts.read(settings.recordings_bucket, call.key, settings)
        assert call.path.is_file()
        assert (name.call_sid, name.synthetic, name.problem) == (call.row["call_sid"], False, None)


def test_a_sentence_is_what_was_heard_while_it_was_said():
    words = [
        {"start_s": at, "end_s": at + 0.4, "text": text} for at, text in ((0.5, " one"), (1.0, "two "), (2.2, "three"))
    ]
    transcript = {"segments": [{"words": words[:2]}, {"words": words[2:]}]}
    assert ending.within(transcript, {"start_s": 0.5, "end_s": 1.5}) == "one two"
    assert ending.within(transcript, {"start_s": 2.0, "end_s": 2.8}) == "three"
    assert ending.within(transcript, {"start_s": 4.0, "end_s": 5.0}) == ""
