"""OpenAI's form of errors and of the list of models, so that its clients and voice frameworks read ours unchanged.

An error has our code, and in `message` our sentence with the next step, because clients show nothing else.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ml_backend import quantities
from ml_backend.errors import InvalidInput

VERSION_HEADER, CALL_HEADER, NUMBER_HEADER = "x-kaan-model-version", "x-kaan-call", "x-kaan-number"
OWNER = "kaan"
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def error(status: int, ours: dict[str, str], field: str | None) -> dict[str, Any]:
    """Our error in OpenAI's form."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    message = f"{ours['message']} {ours['next_step']}".strip()
    named = {"message": message, "type": kind, "code": ours["code"], "param": field}
    return {"error": {**named, "next_step": ours["next_step"], "request_id": ours["request_id"]}}


def about(field: str | None, error: InvalidInput) -> InvalidInput:
    """The error with the field that it is about."""
    error.field = field
    return error


def unknown_model(name: str) -> InvalidInput:
    """404 for a name that is neither an alias nor a version."""
    sentence = f"There is no model {quantities.shortened(name, 80)!r}."
    return about("model", InvalidInput("unknown-model-version", sentence, "GET /v1/models lists them.", status=404))


def model(name: str, kinds: list[str], languages: list[str], created: datetime) -> dict[str, Any]:
    """One entry of the list of models."""
    seconds = int(created.replace(tzinfo=created.tzinfo or UTC).timestamp())
    return {"id": name, "object": "model", "created": seconds, "owned_by": OWNER, "kinds": kinds,
            "languages": languages}  # fmt: skip
