"""What a client asks of its session, in both forms of OpenAI's interface -> one checked value.

`session.update` has the audio's settings below `audio.input`; `transcription_session.update` is the older, flat form.
Only fields that are present change. What this server has no use for (noise reduction, log probabilities) is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from ml_backend.api.live import openai_form
from ml_backend.api.live.live_bodies import STORABLE, AudioBody, LiveBody, checked
from ml_backend.api.realtime.turn_detection import TurnSettings
from ml_backend.audio.streamed_audio import StreamFormat
from ml_backend.errors import InvalidInput

_FLAT_FORMATS = {"pcm16": ("pcm", 24_000), "g711_ulaw": ("pcmu", 8_000), "g711_alaw": ("pcma", 8_000)}
_TYPES = {"audio/pcm": "pcm", "audio/pcmu": "pcmu", "audio/pcma": "pcma"}
_RATES = {"pcm": (24_000, 16_000, 8_000), "pcmu": (8_000,), "pcma": (8_000,)}
_Text = Annotated[str, Field(max_length=2000, pattern=STORABLE, description="a text of at most 2,000 characters")]


@dataclass(frozen=True)
class SessionConfig:
    """What applies now. `turns` is None where the client commits its turns itself."""

    model: str = ""
    call: str | None = None
    number: str | None = None  # the company's own
    speaker: str | None = None
    caller: str | None = None  # the person's number
    language: str | None = None
    prompt: str = ""
    hotwords: tuple[str, ...] = ()
    audio: StreamFormat = field(default_factory=StreamFormat)
    turns: TurnSettings | None = field(default_factory=TurnSettings)


class _Transcription(LiveBody):
    """`audio.input.transcription`, or `input_audio_transcription`. `hotwords` is ours, `keywords` OpenAI's name."""

    prompt: _Text = ""
    hotwords: _Text = ""
    keywords: list[Annotated[str, Field(max_length=200, pattern=STORABLE)]] = Field(
        default_factory=list, max_length=100, description="a list of at most 100 words"
    )

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, map(str.strip, [*self.hotwords.split(","), *self.keywords]))))


class _Format(LiveBody):
    type: Annotated[
        Literal["audio/pcm", "audio/pcmu", "audio/pcma"], Field(description="audio/pcm, audio/pcmu or audio/pcma")
    ] = "audio/pcm"
    rate: Annotated[int | None, Field(description="24000, 16000 or 8000, of audio/pcm")] = None


class _Turns(LiveBody):
    type: Annotated[Literal["server_vad"], Field(description="server_vad, or turn_detection null")] = "server_vad"
    threshold: Annotated[float, Field(ge=0.05, le=0.95, description="a number from 0.05 to 0.95")] = 0.3
    prefix_padding_ms: Annotated[int, Field(ge=0, le=2000, description="0 to 2000")] = 300
    silence_duration_ms: Annotated[int, Field(ge=100, le=5000, description="100 to 5000")] = 200


class ConnectQuery(AudioBody):
    """The query of the address; all but `intent` and `model` are ours."""

    intent: Annotated[Literal["transcription"], Field(description="transcription")] = "transcription"


def updated(before: SessionConfig, sent: Any, *, flat: bool) -> SessionConfig:
    """The configuration after an update; InvalidInput names the field that is wrong."""
    session = _object(sent, "session")
    if not flat and session.get("type", "transcription") != "transcription":
        raise openai_form.about(
            "session.type",
            InvalidInput(
                "transcribes-only", "This server transcribes; it holds no conversation.",
                'Send "type": "transcription" in the session.',
            ),
        )  # fmt: skip
    own = _checked(AudioBody, {name: session[name] for name in _OURS if name in session}, "session")
    said = {name: getattr(own, name) for name in _OURS}
    after = replace(before, **{name: value for name, value in said.items() if value is not None})
    if before.call is not None and after.call != before.call:  # another call: nothing of the one before is true of it
        after = replace(after, **{name: said[name] for name in ("number", "speaker", "caller")})
    if flat:
        audio, names = session, ("input_audio_format", "input_audio_transcription", "turn_detection")
        place = "session"
    else:
        audio = _object(_object(session.get("audio") or {}, "session.audio").get("input") or {}, "session.audio.input")
        place, names = "session.audio.input", ("format", "transcription", "turn_detection")
    form, transcription, turns = names
    if audio.get(form) is not None:
        after = replace(after, audio=_format(audio[form], f"{place}.{form}", flat=flat))
    if audio.get(transcription) is not None:
        after = _transcription(after, audio[transcription], f"{place}.{transcription}")
    if turns in audio:
        after = replace(after, turns=_turns(before.turns, audio[turns], f"{place}.{turns}"))
    return after


