"""A made-up company: calls in three languages, a model with habits, and people whose time per error is known.

What is planted, and unlike the priors: confidence means something else in each language (Marathi drafts look sure and
are wrong, English ones look unsure and are right), drafts stop paying at 19 % errors, and the calls with the lowest
confidence are hold music and crackle that people reject. A model learns from the errors that were corrected: its WER in
each language and band of noise falls with them, by a power law with a floor.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ml_backend.usefulness.task_worth import WorthFacts, worth_of
from ml_backend.usefulness.team_model import TeamModel
from training.quality.reviews import Review
from training.usefulness.error_worth import Shares
from training.usefulness.team_learning import learn

SHARE = {"hi": 0.55, "mr": 0.30, "en": 0.15}  # of the calls
FIRST_WER = {("hi", "quiet"): 0.22, ("hi", "noisy"): 0.38, ("mr", "quiet"): 0.42, ("mr", "noisy"): 0.55,
             ("en", "quiet"): 0.08, ("en", "noisy"): 0.16}  # fmt: skip
NOISY = 0.3
FLOOR, EXPONENT, HALF = 0.3, 0.5, 2500.0  # of the first WER; errors corrected before it begins to fall
BASE, PER_ERROR, FROM_NOTHING = 1.1, 11.0, 3.2  # minutes per minute of audio: the break-even is at 0.19
JUNK = 0.15


@dataclass
class SimulatedTask:
    """One call. `spread` is how hard it is for its language and band."""

    number: int
    language: str
    band: str
    audio_s: float
    words: int
    spread: float
    luck: float
    junk: bool

    def error(self, team: Team) -> float:
        """The true errors per word of its draft now."""
        return min(0.95, team.wer[self.language, self.band] * self.spread)

    def confidence(self, team: Team) -> float:
        """What the model says: a scale of its own in each language, with noise."""
        if self.junk:
            return min(0.3, max(0.02, 0.12 + self.luck))
        error = self.error(team)
        sure = {"hi": 0.97 - 1.1 * error, "mr": 0.97 - 0.45 * error, "en": 0.62 - 0.6 * error}[self.language]
        return min(0.99, max(0.02, sure + self.luck))


@dataclass
class Team:
    """People at work on one pile of calls."""

    draw: random.Random
    wer: dict[tuple[str, str], float] = field(default_factory=lambda: dict(FIRST_WER))
    corrected: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    annotated_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    reviews: list[Review] = field(default_factory=list)
    minutes: float = 0.0

    def overall(self) -> float:
        """The WER over all calls."""
        return sum(
            SHARE[language] * (NOISY if band == "noisy" else 1 - NOISY) * wer
            for (language, band), wer in self.wer.items()
        )

    def work(self, task: SimulatedTask, *, draft: bool = True) -> float:
        """Annotate one call; returns the minutes it took."""
        error, confidence = task.error(self), task.confidence(self)
        rate = BASE + PER_ERROR * min(error, 0.45) if draft else FROM_NOTHING
        if task.junk:
            rate = 0.6
        took = task.audio_s / 60 * rate * self.draw.lognormvariate(0, 0.2)
        edits = sum(self.draw.random() < error for _ in range(task.words))
        self.reviews.append(
            Review(
                id=len(self.reviews) + 1, project_id=1, task_id=task.number, annotator=1 + task.number % 4,
                audio_s=task.audio_s, lead_time_s=60 * took, language=task.language, model_version="small-1",
                confidence=confidence if draft else None, words=0 if task.junk else task.words,
                word_edits=(0 if task.junk else edits) if draft else None, blind=not draft,
                reject=("no-speech",) if task.junk else (),
            )
        )  # fmt: skip
        self.minutes += took
        if not task.junk:
            self.corrected[task.language, task.band] += edits
            self.annotated_s[task.language] += task.audio_s
            self.annotated_s[task.band] += task.audio_s
        return took

    def train(self) -> None:
        """A new model, which has learnt from all that was corrected."""
        for place, first in FIRST_WER.items():
            falls = (1 + self.corrected[place] / HALF) ** -EXPONENT
            self.wer[place] = first * (FLOOR + (1 - FLOOR) * falls)

    def learnt(self) -> TeamModel:
        """What the product learns from these reviews."""
        bands = {"quiet": 1 - NOISY, "noisy": NOISY}
        calls = {"language": SHARE, "snr": bands}
        annotated = {kind: {name: self.annotated_s[name] for name in names} for kind, names in calls.items()}
        shares = Shares(calls, annotated, 1000, len(self.reviews), {})
        return learn(self.reviews, shares, {})


def pile(seed: int, count: int) -> list[SimulatedTask]:
    """Calls in the order of their arrival."""
    draw = random.Random(seed)
    made = []
    for number in range(1, count + 1):
        language = draw.choices(list(SHARE), list(SHARE.values()))[0]
        audio_s = round(draw.uniform(4, 60), 1)
        made.append(
            SimulatedTask(
                number, language, "noisy" if draw.random() < NOISY else "quiet", audio_s, max(3, round(2.2 * audio_s)),
                draw.lognormvariate(-0.08, 0.4), draw.gauss(0, 0.06), draw.random() < JUNK,
            )
        )  # fmt: skip
    return made


Order = Callable[[Sequence[SimulatedTask], Team], list[SimulatedTask]]


def at_random(tasks: Sequence[SimulatedTask], team: Team) -> list[SimulatedTask]:
    """As they came."""
    return sorted(tasks, key=lambda task: random.Random(task.number).random())


def least_confident(tasks: Sequence[SimulatedTask], team: Team) -> list[SimulatedTask]:
    """What the model is least sure of."""
    return sorted(tasks, key=lambda task: task.confidence(team))


def most_useful(tasks: Sequence[SimulatedTask], team: Team) -> list[SimulatedTask]:
    """By expected gain per minute, as learnt so far."""
    model = team.learnt()
    return sorted(tasks, key=lambda task: gain(model, task, team), reverse=True)


def gain(model: TeamModel, task: SimulatedTask, team: Team) -> float:
    """The usefulness of a task by a model."""
    facts = WorthFacts(
        task.language, task.confidence(team), ("",) * task.words, task.audio_s, slices={"snr": task.band}
    )
    return worth_of(model, facts).usefulness


def minutes_to(target: float, order: Order, *, seed: int, count: int = 6000, at_once: int = 60) -> float:
    """Minutes of work until the WER over all calls is at the target; the first calls are the same for every order."""
    tasks, team = pile(seed, count), Team(random.Random(seed))
    left = tasks[at_once:]
    for task in tasks[:at_once]:
        team.work(task)
    team.train()
    while team.overall() > target:
        if not left:
            raise AssertionError("the pile is done, and the target not reached")
        taken = order(left, team)[:at_once]
        for task in taken:
            team.work(task)
        done = {task.number for task in taken}
        left = [task for task in left if task.number not in done]
        team.train()
    return team.minutes
