"""Pairs in a bucket -> voice clips, as they appear; each fault is named and costs no other clip anything."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.errors import ConfigurationError
from ml_backend.jobs import schedules
from ml_backend.settings import Settings, load
from ml_backend.views import voice_views
from tests import sounds
from tests.training.voices.conftest import Voices
from training.voices import clip_collection

ORDER, MILK = "hello this is a call", "i want to order milk"


def pair(voices: Voices, name: str, said: str, text: str | None) -> None:
    voices.put(f"training-data/tts/en/{name}.wav", voices.wav(said))
    if text is not None:
        voices.put(f"training-data/tts/en/{name}.txt", text)


def test_pairs_become_clips_once_and_new_ones_as_they_appear(voices: Voices) -> None:
    pair(voices, "aa", ORDER, "Hello, this is a call.")
    assert voices.find() == {"accepted": 1}
    assert voices.find() == {}

    pair(voices, "bb", MILK, "I want to order milk")
    assert voices.find() == {"accepted": 1}
    first, second = voices.clips()
    assert (first.text, first.language, first.state, first.rate_hz) == (
        "Hello, this is a call.",
        "en",
        "accepted",
        16_000,
    )
    assert first.checks["chars_per_s"] > 5
    assert len(second.sha256) == 64
    assert second.accepted_at


def test_what_is_wrong_with_a_pair_is_named_and_costs_the_others_nothing(voices: Voices) -> None:
    pair(voices, "good", ORDER, "hello this is a call")
    pair(voices, "without", MILK, None)
    pair(voices, "hindi", "thank you", "धन्यवाद")
    voices.put(
        "training-data/tts/en/silent.wav", sounds.write_wav(voices.folder / "s.wav", sounds.silence(2)).read_bytes()
    )
    voices.put("training-data/tts/en/silent.txt", "nothing is said here")
    voices.put("training-data/tts/en/broken.wav", b"RIFF no audio at all")
    voices.put("training-data/tts/en/broken.txt", "it cannot be read")
    voices.find()
    found = {clip.key.rpartition("/")[2]: clip.reason_code for clip in voices.clips()}
    assert found == {
        "good.wav": None, "without.wav": "no-text", "hindi.wav": "script", "silent.wav": "silent",
        "broken.wav": "audio-refused",
    }  # fmt: skip
    told = voice_views.summary(voices.context.db)
    assert told["clips"] == {"found": 0, "accepted": 1, "excluded": 4}
    assert {one["code"] for one in told["excluded"]} == {"no-text", "script", "silent", "audio-refused"}


def test_a_text_that_comes_later_makes_the_clip_usable(voices: Voices) -> None:
    pair(voices, "late", ORDER, None)
    voices.find()
    assert voices.clip("tts/en/late.wav").reason_code == "no-text"
    voices.put("training-data/tts/en/late.txt", "hello this is a call")
    assert voices.find() == {"accepted": 1}


def test_the_same_audio_with_two_texts_is_used_with_neither(voices: Voices) -> None:
    pair(voices, "one", ORDER, "hello this is a call")
    voices.find()
    pair(voices, "two", ORDER, "hello this is a bill")
    voices.find()
    assert [clip.reason_code for clip in voices.clips()] == ["two-texts", "two-texts"]


def test_two_different_text_files_beside_one_audio_are_two_texts(voices: Voices) -> None:
    pair(voices, "one", ORDER, "hello this is a call")
    voices.put("training-data/tts/en/one.TXT", "hello this is a bill")
    voices.find()
    assert voices.clip("tts/en/one.wav").reason_code == "two-texts"


def test_a_sentence_counts_once_for_each_voice(voices: Voices) -> None:
    rules = "training-data/tts/en/asha-=voice:asha, training-data/tts/en/ravi-=voice:ravi"
    changed = voices.context.settings.model_copy(update={"tts_voice_rules": rules})
    voices.context = voices.context.__class__(changed, voices.context.db, voices.context.store)
    pair(voices, "asha-1", ORDER, "hello this is a call")
    pair(voices, "asha-2", "hello where is my order", "Hello, this is a call!")
    pair(voices, "ravi-1", MILK, "hello this is a call")
    voices.find()
    found = [(clip.key[7:], clip.voice, clip.reason_code) for clip in voices.clips()]
    assert found == [
        ("asha-1.wav", "asha", None),
        ("asha-2.wav", "asha", "duplicate-text"),
        ("ravi-1.wav", "ravi", None),
    ]


def test_deleted_and_erased_audio_is_learnt_from_no_more(voices: Voices) -> None:
    pair(voices, "gone", ORDER, "hello this is a call")
    pair(voices, "erased", MILK, "i want to order milk")
    voices.find()
    voices.context.store.delete("training-data", "tts/en/gone.wav")
    row = tables.recordings
    with voices.context.db.transaction() as connection:
        mine = sa.update(row).where(row.c.object_key == "tts/en/erased.wav")
        connection.execute(mine.values(state="erased", known_text=None, updated_at=tables.now()))
    voices.find()
    assert {clip.reason_code for clip in voices.clips()} == {"audio-missing", "no-text"}
    assert voices.clip("tts/en/erased.wav").text is None


def test_the_job_reads_only_what_changed_since_the_last_pass(voices: Voices) -> None:
    pair(voices, "aa", ORDER, "hello this is a call")
    voices.find()
    with voices.context.db.reading() as connection:
        assert schedules.voices_changed(connection) == [{"everything": 0}]
    from ml_backend.context import JobContext

    context = JobContext(voices.context.settings, voices.context.db, voices.context.store)
    clip_collection.collect_voices(context)
    long_ago = tables.now().replace(year=2020)
    with voices.context.db.transaction() as connection:
        connection.execute(sa.update(tables.recordings).values(updated_at=long_ago, known_text="changed by hand"))
    with voices.context.db.reading() as connection:
        assert schedules.voices_changed(connection) == []
    clip_collection.collect_voices(context)
    assert voices.clips()[0].text == "hello this is a call"
    clip_collection.collect_voices(context, everything=1)
    assert voices.clips()[0].text == "changed by hand"


def test_the_longest_rule_says_each_fact() -> None:
    rules = [
        ("training-data/tts/", {"engine": "parler", "voice": "divya"}),
        ("training-data/tts/mr/", {"voice": "sunita"}),
        ("training-data/*happy", {"emotion": "happy"}),
    ]
    found = clip_collection.ruled("training-data/tts/mr/x-happy-1.wav", rules)
    assert found == {"engine": "parler", "voice": "sunita", "emotion": "happy"}
    assert clip_collection.ruled("voice-audio/ivr/hi/1.wav", rules) == {}


@pytest.mark.parametrize("rule", ["voice-audio/", "x=voice:a", "a/b=colour:red", "a/b=voice:", "a/b="])
def test_a_rule_that_means_nothing_is_refused_at_start(rule: str) -> None:
    with pytest.raises(ConfigurationError, match="TTS_VOICE_RULES: entry 1"):
        load(_env_file=None, tts_voice_rules=rule)
    assert Settings(_env_file=None, tts_voice_rules="a/b=voice:x engine:parler").tts_voice_rules
