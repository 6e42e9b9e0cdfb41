"""The bundled voice speaks in the serving set; what it cannot say is refused before a sample is made."""

import io
import shutil
import subprocess
import sys
import wave

import numpy as np
import pytest

from ml_backend.errors import InvalidInput, PermanentError
from ml_backend.models import manifest
from ml_backend.tts import voice_needs
from ml_backend.tts.speaking import BUNDLED, LONGEST_TEXT, Speaker

HINDI = "आपका order भेज दिया है।"


@pytest.fixture(scope="module")
def speaker():
    return Speaker.load(BUNDLED)


@pytest.mark.parametrize(
    ("text", "language"), [(HINDI, "hi"), ("तुमचं सामान उद्या येईल।", "mr"), ("Your order is ready.", "en")]
)
def test_a_sentence_becomes_speech_of_a_sensible_length_the_same_every_time(speaker, text, language):
    one, other = (speaker.speak(text, language=language) for _ in range(2))
    assert np.array_equal(one.samples, other.samples)
    assert 0.8 < one.duration_s < 4
    assert np.abs(one.samples).max() <= 1
    assert 0.01 < np.sqrt((one.samples**2).mean()) < 0.3
    assert (one.language, one.voice, one.emotion, one.rate_hz) == (language, "kaan", "neutral", 16000)
    assert one.model_version == manifest.read(BUNDLED).model_version


def test_speech_is_a_wav_file_of_sixteen_bits(speaker):
    speech = speaker.speak(HINDI, language="hi")
    with wave.open(io.BytesIO(speech.to_wav())) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        assert file.getnframes() == len(speech.samples)


def test_a_long_text_is_spoken_sentence_by_sentence_and_the_first_does_not_wait(speaker):
    text = " ".join(["Your order is ready."] * 12)
    parts = speaker.stream(text, language="en")
    first = next(parts)
    assert 0.5 < len(first) / 16000 < 4
    assert len(list(parts)) == 11
    whole = speaker.speak(text, language="en")
    assert np.array_equal(whole.samples[: len(first)], first)


def test_a_quicker_tempo_is_shorter(speaker):
    usual, quick = (speaker.speak(HINDI, language="hi", tempo=tempo).duration_s for tempo in (1.0, 1.5))
    assert quick == pytest.approx(usual / 1.5, rel=0.1)


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        ({"text": ""}, "speech-text-empty", "nothing to say"),
        ({"text": "  ?!। 🙂"}, "speech-text-empty", "nothing to say"),
        ({"text": "न" * (LONGEST_TEXT + 1)}, "speech-text-too-long", str(LONGEST_TEXT + 1)),
        ({"text": "OTP 4711"}, "speech-letters-unknown", "1 4 7"),
        ({"text": "お元気ですか"}, "speech-letters-unknown", "お"),
        ({"language": "ta"}, "speech-language-unknown", "'ta'"),
        ({"voice": "asha"}, "speech-voice-unknown", "'asha'"),
        ({"emotion": "happy"}, "speech-emotion-unknown", "'happy'"),
        ({"tempo": 9.0}, "speech-tempo", "9"),
    ],
)
def test_what_cannot_be_said_is_refused_with_what_can(speaker, asked, code, said):
    request = {"text": HINDI, "language": "hi", **asked}
    with pytest.raises(InvalidInput) as refused:
        next(speaker.stream(request.pop("text"), **request))
    assert refused.value.code == code
    assert said in refused.value.sentence
    assert refused.value.next_step


def test_the_refusal_of_an_unknown_name_lists_the_known_ones(speaker):
    with pytest.raises(InvalidInput) as refused:
        speaker.speak(HINDI, language="xx" * 500)
    assert "en, hi, mr" in refused.value.next_step
    assert len(refused.value.sentence) < 160
    with pytest.raises(InvalidInput) as refused:
        speaker.speak("1", language="en")
    assert "words" in refused.value.next_step


def copied(folder, **needs):
    shutil.copytree(BUNDLED, folder)
    described = manifest.read(BUNDLED)
    (folder / manifest.FILE).unlink()
    manifest.write(
        folder, name="spoilt", languages=described.languages, window=None, kind=needs.pop("kind", "tts"),
        needs={**described.needs, **needs}, trained_on="a test",
    )  # fmt: skip
    return folder


@pytest.mark.parametrize(
    "needs",
    [
        {"voices": []},
        {"voices": [7]},
        {"alphabet": "abc"},
        {"vocoder": "hifigan"},
        {"mel": {"hop": 0}},
        {"mel": {"x": 1}},
    ],
)
def test_a_manifest_that_does_not_describe_a_voice_is_refused(tmp_path, needs):
    with pytest.raises(PermanentError) as refused:
        Speaker.load(copied(tmp_path / "voice", **needs))
    assert refused.value.code == "speech-manifest"


def test_a_damaged_file_is_refused_before_it_is_loaded(tmp_path):
    folder = copied(tmp_path / "voice")
    with (folder / "text.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(PermanentError) as refused:
        Speaker.load(folder)
    assert refused.value.code == "model-file-changed"


def test_what_is_not_a_network_is_refused_with_its_name(tmp_path):
    shutil.copytree(BUNDLED, tmp_path / "voice")
    (tmp_path / "voice" / "text.onnx").write_bytes(b"hello")
    described = manifest.read(BUNDLED)
    (tmp_path / "voice" / manifest.FILE).unlink()
    manifest.write(
        tmp_path / "voice", name="x", languages=("hi",), window=None, kind="tts", needs=described.needs, trained_on="t"
    )
    with pytest.raises(PermanentError) as refused:
        Speaker.load(tmp_path / "voice")
    assert refused.value.code == "speech-model-broken"
    assert "text.onnx" in refused.value.sentence


def test_a_model_of_another_kind_is_not_a_voice(tmp_path):
    with pytest.raises(PermanentError) as refused:
        Speaker.load(copied(tmp_path / "voice", kind="nlu"))
    assert refused.value.code == "wrong-kind"


def test_the_needs_of_a_manifest_survive_their_json(speaker):
    assert voice_needs.of_manifest(speaker.needs.to_json(), folder="x") == speaker.needs


def test_speaking_loads_no_training_library():
    code = (
        "import sys; from ml_backend.tts.speaking import *; Speaker.load(BUNDLED).speak('hello', language='en');"
        "print([name for name in ('torch', 'transformers', 'scipy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
