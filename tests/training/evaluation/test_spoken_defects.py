"""A voice broken in a way that people would hear, spoken by the bundled voice and judged by the bundled recogniser:
each defect gets its objection, the sound voice none. (An aligner that was not adapted: `test_voice_improvement`.)"""

from dataclasses import replace

import numpy as np
import pytest

from ml_backend.context import Context
from ml_backend.errors import PermanentError
from ml_backend.models import kinds
from ml_backend.serving import default_model
from ml_backend.tts.speaking import Speaker
from tests.training import spoken
from training.evaluation import speech_gate, speech_recognisers, speech_scoring
from training.evaluation.speech_gate import SpeechRules
from training.evaluation.speech_recognisers import SpeechRecognisers
from training.scoring import speech_scores

TEXTS = [
    "i want to return the mirror", "is the blanket ready", "where is my saree", "is the printer ready",
    "i want to return the saree", "the mirror is broken",
]  # fmt: skip
HINDI = "मेरा ऑर्डर कब आएगा"
MIXED = "मेरा order कब आएगा"


@pytest.fixture(scope="module")
def speaker():
    return Speaker.load(kinds.BUNDLED[kinds.TTS])


@pytest.fixture
def context(tmp_path):
    opened = spoken.opened(tmp_path / "data")
    default_model.ensure(opened)
    yield opened
    opened.db.dispose()


def with_second(context: Context, named: str) -> Context:
    return replace(context, settings=context.settings.model_copy(update={"tts_second_recogniser": named}))


def english(speaker, text):
    return speaker.speak(text, language="en").samples


def noise(speaker, text):
    return np.random.default_rng(0).normal(0, 0.1, len(english(speaker, text))).astype(np.float32)


def silence(speaker, text):
    return np.zeros_like(english(speaker, text))


def shuffled(speaker, text):
    return english(speaker, " ".join(np.random.default_rng(3).permutation(text.split())))


def another_language(speaker, text):
    return speaker.speak(HINDI, language="hi").samples


DEFECTS = {
    english: set(), noise: {"noisy", "not-understood"}, silence: {"too-quiet", "silent", "not-understood"},
    shuffled: {"not-understood"}, another_language: {"wrong-language", "not-understood"},
}  # fmt: skip


def test_each_defect_of_a_spoken_voice_gets_its_objection_and_the_sound_voice_none(context, speaker):
    recognisers = SpeechRecognisers(context, ["en"])
    for spoil, expected in DEFECTS.items():
        rows = [
            speech_scoring.judged(
                recognisers, {"id": text, "text": text, "language": "en", "voice": "v", "emotion": None},
                spoil(speaker, text), english(speaker, text),
            )
            for text in TEXTS
        ]  # fmt: skip
        found = speech_gate.judge(rows, rules=SpeechRules(least_sentences=len(TEXTS)))
        codes = {one.code for one in found.objections}
        assert expected <= codes, (spoil.__name__, codes, [row.transcript for row in rows])
        assert bool(codes) == bool(expected), (spoil.__name__, codes)


def test_where_two_languages_mix_a_second_recogniser_is_asked_and_both_are_named(context, speaker, tmp_path):
    second = tmp_path / "other-whisper"
    second.symlink_to(kinds.BUNDLED[kinds.ASR])
    context = with_second(context, str(second))
    recognisers = SpeechRecognisers(context, ["hi"])
    wave = speaker.speak(HINDI, language="hi").samples
    alone, both = (
        speech_scoring.judged(recognisers, {"id": text, "text": text, "language": "hi", "voice": "v", "emotion": None},
                              wave, wave)
        for text in (HINDI, MIXED)
    )  # fmt: skip
    assert alone.second_edits is None
    assert both.second_edits == both.first_edits == both.edits
    scores = {**speech_scores.summary([alone, both]), "recognisers": recognisers.names}
    assert scores["second"] == {"sentences": 1, "lower": 0, "same": 1}
    assert "other-whisper" in speech_scoring.second_sentence(scores)
    assert len(recognisers.names) == 2
    assert speech_scoring.conditions(context)["second"] == "other-whisper"


def test_without_the_setting_one_recogniser_judges_and_older_scores_stay_comparable(context):
    assert set(speech_scoring.conditions(context)) == {"recogniser"}


def test_a_second_recogniser_that_is_neither_a_folder_nor_a_version_is_refused_with_the_known_ones(context):
    with pytest.raises(PermanentError) as refused:
        speech_recognisers.second_of(with_second(context, "no-such-model"))
    assert refused.value.code
    default_model.ensure(context, kinds.NLU)
    with pytest.raises(PermanentError) as refused:
        speech_recognisers.second_of(with_second(context, "nlu:champion"))
    assert refused.value.code == "wrong-kind"
