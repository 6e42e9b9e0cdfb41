"""`parse`: a line for people, JSON for programs, and a sentence for what is not a text."""

import io
import json

import pytest

from ml_backend.commands import command_line


def test_a_text_becomes_an_intent_and_its_entities(capsys):
    assert command_line.main(["parse", "where is my order KA4432"]) == 0
    assert capsys.readouterr().out.startswith("order_status ")


def test_json_has_the_offsets_the_version_and_one_line_per_text(tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("मुझे साड़ी वापस करना है\n\n", encoding="utf-8")
    assert command_line.main(["parse", "cancel order 5512", "--file", str(tmp_path / "texts.txt"), "--json"]) == 0
    first, second, empty = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert first["entities"][0] | {"confidence": 1} == {
        "entity": "order", "start": 13, "end": 17, "value": "5512", "confidence": 1,
    }  # fmt: skip
    assert (second["intent"], second["text"]) == ("return_item", "मुझे साड़ी वापस करना है")
    assert (empty["intent"], empty["entities"]) == ("none_of_these", [])
    assert first["model_version"].startswith("kaan-intents-")


def test_a_pipe_is_read_line_by_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("yes please\n"))
    assert command_line.main(["parse", "--file", "-"]) == 0
    assert "confirm_yes" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--file", "absent.txt"], ["x", "--model", "absent"]])
def test_what_cannot_be_parsed_is_refused_with_a_next_step(words, capsys):
    assert command_line.main(["parse", *words]) != 0
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.strip()
