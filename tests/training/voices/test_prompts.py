"""The IVR's prompts by another version: spoken once, switched at once, and back byte for byte."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import time
import wave
from typing import Any

import numpy as np
import pytest

from ml_backend.commands import command_line
from ml_backend.context import JobContext
from ml_backend.errors import KaanError, PermanentError
from ml_backend.models import kinds
from ml_backend.tts import prompts
from ml_backend.tts.speaking import Speaker
from tests.training.voices.conftest import Voices
from training.voices import prompt_renders, prompt_switch, voice_dataset
from training.voices.prompt_renders import PromptScope

LIVE, OTHER = "voice-audio/ivr/en/4f2a.wav", "voice-audio/ivr/hi/90bc.wav"


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return Speaker.load(kinds.BUNDLED[kinds.TTS])


@pytest.fixture
def ivr(voices: Voices) -> Voices:
    """Two prompts: one with its text beside it, one whose text the IVR saved under the same name elsewhere."""
    voices.put(LIVE, voices.wav("hello this is a call"))
    voices.put(LIVE.replace(".wav", ".txt"), "hello this is a call")
    voices.put(OTHER, voices.wav("i want to order milk"))
    voices.put("training-data/tts/hi/90bc.wav", voices.wav("hello where is my order"))
    voices.put("training-data/tts/hi/90bc.txt", "आपका ऑर्डर भेज दिया है")
    voices.find()
    return voices


def sounds_of(voices: Voices) -> dict[str, bytes]:
    root = voices.context.store.root  # type: ignore[attr-defined]
    return {place: (root / place).read_bytes() for place in (LIVE, OTHER)}


def test_a_text_is_spoken_once_per_version_and_the_ivr_gets_it_under_its_name(voices: Voices, speaker: Speaker) -> None:
    asked = prompts.saying(speaker, "hello", "en")
    assert asked.name == prompts.name_of("hello", asked.voice, "en", emotion=asked.emotion)
    assert len({asked.name, prompts.name_of("hello", asked.voice, "hi", emotion=asked.emotion)}) == 2
    key, new = prompts.spoken(voices.context, speaker, asked)
    assert (key, new) == (f"ivr-versions/{speaker.model_version}/en/{asked.name}.wav", True)

    class Silent(Speaker):
        def speak(self, *asked: Any, **options: Any) -> Any:
            raise AssertionError("it was spoken again")

    silent = Silent(speaker._text, speaker._decoder, speaker.needs, speaker.model_version)
    assert prompts.spoken(voices.context, silent, asked) == (key, False)
    live = prompts.offer(voices.context, asked, key)
    assert live == f"ivr/en/{asked.name}.wav"
    root = voices.context.store.root  # type: ignore[attr-defined]
    data = (root / "voice-audio" / live).read_bytes()
    assert data == (root / "voice-audio" / key).read_bytes()
    with wave.open(io.BytesIO(data)) as file:
        assert np.abs(np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")).max() > 1000
    assert [one.text for one in prompt_renders.listed(voices.context).known] == ["hello"]


def test_prompts_are_known_by_the_text_beside_them_or_under_the_same_name(ivr: Voices) -> None:
    ivr.put("voice-audio/ivr/hi/nobody-knows.wav", ivr.wav("thank you"))
    found = prompt_renders.listed(ivr.context)
    assert {(f"voice-audio/{one.key}", one.text) for one in found.known} == {
        (LIVE, "hello this is a call"), (OTHER, "आपका ऑर्डर भेज दिया है"),
    }  # fmt: skip
    assert found.textless == ("ivr/hi/nobody-knows.wav",)


def test_what_was_rendered_serves_after_the_switch_and_the_rollback_is_byte_for_byte(
    ivr: Voices, speaker: Speaker
) -> None:
    before = sounds_of(ivr)
    with pytest.raises(PermanentError) as refused:
        prompt_switch.switch(ivr.context, speaker)
    assert refused.value.code == "prompts-not-ready"
    assert sounds_of(ivr) == before

    done = prompt_renders.render(ivr.context, speaker)
    assert (done.new, done.before, done.failed) == (2, 0, ())
    assert prompt_renders.render(ivr.context, speaker).before == 2
    assert {one.state for one in prompt_renders.compare(ivr.context, speaker)} == {"ready"}

    assert prompt_switch.switch(ivr.context, speaker).changed == 2
    after = sounds_of(ivr)
    assert all(after[place] != before[place] for place in before)
    ivr.find()
    listed = prompt_renders.listed(ivr.context)
    assert [one.model_version for one in listed.known] == [speaker.model_version] * 2
    assert listed.textless == ()
    assert prompt_switch.switch(ivr.context, speaker).changed == 0

    assert prompt_switch.rollback(ivr.context).changed == 2
    assert sounds_of(ivr) == before
    ivr.find()
    assert [one.model_version for one in prompt_renders.listed(ivr.context).known] == [None, None]
    with pytest.raises(PermanentError, match="no switch of prompts"):
        prompt_switch.rollback(ivr.context)


def test_renderings_are_rated_by_version_and_never_learnt_from(ivr: Voices, speaker: Speaker) -> None:
    prompt_renders.render(ivr.context, speaker)
    ivr.find()
    mine = [clip for clip in ivr.clips() if clip.engine == prompts.ENGINE]
    assert {clip.model_version for clip in mine} == {speaker.model_version}
    assert all(clip.recording_id and clip.state == "accepted" for clip in mine)
    from training.datasets.filters import DatasetFilters

    with ivr.context.db.reading() as connection:
        lines = list(voice_dataset.lines(connection, DatasetFilters()))
    assert sum(line.reason == "own-voice" for line in lines) == len(mine) == 2


@pytest.mark.parametrize("stop_at", range(1, 9))
@pytest.mark.parametrize("ends", ["switch", "rollback"])
def test_a_switch_stopped_anywhere_is_finished_or_undone_and_nothing_is_lost(
    ivr: Voices, speaker: Speaker, monkeypatch: pytest.MonkeyPatch, stop_at: int, ends: str
) -> None:
    prompt_renders.render(ivr.context, speaker)
    before, store = sounds_of(ivr), type(ivr.context.store)
    steps = {"count": 0}

    def stopping(real: Any) -> Any:
        def step(*given: Any, **options: Any) -> Any:
            steps["count"] += 1
            if steps["count"] == stop_at:
                raise KeyboardInterrupt
            return real(*given, **options)

        return step

    with monkeypatch.context() as patch:
        for name in ("put_file", "put_bytes", "replace_file"):
            patch.setattr(store, name, stopping(getattr(store, name)))
        patch.setattr(prompt_switch, "_note", stopping(prompt_switch._note))
        with pytest.raises(KeyboardInterrupt):
            prompt_switch.switch(ivr.context, speaker)
    if ends == "switch":
        prompt_switch.switch(ivr.context, speaker)
        assert all(sounds_of(ivr)[place] != sound for place, sound in before.items())
    if prompt_switch.current(ivr.context) is not None:
        prompt_switch.rollback(ivr.context)
    assert sounds_of(ivr) == before


def test_an_unfinished_switch_is_not_begun_anew_for_another_version(
    ivr: Voices, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt_renders.render(ivr.context, speaker)
    with monkeypatch.context() as patch:
        patch.setattr(prompt_switch, "_apply", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            prompt_switch.switch(ivr.context, speaker)
    other = Speaker(speaker._text, speaker._decoder, speaker.needs, "another-version")
    with pytest.raises(KaanError) as refused:
        prompt_switch.switch(ivr.context, other)
    assert refused.value.code == "prompts-unfinished"


def aged(voices: Voices, days: int) -> None:
    """Everything that is kept of switches was written so many days ago."""
    root = voices.context.store.root / voices.context.settings.audio_bucket / "prompts"  # type: ignore[attr-defined]
    then = time.time() - days * 86_400
    for path in root.rglob("*.*"):
        os.utime(path, (then, then))


def expire(voices: Voices) -> set[str]:
    """Runs the job; what is kept afterwards."""
    context = voices.context
    prompt_switch.expire_prompts(JobContext(context.settings, context.db, context.store))
    return {found.key for found in context.store.list(context.settings.audio_bucket, prefix="prompts/")}


def test_old_sounds_go_after_a_year_but_the_last_switch_can_always_be_undone(ivr: Voices, speaker: Speaker) -> None:
    first = sounds_of(ivr)
    other = Speaker(speaker._text, speaker._decoder, speaker.needs, "another-version")
    prompt_renders.render(ivr.context, speaker)
    prompt_switch.switch(ivr.context, speaker)
    ivr.find()
    second = sounds_of(ivr)
    known = prompt_renders.listed(ivr.context).known
    for asked in [prompt_renders.to_say(other, one) for one in known]:
        speech = speaker.speak(asked.text, language=asked.language, tempo=1.3)
        ivr.put(f"voice-audio/{asked.key(prompts.PromptPlaces.of(ivr.context.settings))}", speech.to_wav())
    prompt_switch.switch(ivr.context, other)
    everything = expire(ivr)
    assert len(everything) == 8, "two plans, and three sounds of each prompt"
    aged(ivr, 366)
    kept = expire(ivr)
    assert kept < everything
    assert len(kept) == 5, "the last plan with its four sounds"
    assert prompt_switch.rollback(ivr.context).changed == 2
    assert sounds_of(ivr) == second != first
    with pytest.raises(PermanentError, match="no switch of prompts"):
        prompt_switch.rollback(ivr.context)


def by_another(ivr: Voices, speaker: Speaker, name: str, tempo: float, *, language: str | None = None) -> Speaker:
    """A version of another name whose prompts are rendered."""
    other = Speaker(speaker._text, speaker._decoder, speaker.needs, name)
    for one in prompt_renders.listed(ivr.context, PromptScope(language)).known:
        asked = prompt_renders.to_say(other, one)
        speech = speaker.speak(asked.text, language=asked.language, tempo=tempo)
        ivr.put(f"voice-audio/{asked.key(prompts.PromptPlaces.of(ivr.context.settings))}", speech.to_wav())
    return other


@pytest.mark.parametrize("as_far_as", ["planned", "switched"])
def test_a_switch_that_begins_while_old_sounds_expire_keeps_what_it_needs(
    ivr: Voices, speaker: Speaker, monkeypatch: pytest.MonkeyPatch, as_far_as: str
) -> None:
    """The first sounds are needed no more, until a person gives them to the IVR again and the next switch begins."""
    first = sounds_of(ivr)
    prompt_switch.switch(ivr.context, by_another(ivr, speaker, "one", 1.1))
    second = by_another(ivr, speaker, "two", 1.2)
    prompt_switch.switch(ivr.context, second)
    for place, sound in first.items():
        ivr.put(place, sound)
    aged(ivr, 400)
    third, store, real = by_another(ivr, speaker, "three", 1.3), type(ivr.context.store), type(ivr.context.store).list

    def listing(self: Any, bucket: str, **options: Any) -> Any:
        found = list(real(self, bucket, **options))
        if options.get("prefix") == f"{prompt_switch.KEPT}/":
            with monkeypatch.context() as within:
                within.setattr(store, "list", real)
                if as_far_as == "planned":
                    within.setattr(prompt_switch, "_move", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt()))
                with contextlib.suppress(KeyboardInterrupt):
                    prompt_switch.switch(ivr.context, third)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(store, "list", listing)
        prompt_switch.expire_prompts(JobContext(ivr.context.settings, ivr.context.db, ivr.context.store))
    kept = {found.key for found in ivr.context.store.list(ivr.context.settings.audio_bucket, prefix="prompts/kept/")}
    digests = [hashlib.sha256(sound).hexdigest() for sound in first.values()]
    assert {f"prompts/kept/{digest}.wav" for digest in digests} <= kept
    if as_far_as == "switched":
        prompt_switch.rollback(ivr.context)
        assert sounds_of(ivr) == first


def test_a_switch_keeps_again_what_went_while_it_was_planned(
    ivr: Voices, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real = sounds_of(ivr), prompt_switch._move
    root = ivr.context.store.root / ivr.context.settings.audio_bucket  # type: ignore[attr-defined]

    def moved(context: Any, seen: Any, then: Any) -> None:
        if then.state == prompt_switch.SWITCHING:
            for path in (root / prompt_switch.KEPT).iterdir():
                path.unlink()
        real(context, seen, then)

    monkeypatch.setattr(prompt_switch, "_move", moved)
    assert prompt_switch.switch(ivr.context, by_another(ivr, speaker, "one", 1.1)).changed == 2
    assert sounds_of(ivr) != before
    assert prompt_switch.rollback(ivr.context).changed == 2
    assert sounds_of(ivr) == before


def test_a_language_that_was_switched_alone_leaves_the_way_back_of_the_others(ivr: Voices, speaker: Speaker) -> None:
    before = sounds_of(ivr)
    prompt_switch.switch(ivr.context, by_another(ivr, speaker, "one", 1.1))
    for name, tempo in (("two", 1.2), ("three", 1.3)):
        other = by_another(ivr, speaker, name, tempo, language="hi")
        assert prompt_switch.switch(ivr.context, other, scope=PromptScope("hi")).changed == 1
    everything = expire(ivr)
    aged(ivr, 400)
    assert expire(ivr) == everything
    for _ in range(3):
        prompt_switch.rollback(ivr.context)
    assert sounds_of(ivr) == before


def test_nothing_expires_while_a_switch_is_unfinished(
    ivr: Voices, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sounds_of(ivr)
    prompt_renders.render(ivr.context, speaker)
    with monkeypatch.context() as patch:
        patch.setattr(prompt_switch, "_apply", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            prompt_switch.switch(ivr.context, speaker)
    aged(ivr, 400)
    expire(ivr)
    prompt_switch.switch(ivr.context, speaker)
    prompt_switch.rollback(ivr.context)
    assert sounds_of(ivr) == before


def test_a_prompt_that_somebody_changed_meanwhile_is_left_and_named(ivr: Voices, speaker: Speaker) -> None:
    prompt_renders.render(ivr.context, speaker)
    prompt_switch.switch(ivr.context, speaker)
    ivr.put(LIVE, b"a new recording by a person")
    done = prompt_switch.rollback(ivr.context)
    assert (done.changed, done.left) == (1, (LIVE.partition("/")[2],))
    assert sounds_of(ivr)[LIVE] == b"a new recording by a person"


def test_what_the_version_cannot_say_is_named_and_keeps_its_sound(ivr: Voices, speaker: Speaker) -> None:
    ivr.put("voice-audio/ivr/ta/1.wav", ivr.wav("thank you"))
    ivr.put("voice-audio/ivr/ta/1.txt", "நன்றி")
    ivr.find()
    done = prompt_renders.render(ivr.context, speaker)
    assert [(key, code) for key, code, _ in done.failed] == [("ivr/ta/1.wav", "speech-letters-unknown")]
    assert done.new == 2
    with pytest.raises(PermanentError) as refused:
        prompt_switch.switch(ivr.context, speaker)
    assert refused.value.code == "prompts-not-ready"
    assert prompt_switch.switch(ivr.context, speaker, force=True).changed == 2


def test_a_rendering_of_another_length_or_without_speech_is_not_ready(ivr: Voices, speaker: Speaker) -> None:
    prompt_renders.render(ivr.context, speaker)
    first, second = prompt_renders.compare(ivr.context, speaker)
    for one, samples in ((first, np.zeros(16_000)), (second, np.sign(np.sin(np.arange(32_000) / 9)))):
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setparams((1, 2, 16_000, 0, "NONE", ""))
            out.writeframes((samples * 32767).astype("<i2").tobytes())
        ivr.put(f"voice-audio/{one.rendering}", file.getvalue())
    states = [one.state for one in prompt_renders.compare(ivr.context, speaker)]
    assert states == ["silent", "clipped"]


def test_the_commands_walk_the_champion_through_all_steps(
    ivr: Voices, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sounds_of(ivr)
    monkeypatch.setenv("DATA_DIR", str(ivr.context.settings.data_dir))
    monkeypatch.setenv("MIN_FREE_DISK_MB", "0")
    for words in ("render", "compare", "switch", "list", "rollback"):
        assert command_line.main(["prompts", words]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "2 spoken, 0 spoken before, 0 failed" in said
    assert "2 ready" in said
    assert sounds_of(ivr) == before
    assert command_line.main(["prompts", "rollback"]) != 0
    assert "[prompts-not-switched]" in capsys.readouterr().err
