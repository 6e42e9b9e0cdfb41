"""Random histories of calls against a small model: whatever comes in whatever order, the rows are what it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ml_backend.calls import ledger
from ml_backend.calls.events import CallEvent
from ml_backend.calls.pseudonyms import pseudonym
from ml_backend.tables import calls, recordings
from tests import ledger_rules
from tests.ml_backend.calls.test_ledger import KEY, fresh

SIDS = ("a", "b", "c")
SOURCES = ("passthru", "status_callback", "listing", "details", "agent_event", "campaign", "ip_calling", "exoml")
TRUST = ("agent_event", "campaign", "passthru", "exoml", "ip_calling", "status_callback", "listing", "details")
NEVER_HELD, HELD = ("busy", "no-answer", "failed", "canceled"), ("completed", "voicemail", "client-hangup")
HOSTS = ("https://recordings.exotel.com/x", "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/x")
EVENTS = st.builds(
    CallEvent,
    call_sid=st.sampled_from(SIDS),
    source=st.sampled_from(SOURCES),
    status=st.sampled_from((None, "in-progress", *NEVER_HELD, *HELD)),
    recording_url=st.sampled_from((None, None, *(f"{host}/{name}.mp3" for host in HOSTS for name in ("1", "2")))),
    from_=st.sampled_from((None, "00000000101", "+910000000101", "00000000303", "XXXXXX0101")),
    to=st.sampled_from((None, "00000000202")),
    direction=st.sampled_from((None, "inbound", "outbound")),
    talk_seconds=st.sampled_from((None, 0.0, 12.0, 320.5)),
    started_at_utc=st.sampled_from((None, datetime(2024, 1, 15, 9, tzinfo=UTC), datetime(2024, 1, 15, 10, tzinfo=UTC))),
    custom_field=st.sampled_from((None, "order-1", "order-2")),
)


class Model:
    """What is known of one call: the set of what was said about it, and whether it was erased."""

    def __init__(self) -> None:
        self.said: set[CallEvent] = set()
        self.erased = False

    def greatest(self, name: str, rank: Any = lambda value: 0) -> Any:
        told = [
            (rank(value), TRUST.index(e.source), value) for e in self.said if (value := getattr(e, name)) is not None
        ]
        return max(told)[2] if told else None

    @property
    def status(self) -> str | None:
        found: str | None = self.greatest(
            "status", lambda value: 2 if value in ("completed", *NEVER_HELD) else 1 if value in HELD else 0
        )
        return found

    def person(self, name: str) -> str | None:
        """The pseudonym: whole numbers before masked ones, ties by the pseudonym itself."""
        hidden = Model()
        hidden.said = {replace(e, **{name: pseudonym(n, KEY)}) for e in self.said if (n := getattr(e, name))}
        found: str | None = hidden.greatest(name, lambda value: not value.startswith("masked"))
        return found

    @property
    def names(self) -> set[str]:
        return {e.recording_url.rpartition("/")[2] for e in self.said if e.recording_url}

    @property
    def state(self) -> tuple[str, str | None]:
        if self.names:
            return "to-fetch", "fetch"
        if self.status in NEVER_HELD:
            return "no-recording", None
        return "expected", "look-up" if self.status in HELD else "wait"


class Histories(RuleBasedStateMachine):
    """Messages of three calls, repeated, swapped, with erasures between."""

    @initialize()
    def begin(self) -> None:
        self._opened = fresh()
        self.connection = self._opened.__enter__()
        self.models: dict[str, Model] = {}

    @rule(event=EVENTS)
    def a_message_comes(self, event: CallEvent) -> None:
        ledger.record(self.connection, event, key=KEY)
        model = self.models.setdefault(event.call_sid, Model())
        if not model.erased:
            model.said.add(event)

    @rule(sid=st.sampled_from(SIDS), data=st.data())
    def a_message_comes_again(self, sid: str, data: st.DataObject) -> None:
        if (model := self.models.get(sid)) and model.said:
            said = sorted(model.said, key=repr)
            ledger.record(self.connection, data.draw(st.sampled_from(said)), key=KEY)

    @rule(sid=st.sampled_from(SIDS))
    def a_call_is_erased(self, sid: str) -> None:
        if model := self.models.get(sid):
            row = self.connection.execute(sa.select(calls).where(calls.c.call_sid == sid)).one()
            assert ledger.move(self.connection, row.id, "erased", reason_code="erased", reason="X.") != model.erased
            model.erased = True

    @invariant()
    def the_rows_are_what_the_model_says(self) -> None:
        if not hasattr(self, "models"):
            return
        assert ledger_rules.violations(self.connection) == []
        rows = {row.call_sid: row for row in self.connection.execute(sa.select(calls)).all()}
        assert set(rows) == set(self.models)
        for sid, model in self.models.items():
            row = rows[sid]
            if model.erased:
                assert row.state == "erased"
                continue
            assert (row.state, row.next_action) == model.state
            assert row.status == model.status
            assert row.state != "no-recording" or f"ended as {model.status}," in row.reason
            assert row.tries == (5 if row.next_action == "look-up" and model.greatest("started_at_utc") else 0)
            for name in ("recording_url", "direction", "talk_seconds", "custom_field"):
                assert getattr(row, name) == model.greatest(name), name
            assert row.started_at == model.greatest("started_at_utc")
            assert (row.from_pseudonym, row.to_pseudonym) == (model.person("from_"), model.person("to"))
            assert set(row.seen_by) == {event.source for event in model.said}
            mine = sa.select(recordings.c.source_identity).where(recordings.c.call_sid == sid)
            assert {name.rpartition(":")[2] for name in self.connection.execute(mine).scalars()} == model.names

    def teardown(self) -> None:
        if hasattr(self, "_opened"):
            self._opened.__exit__(None, None, None)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=20)
