"""The kinds of model, and what each brings to the one loop: plain functions behind one interface (design D13).

Runs, registry, gate, experiments, schedules and commands are written once and ask the kind for what differs. KINDS
holds the dotted path of each kind as text, like the table of job kinds, because the kernel imports neither `sync` nor
`training`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_backend.errors import InvalidInput
from ml_backend.models import manifest

ASR, NLU, TTS = "asr", "nlu", "tts"
KINDS = {
    ASR: "training.kinds.asr_kind:KIND",
    NLU: "training.kinds.nlu_kind:KIND",
    TTS: "training.kinds.tts_kind:KIND",
}
_SHIPPED = Path(__file__).parents[1] / "bundled"
BUNDLED = {ASR: _SHIPPED / "model", NLU: _SHIPPED / "nlu", TTS: _SHIPPED / "tts"}
"""The folder of the model that ships, which serves until another is promoted."""
Line = dict[str, Any]  # of a dataset's manifest
Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Scored:
    """What a kind found on a test set: `scores` for people, `rows` (one per test row) for paired comparisons."""

    scores: dict[str, Any]
    rows: Sequence[Any]


@dataclass(frozen=True, slots=True)
class ExploredLine:
    """One row of an evaluation, for people who look at its errors. What has a reading's name:

    `counts`: words, wrong words, characters and wrong characters, as the scores have them. `edits`: how many words were
    replaced, left out and put in. `steps`: how the two texts differ (`training/scoring/alignment.py`).
    `counted`: whether the scores include it. `words`: by which it is found. A row whose texts were erased keeps its
    counts.
    """

    id: str
    reference: str
    hypothesis: str
    counts: Mapping[str, tuple[int, int, int, int]]
    edits: Mapping[str, tuple[int, int, int]]
    steps: Mapping[str, list[list[str]]]
    words: frozenset[str] = frozenset()
    audio_sha256: str | None = None
    language: str | None = None
    detected_language: str | None = None
    duration_s: float | None = None
    weight: float = 1.0
    counted: bool = True
    slices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FigureTable:
    """A table of scores for people; the first column is a name, the others are figures."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class KindVerdict:
    """May a candidate replace the champion? `words` says why, its first sentence alone; `numbers` go into the history,
    `body` into the report, with the key `verdict` for what other programs read."""

    outcome: str  # better, worse, equal, cannot-tell, vetoed
    words: tuple[str, ...]
    numbers: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    detail: Any = None  # the kind's own value, for its own room

    @property
    def passed(self) -> bool:
        return self.outcome == "better"


def same_interpreter(settings: Any, plan: Mapping[str, Any]) -> list[str]:
    """The Python that runs this process."""
    return [sys.executable]


@dataclass(frozen=True)
class Kind:
    """One kind of model. Functions of a training run get its row; `Line` is a line of a dataset's manifest."""

    name: str

    # samples and datasets
    dataset: str
    """The name of the dataset that the schedule exports."""
    new_samples: Callable[[Any, Any], tuple[int, Any]]
    """(connection, mark) -> (accepted samples since the mark, when the newest was accepted)"""
    why_none: Callable[[Any], str]
    """connection -> why there are no new samples, as a sentence"""
    lines: Callable[[Any, Any], Iterator[Any]]
    """(connection, filters) -> `ManifestLine`s, accepted and excluded, in the order of the manifest"""
    order: Callable[[Line], tuple[Any, ...]]
    """The sort key of lines."""
    forms: Mapping[str, str]
    """Forms of a dataset and what they are; the first is the usual one."""
    render: Callable[..., dict[str, Any]]
    """(context, form, manifest, folder, rows=, report=) -> {"files": [...]}: renders a form and stores it"""
    counted_by: tuple[str, ...]
    """The fields of a line by which a dataset's rows are counted."""

    # training
    trainer: str
    """The module that `python -m` starts with the run's folder; a plan may name another one (`trainer`)."""
    options: Callable[[dict[str, Any]], Any]
    """JSON -> the options of a run, with `to_json()`; InvalidInput for unknown names and impossible values."""
    prepare: Callable[..., None]
    """(context, row, workspace, note) fills the folder of a run: plan and rows. `note(**values)` writes to the row."""
    require_worth: Callable[[dict[str, Any]], None]
    """Refuses the trainer's result when it is not better than its base, or is served otherwise than trained."""
    settings_prefix: str
    """The trainer's process gets the settings that begin so, and no other: it needs no secret."""
    threshold: Callable[[Any], int]
    """settings -> new samples that start a run"""

    # scores and gate
    score: Callable[..., Scored]
    """(context, version, lines, report) -> Scored, with the serving engine"""
    read_rows: Callable[[bytes], Sequence[Any]]
    write_rows: Callable[[Sequence[Any]], bytes]
    readings: tuple[str, ...]
    """The versions of the scores' readings: scores are comparable where these are equal."""
    conditions: Callable[[Any], dict[str, Any]]
    """context -> what else must be equal for scores to be comparable"""
    judge: Callable[..., KindVerdict]
    """(context, champion, candidate, before, now, language, report) -> KindVerdict"""
    figures: Callable[[dict[str, Any]], Iterator[str | FigureTable]]
    """scores -> sentences and tables for the terminal"""
    headline: Callable[[dict[str, Any]], str]
    """scores -> the one figure that stands for a version in a list, such as `12.3 words wrong of 100`"""
    page: Callable[[dict[str, Any]], str]
    """A report's body -> Markdown"""
    plot: Callable[[dict[str, Any]], bytes]
    """A report's body -> SVG"""

    # serving
    check: Callable[[Any, Path], None]
    """(settings, folder): loads a version with the serving engine; raises where it cannot be served"""
    explored: Callable[..., Iterator[ExploredLine]] | None = None
    """(context, version, rows, scores) -> the rows of an evaluation for people who look at errors, in their order"""
    without_texts: Callable[..., Sequence[Any]] | None = None
    """(rows, recordings, ids) -> the rows, without the texts of these recordings and of these lines"""
    ready: Callable[..., None] | None = None
    """(context, report): what must be done before samples are read for a dataset"""
    with_public: Callable[..., Any] | None = None
    """(context, written, filters, folder) -> the manifest with public rows"""
    interpreter: Callable[[Any, Mapping[str, Any]], list[str]] = same_interpreter
    """(settings, plan) -> the command that runs Python for the trainer"""
    packages: tuple[str, ...] = ()
    """What the trainer's process needs in this environment."""
    optional: bool = True
    """Whether not every installation uses this kind: then no refusal to train is kept while it has no sample."""
    in_experiments: bool = False
    """Whether a version that passed the gate gets a share of the traffic (EXPERIMENT_SHARE) first."""
    after_promotion: str = ""
    """What a person does next when another version serves, as a sentence with the command."""
    test_set_missing: tuple[str, str] = ("There is no dataset with test rows.", "Export one with checked samples.")


def names() -> tuple[str, ...]:
    return tuple(KINDS)


def of(name: str) -> Kind:
    """The kind of this name; InvalidInput `unknown-kind` lists the known ones."""
    path = KINDS.get(name)
    if path is None:
        raise InvalidInput("unknown-kind", f"There is no kind of model {name[:40]!r}.", f"Known: {', '.join(KINDS)}.")
    module, _, attribute = path.partition(":")
    found: Kind = getattr(importlib.import_module(module), attribute)
    return found


def require(version: Any, kind: str) -> None:
    """PermanentError `wrong-kind` for a version that is used for what another kind does."""
    if version.kind != kind:
        raise manifest.wrong_kind(version.version, version.kind, kind)
