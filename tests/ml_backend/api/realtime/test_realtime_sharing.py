"""Several sessions on one model: each gets its texts, whatever the others do, and each turn has one version."""

from __future__ import annotations

import contextlib
import shutil
import threading
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from ml_backend.api.live import openai_form
from ml_backend.context import open_context
from ml_backend.models import kinds, manifest, model_files, registry
from ml_backend.settings import Settings
from tests.ml_backend.api.realtime.conftest import Line, pieces, spoken
from tests.ml_backend.api.realtime.test_realtime_input import (
    APPEND,
    COMPLETED,
    STOPPED,
    next_of,
    opened,
    opened_or_none,
    send,
    still_works,
)
from tests.patience import until


def test_clients_that_send_without_end_keep_no_other_session_waiting(line: Line) -> None:
    ended = threading.Event()

    def flood(connection: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            while not ended.is_set():
                for piece in pieces(spoken(after_s=0.1)):
                    send(connection, {"type": APPEND, "audio": piece})

    def read(connection: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            for _ in connection:
                pass

    greedy = [until(lambda: opened_or_none(line), "a place is free") for _ in range(3)]
    threads = [threading.Thread(target=work, args=(one,)) for one in greedy for work in (flood, read)]
    for thread in threads:
        thread.start()
    try:
        with until(lambda: opened_or_none(line), "a place is free") as connection:
            send(connection, {"type": "session.update", "session": {"audio": {"input": {
                "format": {"type": "audio/pcm", "rate": 16_000}, "transcription": {"language": "en"}}}}})  # fmt: skip
            for _ in range(3):
                still_works(connection)
    finally:
        ended.set()
        for one in greedy:
            one.socket.close()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_a_promotion_changes_the_version_between_two_turns_and_never_within_one(line: Line, tmp_path: Path) -> None:
    context = open_context(Settings(_env_file=None, data_dir=line.folder))
    with until(lambda: opened_or_none(line), "a place is free") as connection:
        connection.close()
    with opened(line) as connection:
        half = pieces(spoken())[:20]
        for piece in half:
            send(connection, {"type": APPEND, "audio": piece})
        before = next_of(connection, "conversation.item.input_audio_transcription.delta")
        assert before["unstable"]
        folder = tmp_path / "better"
        shutil.copytree(kinds.BUNDLED["asr"], folder)
        said = manifest.read(folder)
        manifest.write(
            folder, name="better", languages=said.languages, window=said.window, trained_on=said.trained_on, kind="asr"
        )
        key = f"{model_files.FOLDER}/better"
        after = registry.register(context, model_files.publish(context, folder, key))
        old = registry.aliased(context, "asr", language="*", alias="champion")
        assert old is not None
        registry.move_alias(context, after, expected_revision=old.revision, who="asha", why="better")

        def promoted() -> bool:
            with until(lambda: opened_or_none(line), "a place is free") as other:
                assert other.response is not None
                return other.response.headers[openai_form.VERSION_HEADER] == after.version

        until(promoted, "new sessions have the new version", every_s=0.3)
        for piece in [*pieces(spoken())[20:], *pieces(spoken())]:
            send(connection, {"type": APPEND, "audio": piece})
        assert next_of(connection, STOPPED)["item_id"] == before["item_id"]
        versions = [next_of(connection, COMPLETED)["model_version"] for _ in range(2)]
    assert versions == [old.version, after.version]
