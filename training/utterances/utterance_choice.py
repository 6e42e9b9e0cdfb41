"""Candidates with their parses -> those that people should be asked about first. Pure.

A correction teaches most where the parser is unsure and where little is known yet. So a candidate's worth is the sum of

    uncertainty   1 - (probability of the likeliest intent - that of the second)
    rarity        of its intent, of its language and of its wording: half of 1 / sqrt(1 + how many there are)

and each choice makes its intent, language and wording less rare, so that a run does not bring fifty rewordings of one
question. A share is drawn by hash instead, whatever it is worth: else everything checked would be unusually hard, and
the figures of a test on it too low. No caller has more than a few utterances with people at a time.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from training.datasets import splits

CHANCE_SHARE = 0.2  # of the places are drawn by hash
RARITY = 0.5


@dataclass(frozen=True)
class UtteranceCandidate:
    """One thing a customer said, as it would be stored. `margin` is between the two likeliest intents."""

    name: str  # unique, and the same in every run
    text: str
    intent: str
    language: str | None
    group: str  # equal for rewordings of one sentence
    caller: str
    margin: float


@dataclass
class KnownUtterances:
    """How many utterances there are already, by what makes another one worth less."""

    intents: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    callers: Counter[str] = field(default_factory=Counter)  # those that wait for a person

    def add(self, one: UtteranceCandidate) -> None:
        self.intents[one.intent] += 1
        self.languages[one.language or ""] += 1
        self.groups[one.group] += 1
        self.callers[one.caller] += 1

    def worth(self, one: UtteranceCandidate) -> float:
        counts = (self.intents[one.intent], self.languages[one.language or ""], self.groups[one.group])
        return 1 - one.margin + sum(RARITY / math.sqrt(1 + number) for number in counts)


def choose(
    found: Sequence[UtteranceCandidate], known: KnownUtterances, *, room: int, per_caller: int
) -> list[UtteranceCandidate]:
    """At most `room` of them, the most valuable first. `known` is brought up to date."""
    chosen: dict[str, UtteranceCandidate] = {}

    def take(one: UtteranceCandidate) -> None:
        if one.name not in chosen and known.callers[one.caller] < per_caller:
            chosen[one.name] = one
            known.add(one)

    drawn = sorted(found, key=lambda one: splits.position(f"chance|{one.name}"))
    for one in drawn:
        if len(chosen) >= round(CHANCE_SHARE * room):
            break
        take(one)
    waiting = [(-known.worth(one), one.name) for one in found]
    heapq.heapify(waiting)
    by_name: Mapping[str, UtteranceCandidate] = {one.name: one for one in found}
    while waiting and len(chosen) < room:
        worth, name = heapq.heappop(waiting)
        now = -known.worth(by_name[name])
        if now > worth + 1e-9:  # others were chosen meanwhile; it only falls, so the first that is current is the best
            heapq.heappush(waiting, (now, name))
        else:
            take(by_name[name])
    return list(chosen.values())
