"""The engine on a real CTranslate2 Whisper with random weights: pooling, languages, errors, forks, legs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_backend.asr import engine, guards, timing, window_decoding, windows
from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Transcript
from ml_backend.errors import ConfigurationError, KaanError, PermanentError
from ml_backend.models import manifest
from ml_backend.settings import Settings
from tests import models, sounds

ENGLISH = DecodingProfile(language="en")
ANY = DecodingProfile()
UNPADDED = manifest.WindowPolicy(max_s=8.0, margin_s=0.2, max_padding_s=0.6, split_pause_s=0.3)


def settings(**changes: Any) -> Settings:
    return Settings(_env_file=None, asr_device="cpu", asr_threads=1, **changes)


@pytest.fixture(autouse=True)
def _nothing_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights place words anywhere, so what they pass over means nothing here; tests/real has a real model."""
    monkeypatch.setattr(timing, "untranscribed", lambda told, window: [])


@pytest.fixture(scope="module")
def transcriber() -> Transcriber:
    return Transcriber.load(models.cached(), settings=settings(), temperatures=())


@pytest.fixture(scope="module")
def calls() -> list[windows.Samples]:
    phrases = [
        "Hello, where is my order?",
        "I would like two litres of milk and one loaf of bread, please.",
        "Thank you.",
    ]
    spoken = [sounds.speech(phrase) for phrase in phrases]
    pause = sounds.silence(3)
    made = [[s] for s in spoken] + [
        [spoken[0], pause, spoken[1]],
        [pause, spoken[2], pause, spoken[0], pause, spoken[1]],
    ]
    made += [[spoken[1], sounds.silence(0.5)] * 9]  # more than 30 s
    return [np.concatenate(parts)[None] for parts in made]


class Counting:
    """Stands in front of the real encoder and counts the windows that pass."""

    def __init__(self, transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch) -> None:
        self.windows, self.batches = 0, []
        decoder = transcriber._pool.decoder
        real = decoder.encode

        def encode(features: Sequence[Any]) -> Any:
            self.windows += len(features)
            self.batches.append(len(features))
            return real(features)

        monkeypatch.setattr(decoder, "encode", encode)


def said(answers: Sequence[Transcript | KaanError]) -> list[str]:
    assert all(isinstance(answer, Transcript) for answer in answers), answers
    return [answer.text for answer in answers]


def test_calls_pooled_together_get_the_text_they_get_alone(transcriber, calls):
    alone = [transcriber.transcribe([Request(call, ENGLISH)])[0] for call in calls]
    pooled = transcriber.transcribe([Request(call, ENGLISH) for call in calls])
    assert said(pooled) == said(alone)
    assert len(set(said(pooled))) > 2  # the audio decides
    assert [a.segments for a in pooled] == [a.segments for a in alone]


def test_windows_of_many_calls_share_batches_and_each_is_encoded_once(transcriber, calls, monkeypatch):
    counting = Counting(transcriber, monkeypatch)
    transcriber.transcribe([Request(call, ENGLISH) for call in calls])
    assert counting.windows == len(calls) + 1  # the last one is longer than a window
    assert max(counting.batches) == 4


def test_a_language_is_detected_without_encoding_twice(transcriber, calls, monkeypatch):
    counting = Counting(transcriber, monkeypatch)
    found = transcriber.transcribe([Request(call, ANY) for call in calls])
    assert counting.windows == len(calls) + 1
    model = transcriber._pool.decoder.model
    for call, transcript in zip(calls[:3], found, strict=False):
        language, probability, _ = model.detect_language(call[0])
        assert 0 < transcript.language_probability <= 1
        assert transcript.language in models.LANGUAGES
        assert language in models.LANGUAGES
        assert probability > 0


def test_the_language_found_decodes_to_the_text_of_that_language_given(transcriber, calls):
    for call in calls[:4]:
        found = transcriber.transcribe([Request(call, ANY)])[0]
        given = transcriber.transcribe([Request(call, DecodingProfile(language=found.language))])[0]
        assert found.text == given.text


def test_a_manifest_limits_the_languages_that_can_be_found(calls):
    transcriber = Transcriber.load(models.cached(), settings=settings(), temperatures=())
    transcriber._pool.languages = ("hi", "mr")
    for answer in transcriber.transcribe([Request(call, ANY) for call in calls[:3]]):
        assert answer.language in ("hi", "mr")
        assert answer.language_probability >= 0.5


