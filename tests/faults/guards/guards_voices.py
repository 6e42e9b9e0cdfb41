"""Taking away the guards of voices: of clips that teach a voice, and of people who rate it."""

from __future__ import annotations

from tests.faults.guards.guards import guard, module


@guard("few-raters-decide-nothing")
def _few_raters() -> None:
    module("training.scoring.opinion_scores").LEAST_RATERS = 1


@guard("raters-meet-hidden-anchors")
def _anchors() -> None:
    """Whoever answers counts."""
    module("training.scoring.opinion_scores")._failed = lambda rater, mine: None


@guard("few-raters-have-a-wide-interval")
def _wide() -> None:
    """Three people are drawn from as if they were many."""
    module("training.scoring.opinion_scores").students_t = lambda degrees: 1.959964


@guard("one-audio-has-one-text")
def _one_text() -> None:
    module("training.voices.clip_collection")._exclude_twins = lambda connection, sha256: None


@guard("a-sentence-is-on-one-side")
def _one_side() -> None:
    """Each way of writing a sentence is a sentence."""
    module("training.voices.voice_lines").family = lambda text, language: text


@guard("the-order-of-ratings-is-blind")
def _blind() -> None:
    module("sync.tasks.ratings")._place = lambda project, name: 0.5


@guard("a-prompt-is-spoken-once")
def _once() -> None:
    """Every request has a name of its own."""
    uuid = module("uuid")
    module("ml_backend.tts.prompts").name_of = lambda *said, **more: uuid.uuid4().hex


@guard("prompts-that-are-not-ready-stop-a-switch")
def _unready() -> None:
    module("training.voices.prompt_switch")._refuse_unready = lambda found, version: None


@guard("an-interrupted-switch-is-ended-first")
def _unfinished() -> None:
    module("training.voices.prompt_switch")._refuse_unfinished = lambda now: None
