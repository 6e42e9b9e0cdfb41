"""What `/v1` is sent, checked as a whole: a refusal lists every mistake and names the first wrong field."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from ml_backend import strict_models
from ml_backend.api.live import openai_form
from ml_backend.errors import InvalidInput
from ml_backend.strict_models import Checked

STORABLE = r"^[^\x00]*$"
"""No NUL: PostgreSQL keeps none. Half a character is refused by the type."""
_Name = Annotated[str, Field(max_length=200, pattern=STORABLE)]
_TEXT = "a text of at most 10,000 characters, without the character NUL"
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]


class LiveBody(Checked):
    """What every request may say. Other fields are ignored: clients send options that other servers have."""

    model_config = ConfigDict(extra="ignore")

    model: Annotated[_Name, Field(description="champion, another alias or a version: a text")] = ""
    language: Annotated[Language | None, Field(description="a language code such as hi")] = None
    call: Annotated[_Name | None, Field(description="the id of the call: a text")] = None


class AudioBody(LiveBody):
    """A request with audio. The fields matter where the audio is kept (`ml_backend/serving/live_audio`)."""

    caller: Annotated[str | None, Field(max_length=80, pattern=STORABLE, description="the caller's number")] = None
    number: Annotated[str | None, Field(max_length=80, pattern=STORABLE, description="the company's number")] = None
    speaker: Annotated[Literal["agent", "customer"] | None, Field(description="agent or customer")] = None


class ParseBody(LiveBody):
    """A text whose intent is wanted."""

    text: Annotated[str, Field(max_length=10_000, pattern=STORABLE, description=_TEXT)]


class VoiceName(Checked):
    """A voice as OpenAI's clients may also name it."""

    id: _Name


class SpeechBody(LiveBody):
    """A text to say, in OpenAI's form; `language`, `emotion` and `keep` are ours."""

    input: Annotated[str, Field(max_length=10_000, pattern=STORABLE, description=_TEXT)]
    voice: Annotated[_Name | VoiceName | None, Field(description="the name of a voice of the version")] = None
    response_format: Annotated[
        Literal["mp3", "opus", "aac", "flac", "wav", "pcm"], Field(description="mp3, opus, aac, flac, wav or pcm")
    ] = "mp3"
    speed: Annotated[float, Field(ge=0.25, le=4, description="a number; 1 is the voice's own speed")] = 1.0
    stream_format: Annotated[Literal["audio"], Field(description="audio: events (sse) are not sent")] = "audio"
    emotion: Annotated[_Name | None, Field(description="the name of an emotion of the version")] = None
    keep: Annotated[bool, Field(description="true or false: whether the text and its sound are kept")] = False

    @property
    def voice_name(self) -> str | None:
        return self.voice.id if isinstance(self.voice, VoiceName) else self.voice


Body = TypeVar("Body", bound=LiveBody)


def checked(model: type[Body], raw: dict[str, Any]) -> Body:
    """A body, or InvalidInput that lists every mistake and names the first wrong field."""
    given = {name: value for name, value in raw.items() if value is not None}  # clients send null for "not set"
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wrong = strict_models.mistakes(error, model.model_fields)
        first = error.errors()[0]["loc"]
        raise openai_form.about(
            str(first[0]) if first else None,
            InvalidInput("bad-field", f"The request is wrong: {'; '.join(wrong)}.", "Correct it and send it again."),
        ) from None
