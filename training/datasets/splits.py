"""Caller -> split: a person is in training, validation or test, never in two of them. Pure.

The caller is the party that is neither one of the company's numbers nor, through it, an agent; unknown or masked: the
call, and without a call the audio. Nothing here is drawn: the side follows from a hash, so that the same caller is on
the same side in every version and on every machine that hides numbers with the same key.

Who has a blind audit sample is a test caller: those samples are the test set, and all others of that caller are left
out. Every other caller is in validation where the hash says so, else in training.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ml_backend.calls import pseudonyms

SALT = "kaan-split@1"
TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class Parties:
    """Who is in a recording, by names that cannot be turned back into numbers or call ids."""

    group: str  # what the split goes by: the caller, else the call, else the audio
    call: str
    caller: str
    agent: str


def parties(
    *,
    audio_sha256: str,
    call_sid: str | None,
    from_pseudonym: str | None,
    to_pseudonym: str | None,
    direction: str | None,
    company_number: str | None,
    company_numbers: frozenset[str],
) -> Parties:
    """The parties of one recording."""
    call = f"call:{call_sid}" if call_sid else f"audio:{audio_sha256}"
    known = _caller(from_pseudonym, to_pseudonym, direction, company_numbers | {company_number or ""})
    group = f"caller:{known}" if known else call
    return Parties(
        group, f"call-{_short(call)}", f"caller-{_short(group)}", f"agent-{_short(f'agent:{company_number or call}')}"
    )


def position(group: str) -> float:
    """A number in [0, 1) that is always the same for the same caller."""
    return int.from_bytes(hashlib.sha256(f"{SALT}|{group}".encode()).digest()[:7], "big") / 2**56


def side(group: str) -> str:
    """Where a caller without blind audit samples belongs."""
    return VALIDATION if position(group) < VALIDATION_SHARE else TRAIN


def _caller(first: str | None, second: str | None, direction: str | None, company: frozenset[str]) -> str | None:
    outside = [each for each in (first, second) if each and each not in company]
    if len(outside) == 2:  # neither is known as the company's: the direction says who called whom
        outside = {"inbound": [str(first)], "outbound": [str(second)]}.get(direction or "", [])
    if len(outside) != 1 or pseudonyms.is_masked(outside[0]):
        return None
    return outside[0]


def _short(name: str) -> str:
    return hashlib.sha256(f"{SALT}|{name}".encode()).hexdigest()[:16]