def test_detection_chooses_among_the_languages_that_may_be_spoken(transcriber, calls):
    for spoken in (("hi", "mr"), ("ta", "te", "bn"), ("hi", "no-such")):
        for answer in transcriber.transcribe([Request(call, DecodingProfile(languages=spoken)) for call in calls[:3]]):
            assert answer.language in spoken
            assert answer.language_probability >= 1 / len(spoken)
    [none] = transcriber.transcribe([Request(calls[0], DecodingProfile(languages=("xx", "yy")))])
    assert none.code == "unknown-language"


def test_prompt_and_hotwords_at_their_limits_are_cut_to_fit_and_it_is_said(transcriber, calls):
    long = DecodingProfile(language="hi", prompt="नमस्ते " * 280, hotwords=tuple(f"गाँव{n}" for n in range(200)))
    [answer] = transcriber.transcribe([Request(calls[0], long)])
    assert isinstance(answer, Transcript), answer
    said = transcriber.left_out(long)
    assert "of 200 hotwords" in said
    assert "words of the prompt" in said
    assert transcriber.left_out(DecodingProfile(prompt="Kaan sells milk.", hotwords=("Amul",))) is None
    odd = DecodingProfile(language="hi", prompt="<|startoftranscript|> <|en|> milk")  # no special token is let in
    assert isinstance(transcriber.transcribe([Request(calls[0], odd)])[0], Transcript)


def test_different_languages_prompts_and_beams_in_one_pool_do_not_mix(calls):
    transcriber = Transcriber.load(models.cached(models.Shape(tokens=40)), settings=settings(), temperatures=())
    profiles = [
        ENGLISH, DecodingProfile(language="hi"), DecodingProfile(language="hi", prompt="milk order"),
        DecodingProfile(language="mr", hotwords=("milk", "bread")), DecodingProfile(language="en", beam_size=1), ANY,
    ]  # fmt: skip
    pooled = transcriber.transcribe([Request(call, p) for call in calls for p in profiles])
    alone = [transcriber.transcribe([Request(call, p)])[0] for call in calls for p in profiles]
    assert said(pooled) == said(alone)


def test_learnt_words_stand_before_the_audio_in_the_decoders_prompt_in_their_language_only(transcriber, calls):
    decoder = transcriber._pool.decoder
    told = decoder.prompt("hi", prompt=None, hotwords=("Zylofen",)).tokens
    seen: list[tuple[int, ...]] = []
    real = decoder.decode
    decoder.decode = lambda encoded, prompts, **how: (
        seen.extend(p.tokens for p in prompts) or real(encoded, prompts, **how)
    )
    try:
        for language in ("hi", "mr"):
            profile = DecodingProfile(language=language, learnt_words=(("hi", "Zylofen"),))
            transcriber.transcribe([Request(calls[0], profile)])
    finally:
        del decoder.decode
    assert told in seen
    assert decoder.prompt("mr", prompt=None, hotwords=()).tokens in seen


def test_corrections_of_a_profile_are_made_in_what_the_engine_gives(transcriber, calls):
    [plain] = transcriber.transcribe([Request(calls[0], ENGLISH)])
    first = plain.text.split()[0]
    profile = DecodingProfile(language="en", corrections=(("en", first, "Zylofen"),))
    [corrected] = transcriber.transcribe([Request(calls[0], profile)])
    assert corrected.text.split()[0].startswith("Zylofen")
    assert [s.start_s for s in corrected.segments] == [s.start_s for s in plain.segments]


def test_one_bad_request_leaves_the_others_their_transcripts(transcriber, calls):
    broken = np.full((1, 16000), np.nan, np.float32)
    requests = [
        Request(calls[0], ENGLISH), Request(broken, ENGLISH), Request(calls[1], DecodingProfile(language="xx")),
        Request(np.zeros((9, 16000), np.float32), ENGLISH), Request(np.zeros((2, 2, 2), np.float32), ENGLISH),
        Request(calls[1], ENGLISH),
    ]  # fmt: skip
    answers = transcriber.transcribe(requests)
    assert [isinstance(answer, PermanentError) for answer in answers] == [False, True, True, True, True, False]
    assert answers[0].text == transcriber.transcribe([Request(calls[0], ENGLISH)])[0].text
    assert answers[5].text
    assert all(error.sentence and error.next_step for error in answers[1:5])


