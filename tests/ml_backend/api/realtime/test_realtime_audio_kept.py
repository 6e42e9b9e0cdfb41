"""The turns of a session are kept as recordings of its call, each once, where the company number says so."""

from __future__ import annotations

import io
import wave
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.calls import pseudonyms
from ml_backend.context import open_context
from tests.ml_backend.api.realtime.conftest import Line, pieces, spoken
from tests.ml_backend.api.realtime.conftest import until as events_until
from tests.ml_backend.commands.test_web import some_settings
from tests.patience import until

NUMBER = "00000000107"


def test_each_turn_of_a_session_becomes_a_recording_of_its_call(line: Line) -> None:
    settings = some_settings(line.folder)
    context = open_context(settings)
    number = pseudonyms.pseudonym(NUMBER, pseudonyms.key_of(settings))
    values = {"pseudonym": number, "keeps_live_audio": True, "consent_purpose": "training"}
    with context.db.transaction() as connection:
        connection.execute(sa.insert(tables.company_numbers).values(**values))

    def kept(call: str) -> list[Any]:
        return list(context.db.rows(sa.select(tables.recordings).where(tables.recordings.c.call_sid == call)))

    def speak(query: dict[str, str]) -> None:
        with line.client().realtime.connect(extra_query={"intent": "transcription", **query}) as session:
            events_until(session, "session.created")
            session.session.update(session={"type": "transcription", "speaker": "customer"})  # type: ignore[typeddict-item, typeddict-unknown-key]
            for piece in pieces(spoken(rate_hz=24_000), 24_000):
                session.input_audio_buffer.append(audio=piece)
            events_until(session, "conversation.item.input_audio_transcription.completed")

    speak({"call": "c6d0", "number": "00000000199"})

    def is_kept() -> bool:
        speak({"call": "c6d1", "number": NUMBER})
        return bool(kept("c6d1"))

    until(is_kept, "the switch is read, and a turn is kept", within_s=120)
    row = kept("c6d1")[0]
    assert (row.source, row.state, row.agent_channel) == ("live", "stored", 1)
    path = context.store.open_local(row.bucket, row.object_key)
    assert path is not None
    with wave.open(io.BytesIO(path.read_bytes())) as sound:
        assert (sound.getframerate(), sound.getnchannels()) == (16_000, 1)
        assert sound.getnframes() > 16_000
    assert kept("c6d0") == []
    context.db.dispose()
