"""Facts about a piece of audio -> whether it becomes a task, why, and with what probability. Pure.

Every piece with speech has exactly one reason. Draws are hashes, so a repeated draw gives the same answer:

    blind   probability AUDIT_SHARE x BLIND_SHARE, whatever its quality and confidence: a simple random sample of all
            speech, annotated without a draft. Test sets and accuracy figures come from these.
    review  quality above REVIEW_MIN_QUALITY and confidence below REVIEW_MAX_CONFIDENCE, not drawn for blind:
            probability 1 - AUDIT_SHARE x BLIND_SHARE
    audit   all other speech: probability AUDIT_SHARE x (1 - BLIND_SHARE)
    all     everything else of a project whose `selection` says {"review": "all"}; it has blind tasks but no audit
    by-hand recordings that a person put into a project, less the share that they asked to be drawn for blind

`selection_probability` is the probability of being selected for the stored reason. An estimate over all speech weighs
each task of one reason by its inverse (Horvitz-Thompson): the error rate over all calls is

    sum(errors_i / p_i) / sum(words_i / p_i)   over the tasks with reason blind

and over the speech that is not fit for review, with drafts, the same sum over the tasks with reason audit. Never mix
reasons: `review` says nothing about other calls.

Usefulness, 0..1, orders the work. For review it is the expected gain per minute of work (usefulness/task_worth.py). An
empty transcript comes last, because there is nothing to correct. Blind and audit tasks get 0.5..1 by hash: ahead of
most review, because an unfinished sample measures nothing, and in an order independent of their content, so that the
finished part stays random.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from typing import Any

from ml_backend.labelling import project_rules
from ml_backend.settings import Settings
from ml_backend.usefulness.task_worth import TaskWorth
from ml_backend.views.training_progress import BLIND_AUDIT

LEAST_SPEECH_SHARE = 0.05  # of a channel's frames; above it an empty transcript is audited too: speech may be missed

ALL = "The project reviews every call."
NOTHING_TO_CORRECT = "Nothing was transcribed, so it comes last."
AT_RANDOM = "In an order drawn at random, ahead of most others: an unfinished random sample measures nothing."
ASKED_FOR = "A person put it into the project, so it comes first."
BY_HAND = "by-hand"


@dataclass(frozen=True)
class Policy:
    """The selection settings of one project: its own `selection` over the defaults."""

    review: str = "some"  # or "all"
    min_quality: float = 0.7
    max_confidence: float = 0.9
    audit_share: float = 0.05
    blind_share: float = 0.5
    overlap_share: float = 0.05
    max_open: int = 2000


@dataclass(frozen=True)
class PieceFacts:
    """Facts about a piece. `name` identifies it for the draw: audio SHA-256, project and start.

    `confidence` is 0 for an empty transcript, and `worth` None.
    """

    name: str
    quality: float
    confidence: float
    speech: bool
    worth: TaskWorth | None = None


@dataclass(frozen=True)
class Choice:
    """`reason` is review, audit, blind, all or by-hand; None: no task, and `sentence` says why."""

    reason: str | None
    sentence: str
    code: str = "selected"
    probability: float = 1.0
    usefulness: float = 0.0
    blind: bool = False
    overlap: int = 1
    usefulness_reason: str | None = None
    worth: TaskWorth | None = None


def policy_of(selection: Any, settings: Settings) -> Policy:
    """The policy of a project's `selection` JSON; unknown names and values out of range are ignored."""
    policy = Policy(
        min_quality=settings.review_min_quality,
        max_confidence=settings.review_max_confidence,
        audit_share=settings.audit_share,
        blind_share=settings.blind_share,
        overlap_share=settings.overlap_share,
        max_open=settings.max_open_tasks,
    )
    own = project_rules.selection(selection)
    stated = {field.name: getattr(own, field.name) for field in fields(Policy)}
    return replace(policy, **{name: value for name, value in stated.items() if value is not None})


def choose(policy: Policy, facts: PieceFacts) -> Choice:
    overlap = 2 if draw(facts.name, "overlap") < policy.overlap_share else 1
    worth = facts.worth
    review, its_use = (worth.usefulness, worth.reason) if worth else (0.0, NOTHING_TO_CORRECT)
    everything = policy.review == "all"
    if not facts.speech:
        if everything:
            return Choice("all", ALL, overlap=overlap, usefulness_reason=NOTHING_TO_CORRECT)
        return Choice(None, "It contains no speech.", code="no-speech")
    drawn = draw(facts.name, "audit")
    blind_to = policy.audit_share * policy.blind_share
    yardstick = 0.5 + 0.5 * draw(facts.name, "order")
    if drawn < blind_to:
        why = "Drawn at random from all calls with speech, to be written down without a draft."
        return Choice(BLIND_AUDIT, why, "selected", blind_to, yardstick, True, overlap, AT_RANDOM, worth)
    if everything:
        return Choice("all", ALL, "selected", 1 - blind_to, review, False, overlap, its_use, worth)
    fit = facts.quality > policy.min_quality and facts.confidence < policy.max_confidence
    if fit:
        why = f"Clear audio (quality {facts.quality:.2f}) the model is unsure of (confidence {facts.confidence:.2f})."
        return Choice("review", why, "selected", 1 - blind_to, review, False, overlap, its_use, worth)
    if drawn < policy.audit_share:
        why = "Drawn at random from the calls that are not reviewed."
        share = policy.audit_share - blind_to
        return Choice("audit", why, "selected", share, yardstick, False, overlap, AT_RANDOM, worth)
    if facts.quality <= policy.min_quality:
        why = f"Hard to hear (quality {facts.quality:.2f}, review needs more than {policy.min_quality:g})"
        return Choice(None, f"{why}, and not drawn for the audit.", code="low-quality")
    why = f"The model is sure of it (confidence {facts.confidence:.2f}, review is below {policy.max_confidence:g})"
    return Choice(None, f"{why}, and not drawn for the audit.", code="confident")


def choose_by_hand(name: str, blind_share: float) -> Choice:
    """The decision about a recording that a person put into a project; `blind_share` of them become blind tasks."""
    if draw(name, "by hand") < blind_share:
        why = "Drawn at random from recordings that were added by hand, to be written down without a draft."
        return Choice(
            BLIND_AUDIT,
            why,
            "selected",
            blind_share,
            0.5 + 0.5 * draw(name, "order"),
            blind=True,
            usefulness_reason=AT_RANDOM,
        )
    return Choice(BY_HAND, "Added by hand.", "selected", 1 - blind_share, 1.0, usefulness_reason=ASKED_FOR)


def draw(name: str, purpose: str) -> float:
    """A number in [0, 1), fixed for a piece and purpose, and independent between purposes."""
    digest = hashlib.sha256(f"{purpose}|{name}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
