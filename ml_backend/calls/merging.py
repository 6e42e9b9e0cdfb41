"""One call's merged fields + one event -> merged fields. Pure, and the same for any order and repetition of events.

Every field keeps the greatest reported value, ordered by (kind of value, trust in the source, value): the maximum is
commutative and idempotent. Empty values are ignored, so a later empty value never replaces a filled one. `merged` holds
the kind and trust of each field's value, and the address of each recording.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ml_backend.calls import phone_numbers, pseudonyms
from ml_backend.calls.events import LIVE_SOURCE, NO_CONVERSATION, OVER, CallEvent, recording_identity
from ml_backend.log import masked

# Trust in what a source says about a call, least first.
TRUST = (
    "object",
    "agent_event",
    "campaign",
    "passthru",
    "exoml",
    "ip_calling",
    "status_callback",
    "listing",
    "details",
)
# Which of the ways a call became known is named first: `listing` means that no callback came.
WAYS = ("object", "listing", "details", "agent_event", "campaign", "exoml", "ip_calling", "passthru", "status_callback")
FIELDS = (
    "status", "recording_url", "from_pseudonym", "to_pseudonym", "direction", "talk_seconds", "started_at", "ended_at",
    "custom_field", "company_number",
)  # fmt: skip
LEAST_TRUSTED = 0


def merge(call: Mapping[str, Any], event: CallEvent, *, key: bytes, at: datetime) -> dict[str, Any]:
    """The new values of the `calls` columns; only those that change."""
    changed: dict[str, Any] = {}
    merged = dict(call["merged"] or {})
    trust = TRUST.index(event.source) if event.source in TRUST else LEAST_TRUSTED
    for name, value in _values(event, key=key).items():
        if value is None:
            continue
        if name in ("started_at", "ended_at") and value > at + timedelta(days=1):
            merged["odd"] = sorted({*merged.get("odd", ()), f"{name}-in-the-future"})
            continue
        if name == "recording_url" and is_reduced(call[name]) and call[name] == phone_numbers.without_numbers(value):
            continue
        rank = [_kind(name, value), trust]
        if call[name] is None or (rank, _order(value)) > (merged.get(name, [0, 0]), _order(call[name])):
            changed[name], merged[name] = value, rank
    if event.recording_url:
        merged["urls"] = _with_url(merged.get("urls") or {}, event, trust)
    merged = dict(sorted(merged.items()))  # the stored text, too, is the same for any order
    if merged != (call["merged"] or {}):
        changed["merged"] = merged
    seen = sorted({*(call["seen_by"] or ()), event.source})
    if seen != call["seen_by"]:
        changed["seen_by"] = seen
        changed["source"] = max(seen, key=lambda each: WAYS.index(each) if each in WAYS else -1)
    if event.source == "listing" and call["listed_at"] is None:
        changed["listed_at"] = at
    return changed


def urls(call: Any) -> dict[str, str]:
    """Recording identity -> the address it was last named at."""
    return {identity: str(known[1]) for identity, known in ((call.merged or {}).get("urls") or {}).items()}


def is_reduced(url: str | None) -> bool:
    """Whether a telephone number was taken out of an address."""
    return "***" in (url or "")


def reduced(call: Any) -> dict[str, Any]:
    """The columns of a call with telephone numbers removed from its addresses; only those that change."""
    changed: dict[str, Any] = {}
    if call.recording_url and (url := phone_numbers.without_numbers(call.recording_url)) != call.recording_url:
        changed["recording_url"] = url
    known = (call.merged or {}).get("urls") or {}
    urls = {name: [rank, phone_numbers.without_numbers(str(url))] for name, (rank, url) in known.items()}
    if urls != {name: list(each) for name, each in known.items()}:
        changed["merged"] = {**call.merged, "urls": urls}
    return changed


def note_of(said: str) -> str:
    """What the caller's side noted about a call, without telephone numbers."""
    return phone_numbers.without_numbers(masked(said))


def _values(event: CallEvent, *, key: bytes) -> dict[str, Any]:
    def hidden(number: str | None) -> str | None:
        if event.source == LIVE_SOURCE:  # pseudonyms already: no number is kept beside the audio
            return number
        return pseudonyms.pseudonym(number, key) if number else None

    return {
        "status": event.status,
        "recording_url": event.recording_url,
        "from_pseudonym": hidden(event.from_),
        "to_pseudonym": hidden(event.to),
        "direction": event.direction,
        "talk_seconds": event.talk_seconds,
        "started_at": event.started_at_utc,
        "ended_at": event.ended_at_utc,
        "custom_field": note_of(event.custom_field) if event.custom_field else None,
        "company_number": hidden(event.company_number),
    }


def _kind(name: str, value: Any) -> int:
    """The rank of a value: a final status is above an interim one, a full number above a masked one."""
    if name == "status":
        return 3 if value == "completed" or value in NO_CONVERSATION else 2 if value in OVER else 1
    if name in ("from_pseudonym", "to_pseudonym", "company_number"):
        return 1 if pseudonyms.is_masked(value) else 2
    return 1


def _order(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value


def _with_url(known: Mapping[str, Any], event: CallEvent, trust: int) -> dict[str, Any]:
    url = str(event.recording_url)
    identity = recording_identity(event.call_sid, url)
    before = str(list(known.get(identity, [-1, ""]))[1])
    if is_reduced(before) and before == phone_numbers.without_numbers(url):
        return dict(known)
    return dict(sorted({**known, identity: max(list(known.get(identity, [-1, ""])), [trust, url])}.items()))
