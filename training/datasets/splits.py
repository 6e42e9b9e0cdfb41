"""Caller -> split: a person is in only one of training, validation and test. Pure.

The caller is the party that is not a company number. If it is unknown or masked, the call is used, and without a call
the audio. The split is a hash, so that the same caller is on the same side in every version and on every machine with
the same pseudonym key.

A caller with a blind audit sample is a test caller: those samples are the test set, and the caller's others are left
out. A hash puts every other caller into validation or training.
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
    """The parties of a recording, by hashes that do not reveal numbers or call ids."""

    group: str  # the key of the split: the caller, else the call, else the audio
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
    """A number in [0, 1), fixed for a caller."""
    return int.from_bytes(hashlib.sha256(f"{SALT}|{group}".encode()).digest()[:7], "big") / 2**56


def side(group: str) -> str:
    """The split of a caller without blind audit samples."""
    return VALIDATION if position(group) < VALIDATION_SHARE else TRAIN


def _caller(first: str | None, second: str | None, direction: str | None, company: frozenset[str]) -> str | None:
    outside = [each for each in (first, second) if each and each not in company]
    if len(outside) == 2:  # neither is known as the company's: the direction decides
        outside = {"inbound": [str(first)], "outbound": [str(second)]}.get(direction or "", [])
    if len(outside) != 1 or pseudonyms.is_masked(outside[0]):
        return None
    return outside[0]


def _short(name: str) -> str:
    return hashlib.sha256(f"{SALT}|{name}".encode()).hexdigest()[:16]
