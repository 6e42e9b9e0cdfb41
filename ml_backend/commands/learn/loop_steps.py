"""What every part of `learn` needs: its screen, the running demo, commands to run, and waits that end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ml_backend import tables
from ml_backend.commands.demo import progress
from ml_backend.commands.learn import reached
from ml_backend.commands.learn.reached import StoredVerdict
from ml_backend.commands.learn.stack import Stack
from ml_backend.commands.learn.tutor import Tutor
from ml_backend.context import Context
from ml_backend.errors import PermanentError
from ml_backend.jobs import devices, enqueueing
from ml_backend.jobs.job_kinds import JobKind

REFUSED = 3  # exit code of `promote` when the gate refuses
STUCK_AFTER_S = 420.0
LOOK_EVERY_S = 1.0
SoFar = Callable[[], tuple[int, int]]


@dataclass
class LoopSteps:
    """The screen, the demo and its database, for one run of `learn`."""

    tutor: Tutor
    here: Stack
    context: Context
    begun: datetime = field(default_factory=tables.now)

    def runs(self, *arguments: str, codes: tuple[int, ...] = (0,), changed: Mapping[str, str] | None = None) -> None:
        """Show a command and run it."""
        self.tutor.runs(self.here.env_file, *arguments, codes=codes, changed=changed)

    def job(self, kind: JobKind, project_id: int) -> None:
        """Have a job of a project done now, which its schedule does within five minutes."""
        with self.context.db.transaction() as connection:
            enqueueing.enqueue(connection, kind, key=str(project_id), project_id=project_id)

    def project(self, title: str, config: str) -> Any:
        """The project of this title, made where it is missing."""
        if (found := reached.project(self.context, title)) is not None:
            self.tutor.there(f"project {found.ls_project_id}, {found.title}.")
            return found
        self.runs("project", "create", "--config", config, "--title", title)
        if (found := reached.project(self.context, title)) is None:
            raise PermanentError("no-project", f"The project {title} is not there.", "See `project list`.")
        return found

    def trained(self, dataset_id: int, *command: str) -> Any:
        """The version that a run on a dataset made; a run that was interrupted is resumed."""
        run = reached.run(self.context, dataset_id)
        if run is not None and (found := reached.version(self.context, run.id)) is not None:
            self.tutor.there(f"run {run.id} made {found.version}.")
            return found
        if run is not None and run.state != "done":
            self.wait_for_device()
            self.runs("train", "resume", str(run.id))
        else:
            self.runs("train", *command)
        run = reached.run(self.context, dataset_id)
        found = reached.version(self.context, run.id) if run is not None else None
        if found is None:
            step = "`python -m ml_backend train list` says why. The same command trains anew."
            raise PermanentError("no-version", "The training run made no version.", step)
        return found

    def judged(
        self, version: Any, dataset: str, *, notes: Sequence[str] = (), changed: Mapping[str, str] | None = None
    ) -> StoredVerdict:
        """The gate's verdict on a version; a better one is promoted. `notes` explain the settings that are changed."""
        found = reached.verdict(self.context, version.id)
        serves = reached.champion(self.context, version.kind) == version.version
        back = version.rolled_back_at is not None
        if found is not None and (serves or back or found.outcome != "better"):
            self.tutor.there(f"{version.version} was judged: {found.outcome}{', and was rolled back' * back}.")
            return found
        self.wait_for_device()
        self.runs("evaluate", version.version, "--dataset", dataset)
        for sentence in notes:
            self.tutor.say(sentence)
        self.runs("promote", version.version, "--dataset", dataset, codes=(0, REFUSED), changed=changed)
        if (found := reached.verdict(self.context, version.id)) is None:
            raise PermanentError("no-verdict", "There is no verdict.", f"See `models show {version.version}`.")
        return found

    def led_to_a_verdict(self, dataset: Any) -> bool:
        """Whether a dataset already did."""
        run = reached.run(self.context, dataset.id)
        version = reached.version(self.context, run.id) if run is not None else None
        return version is not None and reached.verdict(self.context, version.id) is not None

    def wait_for_device(self) -> None:
        """Wait for the device: a killed run holds it for a minute longer."""

        def so_far() -> tuple[int, int]:
            with self.context.db.reading() as connection:
                return (0 if devices.is_training(connection) else 1), 1

        if so_far() != (1, 1):
            self.wait(so_far, "other training has ended")

    def wait(self, so_far: SoFar, what: str) -> None:
        """Wait until all are done and report the progress; an error when nothing changes for long."""
        moved, before, shown = time.monotonic(), -1, set[str]()
        while True:
            for line in self.here.news():
                self.tutor.say(line)
            done, of = so_far()
            self.tutor.now(f"{done} of {of} {what}")
            if done >= of:
                self.tutor.say(f"{done} of {of} {what}.")
                return
            for sentence in progress.gave_up(self.context.db, self.begun):
                if sentence not in shown:
                    shown.add(sentence)
                    self.tutor.say(sentence)
            if done != before:
                moved, before = time.monotonic(), done
            if time.monotonic() - moved > STUCK_AFTER_S:
                raise PermanentError(
                    "learn-stuck",
                    f"No progress for {STUCK_AFTER_S / 60:.0f} minutes: {done} of {of} {what}.",
                    "`python -m ml_backend status` says what is wrong.",
                )
            if self.here.mine is not None and self.here.mine.poll() is not None:
                raise PermanentError("demo-ended", "The demo has ended.", f"Its output: {self.here.log}")
            time.sleep(LOOK_EVERY_S)