def test_a_window_the_engine_chokes_on_spoils_only_its_own_call(transcriber, calls, monkeypatch):
    decoder = transcriber._pool.decoder
    real = decoder.decode

    def choking(encoded: Any, prompts: Any, **how: Any) -> Any:
        if any(prompt.tokens == bad for prompt in prompts):
            raise RuntimeError("CUDA out of memory")
        return real(encoded, prompts, **how)

    bad = decoder.prompt("mr", prompt=None, hotwords=()).tokens
    monkeypatch.setattr(decoder, "decode", choking)
    profiles = [ENGLISH, DecodingProfile(language="mr"), ENGLISH]
    answers = transcriber.transcribe([Request(call, p) for call, p in zip(calls, profiles, strict=False)])
    assert [isinstance(answer, KaanError) for answer in answers] == [False, True, False]
    assert answers[1].code == "engine-failed"


@pytest.mark.parametrize("seed", [0, 3])
def test_silence_hold_music_and_noise_give_no_text(transcriber, seed):
    legs = [sounds.silence(12), sounds.music(12, seed=seed), sounds.noise(12, seed=seed), sounds.tone(12)]
    for profile in (ENGLISH, ANY):
        answers = transcriber.transcribe([Request(leg[None], profile) for leg in legs])
        assert said(answers) == ["", "", "", ""]
        assert all(answer.segments == () and answer.confidence == 0 for answer in answers)
        assert [answer.duration_s for answer in answers] == [12.0] * 4


def test_a_short_recording_that_begins_in_the_middle_of_a_word_is_looked_at_again(transcriber, monkeypatch):
    """The voice-activity model begins too late for it: 0.16 at most, where half of 1 is speech."""
    whole = sounds.speech("Good morning, how can I help you?")
    leg = whole[27433:38633]
    assert windows.find_speech(leg, manifest.WindowPolicy.stock()) == []
    counting = Counting(transcriber, monkeypatch)
    [answer] = transcriber.transcribe([Request(leg[None], ENGLISH)])
    assert isinstance(answer, Transcript)
    assert counting.windows == 1


def test_legs_are_heard_apart_and_merged_by_time(transcriber):
    agent, caller = sounds.speech("Good morning, how can I help you?"), sounds.speech("I want to order milk.")
    both = np.zeros((2, agent.size + caller.size + 32000), np.float32)
    both[0, : agent.size] = agent
    both[1, agent.size + 32000 :] = caller
    found = transcriber.transcribe([Request(both, ENGLISH)])[0]
    assert [segment.channel for segment in found.segments] == [0, 1]
    assert found.segments[1].start_s == pytest.approx((agent.size + 32000) / 16000, abs=0.6)
    for channel, leg in enumerate((agent, caller)):
        alone = transcriber.transcribe([Request(leg[None], ENGLISH)])[0]
        assert alone.text  # each leg on its own has text of its own
        assert found.segments[channel].text


def test_phrases_with_a_pause_between_them_are_segments_of_their_own(calls):
    chatty = Transcriber.load(models.cached(models.Shape(tokens=40)), settings=settings(), temperatures=())
    phrase = calls[1][0]
    joined = np.concatenate([phrase, sounds.silence(1.0), phrase, sounds.silence(1.0), phrase])[None]
    (recording,) = chatty._pool.run([Request(joined, ENGLISH)])
    (window,) = [work.window for work in recording.work]  # the pauses are too short to be taken out
    (piece,) = window.pieces
    assert len(piece.breaks) == 2
    for number, middle in enumerate(piece.breaks):
        assert middle / 16000 == pytest.approx((number + 1) * (phrase.size / 16000 + 1) - 0.5, abs=0.5)
        assert window.phrases()[number].end_s == pytest.approx((middle - piece.start) / 16000)
    answer = chatty.transcribe([Request(joined, ENGLISH)])[0]
    for segment in answer.segments:
        assert not any(segment.start_s + 0.01 < middle / 16000 < segment.end_s - 0.01 for middle in piece.breaks)


def test_pieces_of_a_word_that_follow_without_a_space_stay_with_it():
    from ml_backend.asr.transcript import Word
    from ml_backend.asr.window_decoding import whole

    pieces = [Word(i, i + 1, text, 0.9) for i, text in enumerate([" about", " 50", "%", " of", " 24", "/7"])]
    pairs = [(word, (word.probability,)) for word in pieces]
    assert [word.text for word, _ in whole(pairs, spaced=True)] == [" about", " 50%", " of", " 24/7"]
    assert [len(tokens) for _, tokens in whole(pairs, spaced=True)] == [1, 2, 1, 2]
    assert "".join(word.text for word, _ in whole(pairs, spaced=False)) == " about 50% of 24/7"


