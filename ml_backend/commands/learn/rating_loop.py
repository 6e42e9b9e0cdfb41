"""The third part of `learn`: what the bundled voice says, beside recordings -> ratings by people -> how good it is.

Only the people who listen are simulated (`sync.demo.simulated_listeners`): their scores are drawn, and say nothing
about the voice. One of them does not listen, and the hidden anchors show it. No voice is trained here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_backend.commands.command_line import named
from ml_backend.commands.demo import progress
from ml_backend.commands.learn import ending, reached
from ml_backend.commands.learn.ending import KindEnding, Line
from ml_backend.commands.learn.loop_steps import LoopSteps
from ml_backend.jobs import job_kinds

TITLE = "Kaan learn voice"
RECORDINGS = Path(__file__).resolve().parents[2] / "bundled" / "rating"
LIST = "list.csv"
STEPS = 3
SENTENCES, SHORT_SENTENCES = 4, 2
LISTENERS = 7  # six whose scores count, and one who does not listen
AXIS = "naturalness"


class RatingLoop:
    """The steps of a voice, in order."""

    def __init__(self, steps: LoopSteps, *, short: bool) -> None:
        self._steps = steps
        number = SHORT_SENTENCES if short else SENTENCES
        text = (RECORDINGS / LIST).read_text(encoding="utf-8")
        rows, _ = named("training.voices.studio:read_list")(text)
        self._said = rows[:number]

    def all(self) -> KindEnding:
        """Run the steps, or find them done."""
        steps = self._steps
        with steps.tutor.step(
            "A voice",
            "The bundled voice says what a recorded one says; a worse copy of each recording is hidden among them.",
        ):
            self._bring_in()
        with steps.tutor.step(
            "Listeners", f"Simulated here: {LISTENERS} people rate each clip, blind. One of them does not listen."
        ):
            project = steps.project(TITLE, "tts")
            self._rate(project)
        with steps.tutor.step("What they think", "Mean opinion scores, and how sure they are."):
            steps.runs("ratings", "summary", "--project", str(project.ls_project_id))
        found = named("training.voices.rating_rows:of_project")(steps.context.db, project.id)
        look = ending.address(steps.here, project, self._tasks(project)[:1], "listen, and rate it too")
        return KindEnding(
            title="The voice", heading=f"{AXIS.capitalize()} from 1 to 5, as people rated it blind:",
            lines=self._scores(found), verdict_on="the bundled voice", words=self._verdict(found), places=(look,),
        )  # fmt: skip

    def _bring_in(self) -> None:
        steps, keys = self._steps, len(self._said)
        if reached.clips(steps.context)["degraded"] >= keys:
            steps.tutor.there("the clips.")
            return
        steps.runs("voices", "import", str(self._folder()))
        for row in self._said:
            steps.runs("speak", row.text, "--language", row.language, "--keep")
        steps.runs("sync", "objects", "--full", "--bucket", steps.context.settings.tts_prompts.partition("/")[0])
        self._checked("reference", "own")
        steps.runs("ratings", "anchors", "--count", str(keys))
        self._checked("reference", "own", "degraded")

    def _folder(self) -> Path:
        """The recordings and their list, only as many as are used."""
        folder = self._steps.here.folder / "learn" / "recordings"
        folder.mkdir(parents=True, exist_ok=True)
        lines = (RECORDINGS / LIST).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / LIST).write_text("".join(lines[: 1 + len(self._said)]), encoding="utf-8")
        for row in self._said:
            (folder / row.file).write_bytes((RECORDINGS / row.file).read_bytes())
        return folder

    def _checked(self, *roles: str) -> None:
        """Wait until the clips of these roles passed the checks."""
        steps, wanted = self._steps, len(self._said)
        collect = named("training.voices.clip_collection:collect")

        def so_far() -> tuple[int, int]:
            collect(steps.context)
            found = reached.clips(steps.context)
            return sum(min(found[role], wanted) for role in roles), wanted * len(roles)

        steps.tutor.shows("voices", "collect")
        steps.wait(so_far, "clips passed the checks")

    def _tasks(self, project: Any) -> list[Any]:
        return reached.rated_tasks(self._steps.context, project.id)

    def _rate(self, project: Any) -> None:
        steps, wanted = self._steps, 3 * len(self._said)

        def so_far() -> tuple[int, int]:
            return sum(progress.delivered(row) for row in self._tasks(project)), wanted

        if so_far()[0] < wanted:
            steps.job(job_kinds.FEED_RATINGS, project.id)
        steps.wait(so_far, "clips are tasks, in an order by chance")
        new = 0
        for done in named("sync.demo.simulated_listeners:rate")(steps.context, project.id, LISTENERS):
            new += bool(done.what)
            steps.tutor.now(f"{done.number} of {done.of} ratings")
        if not new:
            steps.tutor.there("the ratings.")
        votes = wanted * LISTENERS
        steps.wait(lambda: (min(votes, reached.ratings(steps.context, project.id)), votes), "ratings came back")

    def _scores(self, found: dict[str, Any]) -> list[Line]:
        """One line for each voice, with its interval, and the worse copies."""
        lines = [(str(one["version"]), one["axes"][AXIS]) for one in found["versions"]]
        lines.append(("worse copies of the recordings", found["anchors"]["degraded"][AXIS]))
        return [("rated", f"{name}: {_figure(one)}") for name, one in lines if one is not None]

    def _verdict(self, found: dict[str, Any]) -> Sequence[str]:
        target, train = found["target"], "`voices import FOLDER`, `export voices`, `train tts --dataset voices`"
        own = [one for one in found["versions"] if one["version"] != "studio"]
        met = any(one["met"] for one in own)
        every, out = "Every" if met else "Not every", len(found["left_out"])
        return (
            f"{every} score is at least {target:g} at its lower bound. {found['raters']} people count; {out} rated the "
            "worse copies as high as the recordings and is left out.",
            f"A voice of your own needs 150 recordings or more: {train} (a few minutes), then the same ratings decide.",
        )


def _figure(one: dict[str, Any]) -> str:
    if one["low"] is None:
        return f"{one['mean']:.2f}"
    return f"{one['mean']:.2f}, with 95 % confidence between {one['low']:.2f} and {one['high']:.2f}"
