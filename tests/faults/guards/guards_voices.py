"""Taking away the guards of voices and parsers: of clips that teach, people who rate, and figures that decide."""

from __future__ import annotations

from typing import Any

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


@guard("the-last-switch-can-be-undone")
def _last_switch() -> None:
    """What is old goes, whoever needs it."""
    switches = module("training.voices.prompt_switch")
    real, current = switches.expire_prompts, switches.current

    def expire(context: Any) -> None:
        switches.current = lambda given: None
        try:
            real(context)
        finally:
            switches.current = current

    switches.expire_prompts = expire


@guard("a-voice-does-not-learn-from-itself")
def _own_voice() -> None:
    module("training.voices.voice_dataset").ENGINE = "nobody"


@guard("public-voices-leave-test-sentences-alone")
def _public() -> None:
    module("training.voices.voice_dataset")._held_out = lambda written: set()


@guard("only-people-promote-a-voice")
def _people() -> None:
    """Figures are always enough."""
    gate = module("training.promotion.voice_gate")
    real = gate.decide

    def decide(*given: Any, figures_are_enough: bool = False, **more: Any) -> Any:
        return real(*given, figures_are_enough=True, **more)

    gate.decide = decide


@guard("figures-refuse-a-voice-that-people-like")
def _figures() -> None:
    module("training.evaluation.speech_gate")._understood = lambda now, figures, rules: []


@guard("a-slow-voice-answers-no-call")
def _slow() -> None:
    module("ml_backend.api.live.live_speech")._require_rendered = lambda context, speaker, wanted: None


@guard("what-is-said-to-a-caller-does-not-stay")
def _said() -> None:
    """Every sentence is kept."""
    speech = module("ml_backend.api.live.live_speech")
    real = speech._stored
    speech._stored = lambda context, speaker, wanted, *, keep: real(context, speaker, wanted, keep=True)


@guard("a-sound-kept-again-does-not-expire")
def _kept_again() -> None:
    """What was old when it was listed goes."""

    def forget(context: Any, key: str, before: Any, *, seen: Any) -> bool:
        context.store.delete(context.settings.audio_bucket, key)
        return True

    module("training.voices.prompt_switch")._forget = forget


@guard("the-phone-systems-token-opens-v1-only")
def _phone_token() -> None:
    """Every token may do everything."""
    auth = module("ml_backend.api.auth")
    auth.LIVE = "nobody"

    def bearer(self: Any, role: str) -> Any:
        def check(request: Any) -> str:
            token = self._token(request)
            if token is None or not role:
                raise auth.refused("Bearer")
            return str(token.name)

        return check

    auth.Gate.bearer = bearer


@guard("a-live-version-that-does-not-load-changes-nothing")
def _live_version() -> None:
    """The alias decides, whether its version loads or not."""
    engines = module("ml_backend.api.live.live_engines")
    real = engines.LiveEngines._taken_or_loaded

    def taken(self: Any, kind: str, version: Any, before: Any) -> Any:
        try:
            return real(self, kind, version, before)
        except Exception:
            return None

    engines.LiveEngines._taken_or_loaded = taken


@guard("a-call-is-answered-by-its-arm")
def _arm() -> None:
    """A request for the same call may meet either version."""
    engines = module("ml_backend.api.live.live_engines")
    real = engines.LiveEngines.answering

    def answering(self: Any, kind: str, *, model: str = "", call: Any = None, language: Any = None) -> Any:
        return real(self, kind, model=model, call=f"{call}-again" if call else None, language=language)

    engines.LiveEngines.answering = answering


@guard("sixty-sentences-must-promise-the-bound")
def _point() -> None:
    """The rate itself decides, however few sentences it comes from."""
    module("training.evaluation.speech_gate")._at_worst = lambda interval: interval[0]


@guard("few-wordings-choose-no-threshold")
def _by_rows() -> None:
    """Each row is a wording of its own."""
    module("training.scoring.intent_scores").family_of = lambda row: str(row["id"])
