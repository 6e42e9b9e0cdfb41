"""`learn`: calls of a new domain -> drafts, corrections, samples, dataset, model, verdict, better drafts.

Every step is a documented command, shown before it runs, or a wait for the workers of the demo. A step first reads the
rows, so a stopped or killed run continues where it ended, and a finished one prints its result. Only the annotators are
simulated (`sync.demo.simulated_annotators`).
"""

from __future__ import annotations

import importlib
import importlib.util
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from ml_backend import settings, tables
from ml_backend.commands import printing
from ml_backend.commands.command_line import named
from ml_backend.commands.demo import progress
from ml_backend.commands.demo.home import USER
from ml_backend.commands.learn import ending, new_calls, reached, stack
from ml_backend.commands.learn.new_calls import NewCall
from ml_backend.commands.learn.stack import Stack
from ml_backend.commands.learn.tutor import Tutor
from ml_backend.context import Context, open_context
from ml_backend.errors import ConfigurationError, PermanentError
from ml_backend.jobs import devices

TITLE, DATASET = "Kaan learn", "learn"
BLIND_SHARE = 0.35  # so that the test set is enough for a verdict under the usual rules
LEFT_OPEN = 8  # calls of the new domain that stay unannotated: their drafts show the gain
SHORT = 130  # calls with --short
STEPS = 10
MOST = 0.8  # of the accepted samples: a dataset with more than this share is not exported again
REFUSED = 3  # exit code, as of `promote`
STUCK_AFTER_S = 420.0
LOOK_EVERY_S = 1.0
# What suits the small bundled model, found by experiment; a published Whisper needs none of them.
TRAINING = (
    "--learning-rate", "4e-4", "--batch-s", "28", "--average", "-1", "--patience", "0", "--option", "noise_share=0.1",
    "--option", "several_share=0", "--option", "timestamped_share=0.25", "--option", "masks=0",
    "--option", "tempo=0.06", "--option", "validate_every=60", "--option", "validation_clips=80",
)  # fmt: skip
GATE = {"PROMOTION_SPEED_RATIO": "2.5"}  # decoding is retried where a model is unsure, as after a short training
TRAINING_STEPS, SHORT_STEPS = 400, 240

app = typer.Typer(add_completion=False)


@app.command()
def learn(
    data_dir: Annotated[Path, typer.Option(help="Folder of the demo to use.")] = Path("data"),
    port: Annotated[int | None, typer.Option(help="Port of the ML backend, if it starts a demo. [9090]")] = None,
    label_studio_port: Annotated[
        int | None, typer.Option(help="Port of Label Studio, if it starts a demo. [8080]")
    ] = None,
    stay: Annotated[
        bool | None,
        typer.Option("--stay/--no-stay", help="Keep a demo that it started running until Ctrl-C. [on a terminal]"),
    ] = None,
    short: Annotated[bool, typer.Option("--short", help="Fewer calls and steps, for a quick look.")] = False,
) -> None:
    """Run the whole loop on this machine: new calls, drafts, corrections, a better model, better drafts.

    Takes 10 to 20 minutes. Every step shows its command. Stop it at any time; the same command continues.

    Example: python -m ml_backend learn
    """
    if importlib.util.find_spec("torch") is None:
        raise ConfigurationError(
            "no-training-set",
            "Learning needs the training packages, which are not installed here.",
            "Run `make learn`, which installs them.",
        )
    _stop_like_ctrl_c()
    plain = not sys.stdout.isatty()
    tutor = Tutor(plain=plain, of=STEPS)
    calls = new_calls.read()[: SHORT if short else None]
    here = stack.running(data_dir.expanduser().absolute()) or Stack(data_dir.expanduser().absolute())
    try:
        promoted = _loop(tutor, here, calls, port=port, label_studio_port=label_studio_port, short=short)
        if here.mine is not None and (not plain if stay is None else stay):
            tutor.console.print("\nThe demo keeps running. Ctrl-C stops it.")
            with suppress(KeyboardInterrupt):
                here.mine.wait()
    except KeyboardInterrupt:
        tutor.console.print("\nStopping. The same command continues from here.")
        raise typer.Exit(130) from None
    finally:
        if here.mine is not None and here.mine.poll() is None:
            tutor.console.print(f"Stopping the demo; its data stays in {here.folder}.", markup=False)
        here.stop()
    raise typer.Exit(0 if promoted else REFUSED)


def _loop(
    tutor: Tutor, here: Stack, calls: list[NewCall], *, port: int | None, label_studio_port: int | None, short: bool
) -> bool:
    """Run all steps; returns whether the new version was promoted."""
    with tutor.step("The demo", "Label Studio, Redis, the web process and the workers, all on this machine."):
        if here.facts:
            tutor.there(f"a demo runs in {here.folder}.")
        else:
            tutor.shows("demo", "--data-dir", str(here.folder))
            stack.start(here.folder, here, port=port, label_studio_port=label_studio_port)
            stack.wait(here, tutor.say)
    settings.use_file(here.env_file)
    printing.SETTINGS_FILE = here.env_file_from_here
    context = open_context(settings.load())
    try:
        return _Loop(tutor, here, context, calls, short=short).all()
    finally:
        context.db.dispose()