_OURS = ("call", "number", "speaker", "caller")


def _format(sent: Any, place: str, *, flat: bool) -> StreamFormat:
    if flat:
        encoding, rate_hz = _FLAT_FORMATS.get(sent if isinstance(sent, str) else "", ("", 0))
        if not encoding:
            raise _bad(place, f"must be one of {', '.join(_FLAT_FORMATS)}")
        return StreamFormat(encoding, rate_hz)  # type: ignore[arg-type]
    asked = _checked(_Format, _object(sent, place), place)
    encoding = _TYPES[asked.type]
    rate_hz = asked.rate if asked.rate is not None else _RATES[encoding][0]
    if rate_hz not in _RATES[encoding]:
        raise _bad(f"{place}.rate", f"must be one of {', '.join(map(str, _RATES[encoding]))} for {asked.type}")
    return StreamFormat(encoding, rate_hz)  # type: ignore[arg-type]


def _transcription(before: SessionConfig, sent: Any, place: str) -> SessionConfig:
    given = _object(sent, place)
    asked = _checked(_Transcription, given, place)
    changes: dict[str, Any] = {name: getattr(asked, name) for name in ("model", "prompt") if name in given}
    changes |= {name: getattr(asked, name) for name in ("language", "call") if name in given}
    if "hotwords" in given or "keywords" in given:
        changes["hotwords"] = asked.words
    return replace(before, **changes)


def _turns(before: TurnSettings | None, sent: Any, place: str) -> TurnSettings | None:
    if sent is None:
        return None
    given = _object(sent, place)
    asked = _checked(_Turns, given, place)
    names = ("threshold", "prefix_padding_ms", "silence_duration_ms")
    return replace(before or TurnSettings(), **{name: getattr(asked, name) for name in names if name in given})


def _object(sent: Any, place: str) -> dict[str, Any]:
    if not isinstance(sent, dict):
        raise _bad(place, "must be an object")
    return sent


def _checked(model: Any, given: Mapping[str, Any], place: str) -> Any:
    try:
        return checked(model, dict(given))
    except InvalidInput as error:
        error.field = f"{place}.{error.field}" if error.field else place
        raise


def _bad(place: str, what: str) -> InvalidInput:
    return openai_form.about(place, InvalidInput("bad-field", f"{place} {what}.", "Correct it and send it again."))


def told(config: SessionConfig, *, session_id: str, expires_at: int, model_version: str, flat: bool) -> dict[str, Any]:
    """The configuration in OpenAI's form, as the session's events carry it."""
    turns = config.turns and {
        "type": "server_vad", "threshold": config.turns.threshold, "prefix_padding_ms": config.turns.prefix_padding_ms,
        "silence_duration_ms": config.turns.silence_duration_ms,
    }  # fmt: skip
    transcription = {
        "model": config.model or "champion", "language": config.language, "prompt": config.prompt,
        "hotwords": ",".join(config.hotwords),
    }  # fmt: skip
    about = {
        "id": session_id, "object": "realtime.transcription_session", "expires_at": expires_at, "call": config.call,
        "model_version": model_version,
    }  # fmt: skip
    if flat:
        names = {value: name for name, value in _FLAT_FORMATS.items()}
        return {
            **about, "input_audio_format": names.get((config.audio.encoding, config.audio.rate_hz), "pcm16"),
            "input_audio_transcription": transcription, "turn_detection": turns, "input_audio_noise_reduction": None,
        }  # fmt: skip
    types = {value: name for name, value in _TYPES.items()}
    audio = {"type": types[config.audio.encoding]}
    if config.audio.encoding == "pcm":
        audio["rate"] = config.audio.rate_hz  # type: ignore[assignment]
    heard = {"format": audio, "transcription": transcription, "noise_reduction": None, "turn_detection": turns}
    return {**about, "type": "transcription", "audio": {"input": heard}}
