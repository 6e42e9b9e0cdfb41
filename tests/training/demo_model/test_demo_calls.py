"""The bundled calls are what their index says."""

import io
import json
import re
import shutil

import pytest
import soundfile

from training.demo_model import demo_calls, demo_script
from training.demo_model.corpus import tidy
from training.runs.bases import CALLS_FOLDER

ROWS = json.loads((CALLS_FOLDER / "calls.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
def test_a_call_is_an_8_khz_recording_of_the_stated_length_and_channels(row):
    about = soundfile.info(CALLS_FOLDER / row["file"])
    assert about.samplerate == 8000
    assert about.channels == row["channels"]
    assert about.frames / about.samplerate == pytest.approx(row["duration_s"], abs=0.3)


@pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
def test_the_text_of_a_call_is_its_phrases_in_order_and_within_the_recording(row):
    assert row["text"] == " ".join(phrase["text"] for phrase in row["phrases"])
    starts = [phrase["start_s"] for phrase in row["phrases"]]
    assert starts == sorted(starts)
    for phrase in row["phrases"]:
        assert 0 <= phrase["start_s"] < phrase["end_s"] <= row["duration_s"]
        assert 0 <= phrase["channel"] < row["channels"]


def test_the_index_is_the_script():
    assert {row["file"] for row in ROWS} == {call.file for call in demo_script.CALLS}
    texts = {call.file: " ".join(tidy(line.text) for line in call.lines) for call in demo_script.CALLS}
    assert {row["file"]: row["text"] for row in ROWS} == texts
    assert {path.name for path in CALLS_FOLDER.iterdir()} == {*texts, "calls.json"}


def test_one_call_is_long_one_has_two_legs_and_two_are_without_speech():
    assert max(row["duration_s"] for row in ROWS) > 60
    two = [row for row in ROWS if row["channels"] == 2]
    assert len(two) == 1
    assert {phrase["channel"] for phrase in two[0]["phrases"]} == {0, 1}
    assert two[0]["agent_channel"] == 1
    assert sum(row["text"] == "" for row in ROWS) == 2


def test_numbers_are_fictitious_and_calls_are_told_apart():
    for row in ROWS:
        assert re.fullmatch(r"0{8}\d{3}", row["from"])
        assert re.fullmatch(r"0{8}\d{3}", row["to"])
    assert len({row["call_sid"] for row in ROWS}) == len({row["from"] for row in ROWS}) == len(ROWS)


def test_all_calls_together_are_small():
    assert sum(path.stat().st_size for path in CALLS_FOLDER.iterdir()) < 6_000_000


def test_rendering_again_gives_the_same_recordings(tmp_path, monkeypatch):
    """On one machine to the byte; against the recordings that ship, which another synthesiser made, about as long."""
    assert shutil.which("espeak-ng"), "espeak-ng renders the calls; apt-get install espeak-ng"
    monkeypatch.setattr(demo_calls, "CALLS", demo_script.CALLS[:1])
    file = demo_script.CALLS[0].file
    for again in ("once", "twice"):
        demo_calls.render(tmp_path / again)
    assert (tmp_path / "once" / file).read_bytes() == (tmp_path / "twice" / file).read_bytes()
    rendered, shipped = (soundfile.info(str(folder / file)) for folder in (tmp_path / "once", CALLS_FOLDER))
    assert rendered.duration == pytest.approx(shipped.duration, rel=0.2)
    assert (rendered.samplerate, rendered.subtype) == (shipped.samplerate, shipped.subtype)


def test_a_mu_law_call_is_really_mu_law():
    row = next(row for row in ROWS if row["encoding"] == "mulaw")
    raw = (CALLS_FOLDER / row["file"]).read_bytes()
    assert soundfile.info(io.BytesIO(raw)).subtype == "ULAW"
