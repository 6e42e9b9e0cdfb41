"""The second part of `learn`: utterances of a new domain -> drafts, corrections, a parser, a verdict, better drafts.

A company's table knows the new intents; twenty of its rows nobody has checked. Only the people who correct those are
simulated (`sync.demo.utterance_annotators`). Utterances that come in after the training show what became better.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_backend.commands.command_line import named
from ml_backend.commands.demo import progress
from ml_backend.commands.learn import ending, reached
from ml_backend.commands.learn.ending import KindEnding, Line
from ml_backend.commands.learn.loop_steps import LoopSteps
from ml_backend.jobs import job_kinds
from ml_backend.models import kinds

TITLE, DATASET = "Kaan learn intents", "learn-intents"
STEPS = 5
TRAINING_STEPS = 250


class UtteranceLoop:
    """The steps of intents, in order."""

    def __init__(self, steps: LoopSteps) -> None:
        self._steps = steps
        self._table = named("training.demo_intents.learning_table:table")()
        self._asked = [row.text for row in self._table.asked]
        self._later = {row.text: row.intent for row in self._table.later}

    def all(self) -> KindEnding:
        """Run the steps, or find them done."""
        steps = self._steps
        checked = len(self._table.rows) - len(self._asked)
        with steps.tutor.step(
            "Utterances", f"A table of {checked} labelled utterances, and {len(self._asked)} that nobody has checked."
        ):
            self._bring_in("utterances", self._table.rows, self._asked)
        with steps.tutor.step(
            "Intents in Label Studio", "The serving parser drafts intent and entities of what nobody has checked."
        ):
            project = steps.project(TITLE, "nlu")
            self._drafted(project, self._asked)
        with steps.tutor.step("People", "Simulated here: they correct intents and mark entities, with human mistakes."):
            self._annotate(project)
        with steps.tutor.step(
            "A parser", "Trained on the table and the corrections, judged on wordings that neither parser has learnt."
        ):
            dataset_id = self._export()
            version = steps.trained(
                dataset_id, "nlu", "--dataset", DATASET, "--base", "champion", "--steps", str(TRAINING_STEPS)
            )
            self._bring_in("later", self._table.later_rows, list(self._later))
            self._drafted(project, list(self._later))
            verdict = steps.judged(version, DATASET)
        promoted = reached.champion(steps.context, kinds.NLU) == version.version
        with steps.tutor.step("Better drafts", "Open utterances are drafted anew by the parser that serves now."):
            if promoted:
                self._drafted(project, list(self._later), by=version.version)
            else:
                steps.tutor.say("Nothing to do: the champion stays.")
        rows = reached.asked(steps.context, project.id, list(self._later))
        return KindEnding(
            title="Intents", heading=ending.before_and_after("utterances that nobody has annotated", promoted=promoted),
            lines=self._changes(rows, verdict.champion, version.version) if promoted else (),
            verdict_on=version.version, words=ending.in_words(verdict, promoted=promoted),
            places=(
                *ending.of_report(steps.context, steps.here, verdict),
                ending.look_at(steps.here, project, rows, promoted=promoted),
            ),
            promoted=promoted,
        )  # fmt: skip

    def _bring_in(self, name: str, rows: Sequence[dict[str, Any]], texts: Sequence[str]) -> None:
        path = self._file(name)
        if reached.utterances_there(self._steps.context, texts) == len(texts) and path.is_file():
            self._steps.tutor.there(f"{len(rows)} utterances of {path.name}.")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        self._steps.runs("nlu", "import", str(path))

    def _file(self, name: str) -> Path:
        return self._steps.here.folder / "learn" / f"{name}.jsonl"

    def _drafted(self, project: Any, texts: Sequence[str], *, by: str = "") -> None:
        """Wait until these utterances are tasks with a draft: of any version, or of one."""

        def so_far() -> tuple[int, int]:
            rows = reached.asked(self._steps.context, project.id, texts)
            right = [row for row in rows if row.state != "open" or row.blind or not by or row.model_version == by]
            return sum(progress.delivered(row) for row in right), len(texts)

        if not by and so_far()[0] < len(texts):
            self._steps.job(job_kinds.FEED_UTTERANCES, project.id)

        self._steps.wait(so_far, "utterances are tasks with their drafts")

    def _annotate(self, project: Any) -> None:
        steps, counted = self._steps, dict[str, int]()
        for done in named("sync.demo.utterance_annotators:annotate")(steps.context, project.id, self._table.asked):
            if done.what:
                counted[done.what] = counted.get(done.what, 0) + 1
            steps.tutor.now(f"{done.number} of {done.of} utterances annotated")
        for what, number in counted.items():
            steps.tutor.say(f"{number} utterances: {what}")
        if not counted:
            steps.tutor.there("the annotations.")
        wanted = len(self._asked)
        steps.wait(lambda: (reached.corrections(steps.context, project.id), wanted), "corrections came back")

    def _export(self) -> int:
        found = reached.dataset(self._steps.context, DATASET)
        if found is not None:
            self._steps.tutor.there(f"{found.name} version {found.version}, {found.counts['rows']} rows.")
            return int(found.id)
        self._steps.runs("export", DATASET, "--kind", kinds.NLU)
        found = reached.dataset(self._steps.context, DATASET)
        assert found is not None  # noqa: S101 - `export` ended well
        return int(found.id)

    def _changes(self, rows: Sequence[Any], before: str, after: str) -> list[Line]:
        """The intents of both versions' drafts, those first that changed for the better."""
        drafts = reached.drafted_intents(self._steps.context, [row.id for row in rows], (before, after))
        found = []
        for row in rows:
            right, (was, now) = (
                self._later[row.data_value],
                (drafts.get((row.id, name), "") for name in (before, after)),
            )
            found.append(((was == right) - (now == right), row.data_value, right, was, now))
        lines: list[Line] = []
        for _, said, right, was, now in sorted(found)[: ending.SENTENCES]:
            lines += [("said", f"{said}  = {right}"), ("before", was or "(nothing)"), ("after", now or "(nothing)")]
        wrong = [sum(one[place] != one[2] for one in found) for place in (3, 4)]
        lines.append(("in all", f"{wrong[0]} of {len(found)} intents were wrong before, {wrong[1]} are now."))
        return lines
