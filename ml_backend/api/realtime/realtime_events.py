"""The events of a session in OpenAI's form: what may come, and how each that is sent is built."""

from __future__ import annotations

import base64
import binascii
import uuid
from typing import Any

import orjson

from ml_backend import quantities
from ml_backend.api import requests
from ml_backend.api.live import openai_form
from ml_backend.errors import InvalidInput, KaanError

Event = dict[str, Any]
UPDATES = {"session.update": False, "transcription_session.update": True}  # type -> whether it has the flat form
APPEND, COMMIT, CLEAR = "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear"
KNOWN = (*UPDATES, APPEND, COMMIT, CLEAR)
_TRANSCRIPTION = "conversation.item.input_audio_transcription"


def new_id(kind: str) -> str:
    """`item_…`, `event_…`, `sess_…`."""
    return f"{kind}_{uuid.uuid4().hex[:20]}"


def read(message: bytes, *, is_text: bool) -> Event:
    """A message -> an event; InvalidInput for what is none."""
    if not is_text:
        raise InvalidInput(
            "binary-message", "A binary message came; events are JSON in text messages.",
            "Send the audio as base64 in input_audio_buffer.append.",
        )  # fmt: skip
    try:
        event = orjson.loads(message)
    except ValueError:
        raise InvalidInput("bad-json", "The message is not JSON in UTF-8.", "Send one JSON object.") from None
    if not isinstance(event, dict):
        raise InvalidInput("bad-body", "The message is not a JSON object.", "Send one JSON object.")
    return event


def kind_of(event: Event) -> str:
    """The type of an event of a client; InvalidInput for one that this server does not have."""
    kind = event.get("type")
    if isinstance(kind, str) and kind in KNOWN:
        return kind
    named = quantities.shortened(str(kind), 60)
    raise openai_form.about(
        "type",
        InvalidInput("unknown-event", f"This server has no event {named!r}.", f"It reads: {', '.join(KNOWN)}."),
    )


def audio_of(event: Event) -> bytes:
    """The bytes of an append."""
    sent = event.get("audio")
    try:
        if isinstance(sent, str):
            return base64.b64decode(sent, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise openai_form.about("audio", InvalidInput("bad-base64", "audio is not base64.", "Send base64 without breaks."))


def event(kind: str, **more: Any) -> Event:
    """An event of ours."""
    return {"type": kind, "event_id": new_id("event"), **more}


def error(found: KaanError, *, caused_by: Any = None) -> Event:
    """The `error` event; `event_id` inside is the client's own id of the event that was wrong."""
    about = _in_form(found)
    return event("error", error={**about, "event_id": caused_by if isinstance(caused_by, str) else None})


def failed(item_id: str, found: KaanError) -> Event:
    """One turn has no text."""
    return event(f"{_TRANSCRIPTION}.failed", item_id=item_id, content_index=0, error=_in_form(found))


def delta(item_id: str, text: str, *, unstable: str) -> Event:
    """Text to append. `unstable` is ours: how the turn goes on as far as is known, which may still change."""
    return event(f"{_TRANSCRIPTION}.delta", item_id=item_id, content_index=0, delta=text, unstable=unstable)


def completed(item_id: str, text: str, *, seconds: float, language: str | None, model_version: str) -> Event:
    """The text of a turn. `model_version` is ours."""
    return event(
        f"{_TRANSCRIPTION}.completed", item_id=item_id, content_index=0, transcript=text,
        usage={"type": "duration", "seconds": round(seconds, 3)}, languages=[{"code": language}] if language else [],
        model_version=model_version,
    )  # fmt: skip


def speech_started(item_id: str, at_ms: int) -> Event:
    return event("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=at_ms)


def speech_stopped(item_id: str, at_ms: int, why: str) -> Event:
    """`reason` is ours: silence, turn_limit or commit."""
    return event("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=at_ms, reason=why)


def committed(item_id: str, previous: str | None, why: str, *, flat: bool) -> list[Event]:
    """A turn became an item."""
    item = {
        "id": item_id, "object": "realtime.item", "type": "message", "status": "completed", "role": "user",
        "content": [{"type": "input_audio", "transcript": None}],
    }  # fmt: skip
    kinds = ("conversation.item.created",) if flat else ("conversation.item.added", "conversation.item.done")
    first = event("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous, reason=why)
    return [first, *(event(kind, item=item, previous_item_id=previous) for kind in kinds)]


def _in_form(found: KaanError) -> Event:
    ours = {
        "code": found.code, "message": found.sentence, "next_step": found.next_step, "request_id": requests.new_id(),
    }  # fmt: skip
    inside: Event = openai_form.error(found.status, ours, found.field)["error"]
    return inside
