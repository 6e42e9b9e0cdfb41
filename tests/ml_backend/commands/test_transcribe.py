"""`transcribe`: text for people, JSON for programs, a reason for every file that could not be."""

import json
import os
import select
import subprocess
import sys

import numpy as np
import pytest

from ml_backend.asr import long_audio
from ml_backend.commands import command_line
from tests import models, sounds
from tests.policy.source import ROOT


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return models.make(tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASR_MODEL", str(model))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return tmp_path


def wav(path, samples):
    sounds.write_wav(path, samples)
    return path.name


def test_a_file_becomes_text_and_no_database_is_touched(folder, capsys):
    name = wav(folder / "call.wav", sounds.speech("hello this is a call"))
    assert command_line.main(["transcribe", name]) == 0
    assert capsys.readouterr().out.strip()
    assert not (folder / "data").exists()


def test_json_gives_one_object_per_file_in_the_order_asked(folder, capsys):
    spoken = wav(folder / "call.wav", sounds.speech("hello this is a call"))
    silent = wav(folder / "quiet.wav", sounds.silence(3))
    assert command_line.main(["transcribe", "--json", silent, spoken]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    keys = {"path", "state", "reason", "language", "text", "confidence", "model_version", "segments"}
    assert set(first) == set(second) == keys
    assert (first["path"], first["state"], first["text"]) == (silent, "no-speech", "")
    assert (second["path"], second["state"]) == (spoken, "transcribed")
    assert second["text"] == " ".join(segment["text"].strip() for segment in second["segments"])
    assert 0 <= second["confidence"] <= 1


def test_each_files_object_is_there_before_the_next_file_is_read(folder):
    spoken = wav(folder / "call.wav", sounds.speech("hello this is a call"))
    os.mkfifo(folder / "later.wav")  # opening it waits until somebody writes, which is after the first line
    command = [sys.executable, "-m", "ml_backend", "transcribe", "--json", spoken, "later.wav"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as running:
        try:
            assert running.stdout is not None
            assert select.select([running.stdout], [], [], 120)[0], "nothing is printed while the last file is awaited"
            first = json.loads(running.stdout.readline())
            assert (first["path"], first["state"]) == (spoken, "transcribed")
            (folder / "later.wav").write_bytes(b"")
            (second,) = (json.loads(line) for line in running.stdout)
            assert (second["path"], second["state"]) == ("later.wav", "refused")
        finally:
            running.kill()


def test_one_bad_file_has_its_reason_fails_the_command_and_spoils_no_other(folder, capsys):
    spoken = wav(folder / "call.wav", sounds.speech("hello this is a call"))
    (folder / "letter.wav").write_text("Dear Sir, this is no audio.")
    assert command_line.main(["transcribe", "--json", "letter.wav", spoken, "nowhere.wav"]) == 1
    letter, call, nowhere = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert call["state"] == "transcribed"
    for refused in (letter, nowhere):
        assert refused["state"] == "refused"
        assert refused["reason"]
        assert refused["text"] is None


def test_a_recording_that_was_cut_is_not_a_silent_success(folder, capsys):
    whole = folder / "whole.wav"
    wav(whole, sounds.speech("hello this is a call that goes on for a while and then the line is gone"))
    (folder / "cut.wav").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert command_line.main(["transcribe", "--json", "cut.wav"]) == 0
    heard = json.loads(capsys.readouterr().out)
    assert heard["state"] == "cut"
    assert heard["reason"].startswith("audio cut at")


def test_a_model_that_is_not_there_is_said_in_one_sentence(folder, monkeypatch, capsys):
    monkeypatch.setenv("ASR_MODEL", str(folder / "no-model"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    name = wav(folder / "call.wav", sounds.silence(1))
    assert command_line.main(["transcribe", name]) == 2
    complaint = capsys.readouterr().err
    assert "error:" in complaint
    assert "Traceback" not in complaint


def test_a_long_file_is_heard_in_spans_and_its_text_is_in_order(folder, capsys, monkeypatch):
    phrase = sounds.speech("hello this is a call")
    name = wav(folder / "long.wav", np.concatenate([phrase, sounds.silence(1)] * 8))
    short = wav(folder / "short.wav", phrase)
    monkeypatch.setattr(long_audio, "AT_ONCE_S", 8.0)
    assert command_line.main(["transcribe", "--json", "--language", "en", name, short]) == 0
    long, _ = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    starts = [segment["start_s"] for segment in long["segments"]]
    assert starts == sorted(starts)
    assert starts[-1] > 16
