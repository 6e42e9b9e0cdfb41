"""The bundled model is whole, small, loads where it must, and its two forms say the same."""

import json

import pytest

from ml_backend.models import manifest
from training.demo_model import corpus, demo_evaluation
from training.runs.bases import BUNDLED, CALLS_FOLDER, MODEL_FOLDER, TWIN_FOLDER

ROWS = {row["file"]: row for row in json.loads((CALLS_FOLDER / "calls.json").read_text(encoding="utf-8"))}


def size_of(folder) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_model_is_the_one_its_manifest_describes():
    described = manifest.verify(MODEL_FOLDER)
    assert described.name == "kaan-tiny"
    assert described.kind == "asr"
    assert set(described.languages) == {"hi", "en", "mr"}
    assert described.window.pad_to_s is None
    assert described.window.max_s < 30


def test_model_and_twin_are_small_enough_for_a_repository():
    assert size_of(MODEL_FOLDER) < 10_000_000
    assert size_of(TWIN_FOLDER) < 15_000_000


def test_the_twin_holds_no_pickle_and_everyone_may_read_it():
    for path in TWIN_FOLDER.iterdir():
        manifest.refuse_pickle(path)
        assert path.stat().st_mode & 0o444 == 0o444


def test_the_model_reports_its_languages_and_alignment_heads():
    config = json.loads((MODEL_FOLDER / "config.json").read_text())
    assert len(config["lang_ids"]) == 99
    assert config["alignment_heads"]


def test_the_model_card_names_the_model_and_says_what_it_is_not():
    card = (BUNDLED / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert manifest.read(MODEL_FOLDER).model_version in card
    for said in ("synthetic", "human speech", "held-out", "calibrated", "%"):
        assert said in card


@pytest.fixture(scope="module")
def engine():
    from ml_backend import settings
    from ml_backend.asr.engine import Transcriber

    return Transcriber.load(MODEL_FOLDER, settings=settings.load(), temperatures=())


@pytest.fixture(scope="module")
def demo_clips():
    return demo_evaluation.demo_clips(CALLS_FOLDER)


def test_the_demonstration_calls_are_heard_with_at_most_fifteen_percent_of_the_words_wrong(engine, demo_clips):
    score = demo_evaluation.score(engine, demo_clips)
    assert score.words > 250
    assert score.strict <= 0.15, f"{score.strict:.1%} by language {score.by_language}"


def test_calls_without_speech_stay_empty(engine, demo_clips):
    from ml_backend.asr.request import Request
    from ml_backend.asr.transcript import DecodingProfile

    silent = [clip for clip in demo_clips if not clip.text]
    answers = engine.transcribe([Request(clip.samples, DecodingProfile()) for clip in silent])
    assert [answer.text for answer in answers] == ["", ""]


def test_the_twin_says_what_the_served_model_says(engine):
    """int8 through CTranslate2 against float32 through transformers, on the same windows; a few words may differ."""
    import torch

    from training.demo_model.demo_evaluation import edits
    from training.trainers.asr import artefacts
    from training.trainers.asr.collation import padded
    from training.trainers.asr.weights import accept_short_windows, greedy

    model, tokenizer = artefacts.load_twin(TWIN_FOLDER)
    accept_short_windows(model).eval()
    decoder = engine._pool.decoder
    _, clips = next(demo_evaluation.sets(12))
    wrong = words = 0
    for clip in clips:
        features = decoder.features(clip.samples[0, 5000:-5000])
        prompt = decoder.prompt(clip.language, prompt=None, hotwords=())
        served = decoder.decode(decoder.encode([features]), [prompt], beam_size=1)[0].text
        mel = torch.from_numpy(padded([features.T], decoder.policy))
        ids = greedy(model, mel, list(prompt.tokens), end=tokenizer.convert_tokens_to_ids("<|endoftext|>"))
        wrong += edits(served.split(), tokenizer.decode(ids).split())
        words += len(served.split())
    assert words > 40
    assert wrong / words <= 0.1


def test_the_score_counts_words_over_all_clips_together():
    assert demo_evaluation.edits(["a", "b", "c", "d"], ["a", "x", "c"]) == 2
    assert demo_evaluation._rate([("a b c d", "a b c d"), ("a", "")]) == pytest.approx(1 / 5)
    assert corpus.sentence_key("A b?") == "a b"
