"""The result of `learn`: for each kind of model what changed, the verdict, its plot, and where to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from ml_backend.commands import printing
from ml_backend.commands.command_line import named
from ml_backend.commands.learn import reached
from ml_backend.commands.learn.new_calls import NewCall
from ml_backend.commands.learn.stack import Stack
from ml_backend.context import Context

SENTENCES = 3
MARGIN_S = 0.25  # a word may be this much before or after its phrase
PAGE, REPORT, PLOT = "report.md", "report.json", "slices.svg"
Line = tuple[str, str]


@dataclass(frozen=True)
class KindEnding:
    """What one kind of model shows at the end: `heading` and `lines`, then the verdict, then where things are.

    `promoted` is None where nothing was to be promoted.
    """

    title: str
    heading: str
    lines: Sequence[Line]
    verdict_on: str
    words: Sequence[str]
    places: Sequence[Line]
    promoted: bool | None = None


@dataclass(frozen=True)
class SentenceChange:
    """One sentence of an unannotated call as both versions transcribed it, with the wrong words of each."""

    said: str
    before: str
    after: str
    wrong_before: int
    wrong_after: int
    words: int

    @property
    def gained(self) -> int:
        return self.wrong_before - self.wrong_after


def show(console: Console, here: Stack, kinds: Sequence[KindEnding], *, user: str) -> None:
    """Print the results of all kinds, and once what is common to them."""
    for number, kind in enumerate(kinds, 1):
        console.print(f"\n[bold]{number}. {kind.title}.[/] {escape(kind.heading)}")
        _lines(console, kind.lines)
        console.print(f"[bold]The verdict[/] on {escape(kind.verdict_on)}:")
        for sentence in kind.words:
            console.print(f"  {sentence}", markup=False)
        _lines(console, kind.places)
    promoted = any(kind.promoted for kind in kinds)
    back = printing.runnable(f'{printing.PROGRAM} rollback --why "only trying"')
    console.print("")
    _lines(console, (
        ("log in", f"{user}, password {here.password}"),
        ("next", printing.runnable(f"{printing.PROGRAM} models list")),
        ("", back if promoted else ""),
    ))  # fmt: skip


def in_words(verdict: reached.StoredVerdict, *, promoted: bool) -> list[str]:
    """The sentences of a verdict."""
    stays = f"{verdict.champion} stays the champion; a refusal is the gate's job."
    return [*verdict.words, *([] if promoted else [stays])]


def of_report(context: Context, here: Stack, verdict: reached.StoredVerdict) -> list[Line]:
    """Where the plot and the report of a verdict are."""
    folder = verdict.report_key.removesuffix(f"/{REPORT}")
    place = Path(here.folder) / "objects" / context.settings.audio_bucket / folder
    return [("plot", str(place / PLOT)), ("report", str(place / PAGE))]


def before_and_after(what: str, *, promoted: bool) -> str:
    """The heading of what changed; nothing did where the champion stays."""
    return f"{SENTENCES} {what}, those that changed most:" if promoted else "Nothing changes: the champion stays."


def look_at(here: Stack, project: Any, rows: Sequence[Any], *, promoted: bool) -> Line:
    """The address of the first open task, whose draft is by the version that serves."""
    note = "the draft is the new model's; correct it, Submit" if promoted else "the draft is the champion's"
    return address(here, project, [row for row in rows if row.state == "open"], note)


def address(here: Stack, project: Any, rows: Sequence[Any], note: str) -> Line:
    """The address of the first of these tasks, or of the project where there is none."""
    task = next((f"?task={row.ls_task_id}" for row in rows), "")
    return "look at", f"{here.label_studio_url}/projects/{project.ls_project_id}/data{task}  ({note})"


def of_changes(found: Sequence[SentenceChange]) -> list[Line]:
    """The sentences that changed most, as both versions transcribed them."""
    lines: list[Line] = []
    for one in sorted(found, key=lambda one: (-one.gained, one.said))[:SENTENCES]:
        lines += [("said", one.said), ("before", one.before or "(nothing)"), ("after", one.after or "(nothing)")]
    if found:
        before, after = sum(one.wrong_before for one in found), sum(one.wrong_after for one in found)
        words = sum(one.words for one in found)
        lines.append(("in all", f"{before} of {words} words were wrong before, {after} are now."))
    return lines


def changes(
    context: Context, rows: Sequence[Any], calls: Mapping[str, NewCall], *, before: str, after: str
) -> list[SentenceChange]:
    """Every sentence of these calls as both versions transcribed it."""
    count = named("training.scoring.error_counts:count")
    reading = named("training.text.readings:INDIC")
    sha256s = [row.sha256 for row in rows]
    was, now = reached.transcribed(context, sha256s, before), reached.transcribed(context, sha256s, after)
    found = []
    for row in rows:
        if row.sha256 not in was or row.sha256 not in now:
            continue
        language = calls[row.object_key].row["language"]
        for phrase in calls[row.object_key].row["phrases"]:
            texts = [within(transcript, phrase) for transcript in (was[row.sha256], now[row.sha256])]
            counted = [count(phrase["text"], text, normaliser=reading, language=language) for text in texts]
            wrong = [one.word_edits.total for one in counted]
            found.append(SentenceChange(phrase["text"], texts[0], texts[1], wrong[0], wrong[1], counted[0].words))
    return found


def within(transcript: Mapping[str, Any], phrase: Mapping[str, Any]) -> str:
    """The words of a transcript whose middle lies within the time of a phrase."""
    begin, end = float(phrase["start_s"]) - MARGIN_S, float(phrase["end_s"]) + MARGIN_S
    words = [word for segment in transcript["segments"] for word in segment["words"]]
    return " ".join(
        str(word["text"]).strip() for word in words if begin <= (word["start_s"] + word["end_s"]) / 2 < end
    ).strip()


def _lines(console: Console, lines: Sequence[Line]) -> None:
    """Print names and values in lines; a path or an address is never cut."""
    for name, value in lines:
        if value:
            console.print(f"[dim]{name:<8}[/] {escape(value)}")
