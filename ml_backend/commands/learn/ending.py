"""The result: three sentences before and after, the verdict, its plot, and where to look in Label Studio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape

from ml_backend.commands import printing
from ml_backend.commands.command_line import named
from ml_backend.commands.learn import reached
from ml_backend.commands.learn.new_calls import NewCall
from ml_backend.commands.learn.stack import Stack
from ml_backend.commands.learn.tutor import Tutor
from ml_backend.context import Context

SENTENCES = 3
MARGIN_S = 0.25  # a word may be this much before or after its phrase
PAGE, REPORT, PLOT = "report.md", "report.json", "slices.svg"


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


def show(
    tutor: Tutor,
    context: Context,
    here: Stack,
    verdict: reached.StoredVerdict,
    *,
    version: str,
    promoted: bool,
    project: Any,
    rows: Sequence[Any],
    calls: Mapping[str, NewCall],
    user: str,
) -> None:
    """Print the result."""
    console = tutor.console
    found = changes(context, rows, calls, before=verdict.champion, after=version) if promoted else []
    if found:
        words = sum(one.words for one in found)
        console.print(f"\n[bold]{SENTENCES} sentences of unannotated calls[/], those that changed most:")
        for one in sorted(found, key=lambda one: (-one.gained, one.said))[:SENTENCES]:
            _lines(
                console, ("said", one.said), ("before", one.before or "(nothing)"), ("after", one.after or "(nothing)")
            )
        before, after = sum(one.wrong_before for one in found), sum(one.wrong_after for one in found)
        console.print(f"In all of them {before} of {words} words were wrong before, {after} are now.", markup=False)
    console.print(f"\n[bold]The verdict[/] on {version}:")
    for sentence in verdict.words:
        console.print(f"  {sentence}", markup=False)
    if not promoted:
        console.print(f"  {verdict.champion} stays the champion; a refusal is the gate's job.", markup=False)
    console.print("")
    folder = verdict.report_key.removesuffix(f"/{REPORT}")
    place = here.folder / "objects" / context.settings.audio_bucket / folder
    task = next((row.ls_task_id for row in rows if row.state == "open"), None)
    url = f"{here.label_studio_url}/projects/{project.ls_project_id}/data"
    _lines(
        console,
        ("plot", str(place / PLOT)),
        ("report", str(place / PAGE)),
        ("look at", url + (f"?task={task}" if task else "") + "  (the draft is the new model's; correct it, Submit)"),
        ("log in", f"{user}, password {here.password}"),
        ("next", printing.runnable(f"{printing.PROGRAM} models show {version}")),
        ("", printing.runnable(f'{printing.PROGRAM} rollback --why "only trying"')) if promoted else ("", ""),
    )


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


def _lines(console: Console, *pairs: tuple[str, str]) -> None:
    """Print names and values in lines; a path or an address is never cut."""
    for name, value in pairs:
        if value:
            console.print(f"[dim]{name:<8}[/] {escape(value)}")
