"""A multipart request for a transcription -> its checked fields and the file, in OpenAI's form."""

from __future__ import annotations

from typing import IO, Annotated, Any, Literal

from flask import request
from gunicorn.http.errors import ParseException
from pydantic import Field
from werkzeug.exceptions import RequestEntityTooLarge

from ml_backend.api import requests
from ml_backend.api.live import openai_form
from ml_backend.api.live.live_bodies import AudioBody, checked
from ml_backend.errors import InvalidInput

MOST_PARTS = 40
MOST_FIELD_BYTES = 100_000
Granularity = Literal["segment", "word"]
_USUAL: tuple[Granularity, ...] = ("segment",)
LISTED = {"timestamp_granularities[]": "timestamp_granularities", "include[]": "include"}


class TranscriptionBody(AudioBody):
    """The fields beside `file`. `hotwords` is ours: words with commas between that the call is likely to have."""

    prompt: Annotated[str, Field(max_length=2000, description="a text of at most 2,000 characters")] = ""
    hotwords: Annotated[str, Field(max_length=2000, description="words with commas between")] = ""
    response_format: Annotated[
        Literal["json", "text", "verbose_json", "srt", "vtt"],
        Field(description="json, text, verbose_json, srt or vtt"),
    ] = "json"
    temperature: Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")] = 0.0
    timestamp_granularities: list[Granularity] = Field(
        default_factory=lambda: [*_USUAL], description="segment, word or both"
    )
    stream: Annotated[bool, Field(description="true or false")] = False

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, map(str.strip, self.hotwords.split(",")))))


def read() -> tuple[TranscriptionBody, IO[bytes], str]:
    """(fields, the file's stream, its name) of the request being answered."""
    if request.mimetype != "multipart/form-data":
        raise InvalidInput(
            "not-multipart", "The content type is not multipart/form-data.", "Send the audio as the part `file`.",
            status=415,
        )  # fmt: skip
    if request.content_encoding not in (None, "", "identity"):
        raise InvalidInput("encoded-body", "The body is compressed.", "Send it without Content-Encoding.", status=415)
    request.max_form_parts, request.max_form_memory_size = MOST_PARTS, MOST_FIELD_BYTES
    try:
        sent, files = request.form, request.files
    except (ParseException, OSError):
        raise requests.unreadable() from None
    except RequestEntityTooLarge:
        if request.content_length is not None and request.content_length > (request.max_content_length or 0):
            raise
        raise InvalidInput(
            "form-too-large", f"A form has at most {MOST_PARTS} parts, and {MOST_FIELD_BYTES:,} bytes beside the file.",
            "Send the audio as the part `file`, and the other fields as OpenAI's clients do.", status=413,
        ) from None  # fmt: skip
    body = checked(TranscriptionBody, _typed({name: sent.getlist(name) for name in sent}))
    if "file" not in files:
        raise openai_form.about(
            "file", InvalidInput("file-missing", "The form has no file.", "Send the audio as the part `file`.")
        )
    return body, files["file"].stream, files["file"].filename or ""


def _typed(sent: dict[str, list[str]]) -> dict[str, Any]:
    """A form has texts only: the numbers and lists of it."""
    found: dict[str, Any] = {}
    for name, values in sent.items():
        known = LISTED.get(name, name)
        if known in LISTED.values():
            found[known] = [*found.get(known, []), *values]
        elif values[-1] == "" and name != "prompt":
            continue  # how clients of form libraries say "not set"
        elif name == "temperature":
            found[name] = _number(values[-1])
        elif name == "stream":
            found[name] = {"true": True, "1": True, "false": False, "0": False}.get(values[-1].lower(), values[-1])
        else:
            found[name] = values[-1]
    return found


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
