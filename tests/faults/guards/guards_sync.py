"""Taking away the guards between our tasks and Label Studio's, and of short transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.faults.guards.guards import guard, module


@guard("redrafts-go-in-pages")
def _redrafts_go_in_pages() -> None:
    """All open tasks of a project are drafted again in one transaction."""
    module("sync.projects.redrafting").PAGE = 1_000_000


@guard("an-annotated-language-stays-offered")
def _used_languages() -> None:
    """An update offers what LANGUAGES names and nothing else."""
    module("sync.projects.offered_languages")._used = lambda context, project: []


@guard("a-redraft-asks-what-changed")
def _a_redraft_asks() -> None:
    """Every look at a project compares every draft."""
    redrafting = module("sync.projects.redrafting")
    numbers = iter(range(10**9))
    redrafting._wishes = lambda context, project, routes: f"another {next(numbers)}"


@guard("a-refused-task-is-found-by-halves")
def _by_halves() -> None:
    """An import is refused whole, and its job with it."""
    tasks = module("sync.tasks.task_creation")

    def whole(context: Any, client: Any, project: Any, rows: Any, keys: Any, refused: Any) -> dict[str, int]:
        body = [{"data": tasks._data(context, project, row) | {tasks.KEY: keys[row.id]}} for row in rows]
        ids = client.import_tasks(project.ls_project_id, body)
        return {keys[row.id]: ls_id for row, ls_id in zip(rows, ids, strict=True)}

    tasks._import_some = whole


@guard("a-missing-project-is-noticed")
def _missing_is_noticed() -> None:
    """A job that meets a deleted project fails, and fails again."""
    module("sync.label_studio.missing").is_there = lambda context, project: True


@guard("a-restored-task-counts-at-once")
def _restored_counts() -> None:
    """What this look goes on with is the row as it was before the task came back."""
    reconcile, db = module("sync.projects.task_reconciliation"), module("ml_backend.db")

    def restored(connection: Any, row: Any) -> Any:
        db.update(connection, reconcile.tasks, row.id, state="open")
        return row

    reconcile._restored = restored


@guard("a-listener-knows-the-language")
def _listener_knows() -> None:
    """A draft that was asked for again is made in the project's language, as the one before."""
    profiles = module("sync.drafts.decoding_choice")
    real = profiles.profile_of
    profiles.profile_of = lambda project, settings, *, language=None, asked=None: real(
        project, settings, language=language
    )


@guard("who-asks-again-is-no-reference")
def _who_asks_again() -> None:
    """What was written under a draft in the wrong language is learnt from."""
    module("training.samples.sampling")._Maker._asks_again = lambda self, row: False


@guard("who-waited-longest-comes-first")
def _longest_first() -> None:
    """A schedule takes the first fifty there are."""
    module("ml_backend.jobs.schedules").last_ended = lambda kind, row_id: row_id


@guard("a-version-fails-alone")
def _fails_alone() -> None:
    """What one version raises ends the whole batch."""

    @contextmanager
    def only(*items: Any) -> Iterator[None]:
        yield

    module("sync.transcription.transcription")._only = only


@guard("a-decision-stands-on-the-row")
def _decision_stands() -> None:
    """Where a recording goes is worked out again by every step, by the rules of that moment."""
    module("sync.drafts.recording_route").keep = lambda connection, routes, recording, found: None


@guard("consent-taken-back-reaches-samples")
def _consent_reaches_samples() -> None:
    """A sample stays in use after its call's people took back what they agreed to, until it is sampled again."""
    module("ml_backend.calls.sample_use").decide = lambda connection, concerned: None


@guard("a-rule-waits-for-the-language")
def _waits_for_the_language() -> None:
    """A language that nobody has looked for counts as none."""
    module("sync.recordings.recording_language").known = lambda connection, recording: (recording.language, True)


@guard("a-choice-of-draft-stands-on-the-row")
def _choice_stands() -> None:
    """Whether a draft is shown is worked out again by every look, by what is learnt at that moment."""
    module("ml_backend.usefulness.draft_choice").stored = lambda value, model_version: None


@guard("drafts-that-measure-are-shown")
def _measures_shown() -> None:
    """Poor drafts are left out of the audit too, so that it measures good ones only."""
    module("ml_backend.usefulness.draft_choice").ALWAYS_SHOWN = frozenset()


@guard("unread-drafts-teach-nothing")
def _unread_teach() -> None:
    """A draft that somebody accepted unread counts as right."""
    exclusions = module("training.quality.exclusions")
    exclusions.read = lambda connection: exclusions.Verdicts()
