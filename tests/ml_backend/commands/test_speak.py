"""`speak` writes a WAV file, or says in a sentence why not."""

import json
import wave

from ml_backend.__main__ import main


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