def test_the_words_of_a_window_are_split_where_its_phrases_begin(transcriber, calls, monkeypatch):
    real, told = window_decoding.whole, []

    def whole(pieces: Any, *, spaced: bool, begins_s: Sequence[float] = ()) -> Any:
        told.append(tuple(begins_s))
        return real(pieces, spaced=spaced, begins_s=begins_s)

    monkeypatch.setattr(window_decoding, "whole", whole)
    transcriber.transcribe([Request(calls[3], ENGLISH)])  # two phrases, with a pause of 3 s between them
    assert [len(begins_s) for begins_s in told] == [2]
    [(first_s, second_s)] = told
    assert second_s - first_s > 1


def test_a_transcript_is_plain_json_with_times_inside_the_recording(transcriber, calls):
    for answer in transcriber.transcribe([Request(call, ANY) for call in calls]):
        plain = json.loads(json.dumps(answer.to_json(), allow_nan=False))
        assert Transcript.from_json(plain) == answer
        for segment in answer.segments:
            assert 0 <= segment.start_s < segment.end_s <= answer.duration_s + 0.01
            assert 0 <= segment.confidence <= 1
            for word in segment.words:
                assert segment.start_s - 0.01 <= word.start_s or segment.start_s <= word.end_s
                assert word.start_s <= word.end_s <= answer.duration_s + 0.01
                assert 0 <= word.probability <= 1


def test_windows_that_fail_the_quality_test_are_tried_again_alone_without_encoding_again(calls, monkeypatch):
    transcriber = Transcriber.load(models.cached(), settings=settings())
    monkeypatch.setattr(guards, "MOST_COMPRESSION", 0.01)  # now every window fails
    counting = Counting(transcriber, monkeypatch)
    tried: list[dict[str, Any]] = []
    decoder = transcriber._pool.decoder
    real = decoder._generate

    def generate(features: Any, prompts: Any, **how: Any) -> Any:
        tried.append({"members": len(prompts), **how})
        return real(features, prompts, **how)

    monkeypatch.setattr(decoder, "_generate", generate)
    transcriber.transcribe([Request(call, ENGLISH) for call in calls[:3]])
    warmer = [t for t in tried if "sampling_temperature" in t]
    assert counting.windows == 3
    assert {t["members"] for t in warmer} == {1}
    taken = [t["sampling_temperature"] for t in warmer]
    assert taken[0] == window_decoding.LADDER[0]
    assert len(taken) <= 2 * counting.windows  # tries of the length of the first end the ladder


def test_the_ladder_goes_on_while_its_tries_are_shorter_than_the_text_that_failed(calls, monkeypatch):
    transcriber = Transcriber.load(models.cached(models.Shape(tokens=40)), settings=settings())
    decoder = transcriber._pool.decoder
    monkeypatch.setattr(guards, "failed", lambda *_: True)
    tried: list[float] = []
    real = decoder._generate

    def generate(features: Any, prompts: Any, **how: Any) -> Any:
        if "sampling_temperature" in how:
            tried.append(how["sampling_temperature"])
            how["max_length"] = 2 * 10  # each try gets ten tokens, a quarter of the first
        return real(features, prompts, **how)

    monkeypatch.setattr(decoder, "_generate", generate)
    transcriber.transcribe([Request(calls[0], ENGLISH)])
    assert tried == list(window_decoding.LADDER)[:4]


def test_a_re_run_gives_the_same_text_every_time(calls, monkeypatch):
    transcriber = Transcriber.load(models.cached(), settings=settings())
    monkeypatch.setattr(guards, "failed", lambda *_: True)
    once = said(transcriber.transcribe([Request(call, ENGLISH) for call in calls[:3]]))
    again = said(transcriber.transcribe([Request(call, ENGLISH) for call in calls[:3]]))
    assert once == again


def test_text_that_does_not_fit_into_a_window_is_heard_in_halves_and_a_loop_is_not(calls, monkeypatch):
    endless = Transcriber.load(models.cached(models.Shape(tokens=300, cycle=4)), settings=settings(), temperatures=())
    (loop,) = endless._pool.run([Request(calls[1], ENGLISH)])[0].work
    assert loop.decoded.full
    monkeypatch.setattr(guards, "MOST_COMPRESSION", 1000.0)  # now it counts as much text, not as a loop
    parts = endless._pool.run([Request(calls[1], ENGLISH)])[0].work
    assert len(parts) == 4
    pieces = sorted((piece.start, piece.end) for one in parts for piece in one.window.pieces)
    assert all(a[1] == b[0] for a, b in pairwise(pieces))
    assert (pieces[0][0], pieces[-1][1]) == (loop.window.pieces[0].start, loop.window.pieces[0].end)