class _Loop:
    """The steps after the demo is up, in order."""

    def __init__(self, tutor: Tutor, here: Stack, context: Context, calls: list[NewCall], *, short: bool) -> None:
        self._tutor, self._here, self._context, self._calls, self._short = tutor, here, context, calls, short
        self._keys = [call.key for call in calls]
        self._begun = tables.now()

    def all(self) -> bool:
        project = self._project()
        self._arrive(project)
        self._drafts(project)
        self._annotate(project)
        self._samples(project)
        dataset_id = self._export(project)
        version = self._train(dataset_id)
        verdict = self._judge(version)
        promoted = bool(reached.champion(self._context) == version.version)
        self._redraft(project, version, promoted=promoted)
        ending.show(
            self._tutor, self._context, self._here, verdict,
            version=version.version, promoted=promoted, project=reached.project(self._context, TITLE),
            rows=self._open_rows(project), calls={call.key: call for call in self._calls}, user=USER,
        )  # fmt: skip
        return promoted

    def _project(self) -> Any:
        with self._tutor.step(
            "A project", "Where annotators work on the calls: a text for each region, a status line, shortcuts."
        ):
            if (found := reached.project(self._context, TITLE)) is None:
                self._runs("project", "create", "--config", "calls", "--title", TITLE)
                found = reached.project(self._context, TITLE)
            else:
                self._tutor.there(f"project {found.ls_project_id}, {found.title}.")
            if found is None:
                raise PermanentError("no-project", f"The project {TITLE} is not there.", "See `project list`.")
            return found

    def _arrive(self, project: Any) -> None:
        new = sum(call.new for call in self._calls)
        why = f"{new} callers with accents and products new to the model, {len(self._calls) - new} usual calls."
        with self._tutor.step("New calls", why):
            number = new_calls.arrive(self._context, self._calls)
            bucket = self._context.settings.recordings_bucket
            if number:
                self._tutor.say(f"{number} recordings uploaded to the bucket {bucket}.")
            if len(self._rows(project)) < len(self._calls):
                place = f"{bucket}/{new_calls.PREFIX}"
                self._runs("project", "add", str(project.ls_project_id), place, "--blind-share", str(BLIND_SHARE))
            blind = sum(bool(row.blind) for row in self._rows(project))
            self._tutor.say(f"{blind} of them, drawn at random, are annotated without a draft: the test set.")

    def _drafts(self, project: Any) -> None:
        with self._tutor.step(
            "Drafts", "The workers fetch, measure and transcribe each call, and push it to Label Studio."
        ):
            self._tutor.shows("status")

            def so_far() -> tuple[int, int]:
                rows = self._rows(project)
                return sum(progress.delivered(row) for row in rows), len(self._calls)

            self._wait(so_far, "calls are tasks with their drafts")

    def _annotate(self, project: Any) -> None:
        with self._tutor.step(
            "People", "Simulated here: annotators correct drafts and transcribe the blind calls, with human mistakes."
        ):
            open_keys = {row.object_key for row in self._open_rows(project)}
            work = [call.row for call in self._calls if call.key not in open_keys]
            counted: dict[str, int] = {}
            annotate = named("sync.demo.simulated_annotators:annotate")
            for done in annotate(self._context, project.id, work):
                if done.what:
                    counted[done.what] = counted.get(done.what, 0) + 1
                self._tutor.now(f"{done.number} of {done.of} calls annotated")
            for what, number in counted.items():
                self._tutor.say(f"{number} calls {what}")
            if not counted:
                self._tutor.there("the annotations.")
            self._tutor.say(f"{len(open_keys)} calls stay open, so that their drafts show the gain.")

    def _samples(self, project: Any) -> None:
        with self._tutor.step(
            "Samples", "Webhooks deliver the annotations; each sample is accepted or left out with a reason."
        ):
            self._tutor.shows("training", "status")
            wanted = len(self._calls) - len(self._open_rows(project))
            self._wait(lambda: (reached.sampled(self._context, project.id)[0], wanted), "annotated calls are samples")
            _, accepted, left_out = reached.sampled(self._context, project.id)
            why = ", ".join(f"{number} {code}" for code, number in left_out.items())
            self._tutor.say(f"{accepted} samples accepted" + (f"; left out: {why}." if why else "."))

    def _export(self, project: Any) -> int:
        with self._tutor.step(
            "Dataset", "An immutable version: train, validation and test, with no caller in two of them."
        ):
            found, (_, accepted, _) = (
                reached.dataset(self._context, DATASET),
                reached.sampled(self._context, project.id),
            )
            if found is not None and self._judged(found) and found.counts["rows"] > MOST * accepted:
                self._tutor.there(f"{found.name} version {found.version}, {found.counts['rows']} rows.")
                return int(found.id)
            self._runs("export", DATASET, "--projects", str(project.ls_project_id))
            found = reached.dataset(self._context, DATASET)
            assert found is not None  # noqa: S101 - `export` ended well
            return int(found.id)

    def _train(self, dataset_id: int) -> Any:
        with self._tutor.step(
            "Training", "The champion is fine-tuned on the corrections, mixed with its earlier data."
        ):
            run = reached.run(self._context, dataset_id)
            if run is not None and (found := reached.version(self._context, run.id)) is not None:
                self._tutor.there(f"run {run.id} made {found.version}.")
                return found
            if run is not None and run.state != "done":
                self._wait_for_device()
                self._runs("train", "resume", str(run.id))
            else:
                steps = SHORT_STEPS if self._short else TRAINING_STEPS
                self._runs("train", "asr", "--dataset", DATASET, "--base", "champion", "--steps", str(steps), *TRAINING)
            run = reached.run(self._context, dataset_id)
            found = reached.version(self._context, run.id) if run is not None else None
            if found is None:
                step = "`python -m ml_backend train list` says why. The same command trains anew."
                raise PermanentError("no-version", "The training run made no version.", step)
            return found

    def _judge(self, version: Any) -> reached.StoredVerdict:
        why = "Champion and candidate transcribe the blind calls, on which neither was trained. Better, or refused."
        with self._tutor.step("Verdict", why):
            found = reached.verdict(self._context, version.id)
            serves = reached.champion(self._context) == version.version
            back = version.rolled_back_at is not None
            if found is not None and (serves or back or found.outcome != "better"):
                self._tutor.there(f"{version.version} was judged: {found.outcome}{', and was rolled back' * back}.")
            else:
                self._wait_for_device()
                self._runs("evaluate", version.version, "--dataset", DATASET)
                ratio = GATE["PROMOTION_SPEED_RATIO"]
                self._tutor.say(
                    f"One rule is relaxed: a tiny model is slower after so short a training, so {ratio} times"
                )
                self._tutor.say("the CPU time is allowed here. The other rules are the defaults.")
                self._runs("promote", version.version, "--dataset", DATASET, codes=(0, REFUSED), changed=GATE)
                found = reached.verdict(self._context, version.id)
            if found is None:
                raise PermanentError("no-verdict", "There is no verdict.", f"See `models show {version.version}`.")
            return found

    def _redraft(self, project: Any, version: Any, *, promoted: bool) -> None:
        with self._tutor.step(
            "Better drafts", "The workers load the new version within a second; open tasks get new drafts in bulk."
        ):
            if not promoted:
                self._tutor.say("Nothing to do: the champion stays.")
                return
            self._tutor.shows("project", "list")

            def so_far() -> tuple[int, int]:
                rows = self._open_rows(project)
                fresh = [row for row in rows if row.state != "open" or row.model_version == version.version]
                return sum(progress.delivered(row) for row in fresh), len(rows)

            self._wait(so_far, "open tasks show a draft of the new model")

    def _judged(self, dataset: Any) -> bool:
        """Whether this dataset already led to a verdict."""
        run = reached.run(self._context, dataset.id)
        version = reached.version(self._context, run.id) if run is not None else None
        return version is not None and reached.verdict(self._context, version.id) is not None

    def _rows(self, project: Any) -> list[Any]:
        return reached.rows(self._context, project.id, self._keys)

    def _open_rows(self, project: Any) -> list[Any]:
        """Tasks that stay open: the last drafted ones of the new domain."""
        new = {call.key for call in self._calls if call.new}
        return [row for row in self._rows(project) if row.object_key in new and not row.blind][-LEFT_OPEN:]

    def _runs(self, *arguments: str, codes: tuple[int, ...] = (0,), changed: Mapping[str, str] | None = None) -> None:
        self._tutor.runs(self._here.env_file, *arguments, codes=codes, changed=changed)

    def _wait_for_device(self) -> None:
        """Wait for the device: a killed run holds it for a minute longer."""

        def so_far() -> tuple[int, int]:
            with self._context.db.reading() as connection:
                return (0 if devices.is_training(connection) else 1), 1

        self._wait(so_far, "other training has ended")

    def _wait(self, so_far: Callable[[], tuple[int, int]], what: str) -> None:
        """Wait until all are done and report the progress; an error when nothing changes for long."""
        moved, before, shown = time.monotonic(), -1, set[str]()
        while True:
            for line in self._here.news():
                self._tutor.say(line)
            done, of = so_far()
            self._tutor.now(f"{done} of {of} {what}")
            if done >= of:
                self._tutor.say(f"{done} of {of} {what}.")
                return
            for sentence in progress.gave_up(self._context.db, self._begun):
                if sentence not in shown:
                    shown.add(sentence)
                    self._tutor.say(sentence)
            if done != before:
                moved, before = time.monotonic(), done
            if time.monotonic() - moved > STUCK_AFTER_S:
                raise PermanentError(
                    "learn-stuck",
                    f"No progress for {STUCK_AFTER_S / 60:.0f} minutes: {done} of {of} {what}.",
                    "`python -m ml_backend status` says what is wrong.",
                )
            if self._here.mine is not None and self._here.mine.poll() is not None:
                raise PermanentError("demo-ended", "The demo has ended.", f"Its output: {self._here.log}")
            time.sleep(LOOK_EVERY_S)


def _stop_like_ctrl_c() -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the first is ignored in a shell's background
        signal.signal(number, stop)
