"""Taking away the guards of utterances: of those from calls, and of people who say what they mean."""

from __future__ import annotations

from typing import Any

from tests.faults.guards.guards import _set, guard, module


@guard("people-are-asked-within-consent")
def _asked_within_consent() -> None:
    """Whatever was said in a call is shown."""
    _set("sync.tasks.utterance_tasks", "NO_TRAINING", ())


@guard("calls-are-read-within-consent")
def _read_within_consent() -> None:
    _set("training.utterances.call_utterances", "_objection", lambda row: "")


@guard("consent-is-asked-again-when-storing")
def _asked_once() -> None:
    """What was allowed when the run read is allowed when it stores."""
    calls = module("training.utterances.call_utterances")
    real = calls._known

    def known(context: Any) -> Any:
        calls._objection = lambda row: ""
        return real(context)

    calls._known = known


@guard("what-was-parsed-is-looked-at-again")
def _parsed_and_asked() -> None:
    """What might be asked about before it was parsed is asked about."""
    _set("sync.tasks.utterance_tasks", "_still_unchecked", lambda connection, found: {row.id for row in found})


@guard("unasked-words-go-first")
def _words_stay() -> None:
    """While an erasure goes on, tasks can be made of the person's words."""
    _set("sync.privacy.erasure", "_forget_unasked", lambda connection, theirs: None)


@guard("an-erased-task-is-taken-back")
def _imported_anyway() -> None:
    """An import that began before an erasure ends as if there were none."""
    _set("sync.tasks.task_creation", "_is_erased", lambda connection, task_id: False)


@guard("an-answered-part-is-no-draft")
def _drafts_of_answered() -> None:
    module("training.utterances.call_utterances")._Span.holds = lambda self, at_s: False


@guard("the-text-on-trial-is-not-read")
def _the_newest_text() -> None:
    _set("training.utterances.call_utterances", "_served", lambda row, found: found[-1] if found else None)


@guard("few-places-are-not-filled")
def _for_one_place() -> None:
    """A run passes over everything for the sake of one place."""
    _set("training.utterances.call_utterances", "FREE_SHARE", 0.0)


@guard("only-the-customer-is-read")
def _whoever_speaks() -> None:
    roles = module("ml_backend.labelling.agent_channel")
    roles.role = lambda channel, agent: roles.CUSTOMER


@guard("a-wording-is-asked-once")
def _any_wording() -> None:
    """Every text is a wording of its own."""
    calls = module("training.utterances.call_utterances")
    real = calls._known
    calls._known = lambda context: (set(), real(context)[1])


@guard("a-blind-text-shows-no-draft")
def _drafted_anyway() -> None:
    drafts = module("sync.drafts.utterance_drafts").UtteranceDrafts
    real = drafts.rows
    drafts.rows = lambda self, project, asked, labels, *, blind=False: real(self, project, asked, labels)


@guard("imported-texts-are-asked-once")
def _asked_anew() -> None:
    """An imported text is an utterance that has no task."""
    tasks = module("sync.tasks.utterance_tasks")
    real = tasks.db.insert_once

    def insert_once(connection: Any, table: Any, values: dict[str, Any], **more: Any) -> Any:
        if values.get("origin") == tasks.IMPORTED:
            values = {**values, "task_id": None}
        return real(connection, table, values, **more)

    tasks.db.insert_once = insert_once


@guard("an-answer-names-its-draft")
def _no_origin() -> None:
    """Where an answer began is not looked up."""
    _set("sync.annotations.annotation_origins", "origin_of", lambda *given: None)


@guard("another-intent-is-an-edit")
def _words_only() -> None:
    """Only words decide whether a draft was changed, and over a text nobody writes any."""
    _set("sync.annotations.annotation_origins", "same_answer", lambda result, other, text: True)


@guard("a-parser-does-not-learn-from-itself")
def _copied_drafts() -> None:
    """A draft that nobody read is as good a reference as any."""
    lines = module("training.utterances.utterance_lines")
    lines.exclusions = type("Nothing", (), {"read": staticmethod(lambda connection: module(
        "training.quality.exclusions").Verdicts())})  # fmt: skip


@guard("gold-texts-teach-nothing")
def _gold_teaches() -> None:
    """A task with a known answer is a task like others."""
    corrections = module("training.samples.utterance_corrections")
    real = corrections.corrected
    rows = module("types").SimpleNamespace

    def corrected(connection: Any, task: Any, found: Any) -> bool:
        return bool(real(connection, rows(**{**task._mapping, "gold_text": None}), found))

    corrections.corrected = corrected


@guard("offsets-are-counted-as-their-maker-does")
def _one_way_to_count() -> None:
    """Every offset counts characters."""
    _set("ml_backend.labelling.utterance_marks", "from_utf16", lambda text, start, end: None)