def test_a_model_that_does_not_pad_gets_short_windows_in_batches_of_like_length(calls, monkeypatch):
    transcriber = Transcriber.load(models.cached(), settings=settings(), temperatures=())
    transcriber._pool.decoder.policy = UNPADDED
    decoder = transcriber._pool.decoder
    real, spreads, widths = decoder.encode, [], []

    def encode(features: Any) -> Any:
        lengths = [member.shape[-1] for member in features]
        spreads.append(max(lengths) - min(lengths))
        encoded = real(features)
        widths.append(encoded.output.shape[1] * 2 - max(lengths))
        return encoded

    monkeypatch.setattr(decoder, "encode", encode)
    recordings = transcriber._pool.run([Request(call, ENGLISH) for call in calls])
    assert all(work.decoded.tokens for recording in recordings for work in recording.work)
    assert max(work.features.shape[-1] for recording in recordings for work in recording.work) <= 800
    assert max(spreads) <= 60
    assert all(20 <= width <= 24 for width in widths)  # the margin the manifest asks for


@pytest.mark.parametrize("frames", [78, 80, 82, 140, 160, 162, 180])
def test_no_length_of_window_is_mistaken_for_encoder_output(frames):
    transcriber = Transcriber.load(models.cached(), settings=settings(), temperatures=())
    decoder = transcriber._pool.decoder
    decoder.policy = manifest.WindowPolicy(max_s=8.0, margin_s=0.0)
    prompt = decoder.prompt("en", prompt=None, hotwords=())
    features = np.random.default_rng(0).standard_normal((80, frames)).astype(np.float32)
    assert decoder.decode(decoder.encode([features]), [prompt], beam_size=1)[0].tokens


def test_two_workers_give_the_text_of_one(transcriber, calls):
    two = Transcriber.load(models.cached(), settings=settings(asr_workers=2, asr_batch_size=2), temperatures=())
    requests = [Request(call, ANY) for call in calls]
    assert said(two.transcribe(requests)) == said(transcriber.transcribe(requests))


def test_a_model_loaded_before_a_fork_refuses_instead_of_hanging(transcriber, calls):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            transcriber.transcribe([Request(calls[0], ENGLISH)])
            os.write(writer, b"worked")
        except ConfigurationError as error:
            os.write(writer, error.code.encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    assert os.read(reader, 100) == b"model-after-fork"
    os.close(reader)


def test_no_requests_give_no_answers(transcriber):
    assert transcriber.transcribe([]) == []


@pytest.mark.parametrize("location", ["no/such-model", "no-such-size", "/nowhere/at/all"])
def test_a_model_that_cannot_be_had_says_what_to_set(location, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigurationError) as caught:
        Transcriber.load(location, settings=settings())
    assert caught.value.code == "model-not-found"
    assert "ASR_MODEL" in caught.value.next_step


def test_a_folder_that_is_no_whisper_says_so(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"not a model")
    with pytest.raises(ConfigurationError) as caught:
        Transcriber.load(tmp_path, settings=settings())
    assert caught.value.code == "model-not-loadable"


def test_a_folder_that_differs_from_its_manifest_is_never_loaded(tmp_path):
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(models.cached(), folder)
    manifest.write(folder, name="tiny", languages=("en",), window=manifest.WindowPolicy.stock(), trained_on="nothing")
    assert Transcriber.load(folder, settings=settings()).model_version.startswith("tiny-")
    raw = bytearray((folder / "model.bin").read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / "model.bin").write_bytes(raw)
    with pytest.raises(PermanentError) as caught:
        Transcriber.load(folder, settings=settings())
    assert caught.value.code == "model-file-changed"
    assert Path(folder).is_dir()


def test_a_small_model_gets_one_thread_and_a_large_one_shares_the_cores_among_its_workers(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    with (tmp_path / "model.bin").open("wb") as file:
        file.truncate(engine.SMALL_BYTES - 1)
        assert engine.threads_for(tmp_path, settings()) == 1
        file.truncate(engine.SMALL_BYTES)
        assert engine.threads_for(tmp_path, settings()) == 8
        assert engine.threads_for(tmp_path, settings(asr_workers=3)) == 2
        assert engine.threads_for(tmp_path, settings(asr_workers=20)) == 1
