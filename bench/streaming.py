"""A caller's stream: how late the final text is, and how far apart the partial ones are.

Bundled calls are sent to `serve` with the bundled model in real time, as a telephone line would, in pieces
of 20 ms, with the session's own turn detection. The end of speech is where the call's transcript says that a phrase
ends, so the time that it takes to notice a silence counts. Both are of the clock and need an idle machine.
"""

from __future__ import annotations

import base64
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from websockets.sync.client import connect

from bench.answering_calls import TOKEN, live
from bench.recognition import BUNDLED_CALLS
from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile
from ml_backend.audio import decoding
from ml_backend.models import kinds
from ml_backend.settings import Settings

LAG_GOAL_MS, GAP_GOAL_MS = 300, 500
RATE_HZ, PIECE_S, AFTER_S = 16_000, 0.02, 1.5
DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"
STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"


@dataclass
class StreamedCall:
    """One call, and when it was sent and answered; times in seconds of the call and of the clock."""

    language: str
    samples: np.ndarray
    ends_s: list[float]  # of its phrases
    began_at: float = 0.0
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def lags_ms(self) -> list[float]:
        """From the end of a phrase to the final text of the turn that ends with it."""
        texts = {event["item_id"]: at for at, event in self.events if event["type"] == COMPLETED}
        found = []
        for _, event in self.events:
            if event["type"] == STOPPED and event["item_id"] in texts:
                before = [end_s for end_s in self.ends_s if end_s <= event["audio_end_ms"] / 1000]
                if before and event["audio_end_ms"] / 1000 - before[-1] < 1.0:  # else a pause within a phrase
                    found.append((texts[event["item_id"]] - self.began_at - before[-1]) * 1000)
        return found

    def gaps_ms(self) -> list[float]:
        """Audio between two partial texts of a turn, from the first to the last."""
        at: dict[str, list[float]] = {}
        for came, event in self.events:
            if event["type"] == DELTA:
                at.setdefault(event["item_id"], []).append((came - self.began_at) * 1000)
        return [later - earlier for places in at.values() for earlier, later in pairwise(places)]


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of this file."""
    calls = streamed_calls(2 if quick else 8)
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as name, live(Path(name) / "served") as server:
        stream(server.port, calls[0])  # loads the model
        calls[0].events.clear()
        for call in calls:
            stream(server.port, call)
    decode_ms = one_decode_ms(calls)
    lags = [lag for call in calls for lag in call.lags_ms()]
    lag = statistics.median(lags) - decode_ms
    yield {
        "name": f"streamed calls: final text behind the end of speech less one decode ({decode_ms:.0f} ms), median, ms",
        "value": round(lag),
        "target": f"<= {LAG_GOAL_MS}",
        "met": lag <= LAG_GOAL_MS,
        "turns": len(lags),
        "p90_ms": round(sorted(lags)[int(len(lags) * 0.9)]),
    }
    gaps = sorted(gap for call in calls for gap in call.gaps_ms())
    yield {
        "name": "streamed calls: audio between two partial texts of a turn, 95th percentile, ms",
        "value": round(gaps[int(len(gaps) * 0.95)]),
        "target": f"<= {GAP_GOAL_MS}",
        "met": gaps[int(len(gaps) * 0.95)] <= GAP_GOAL_MS,
        "gaps": len(gaps),
        "longest_ms": round(gaps[-1]),
    }


def streamed_calls(count: int) -> list[StreamedCall]:
    """Bundled calls of one speaker, with speech."""
    found = []
    for about in json.loads((BUNDLED_CALLS / "calls.json").read_text()):
        phrases = about.get("phrases") or []
        if not phrases or len(found) == count:
            continue
        with tempfile.TemporaryDirectory() as name:
            wav = Path(name) / "call.wav"
            decoding.decode(BUNDLED_CALLS / about["file"], wav, limits=decoding.Limits(max_duration_s=600))
            samples, _ = decoding.read_wav(wav)
        if len(samples) == 1:
            ends_s = [phrase["end_s"] for phrase in phrases]
            whole = np.concatenate([samples[0], np.zeros(int(AFTER_S * RATE_HZ), np.float32)])
            found.append(StreamedCall(about["language"], whole, ends_s))
    return found


def stream(port: int, call: StreamedCall) -> None:
    """Send a call in real time, and note when each event comes."""
    audio = {
        "format": {"type": "audio/pcm", "rate": RATE_HZ}, "transcription": {"language": call.language},
    }  # fmt: skip
    update = {"type": "session.update", "session": {"type": "transcription", "audio": {"input": audio}}}
    pcm = (call.samples * 32_767).astype("<i2").tobytes()
    size = int(RATE_HZ * PIECE_S) * 2
    address = f"ws://127.0.0.1:{port}/v1/realtime?intent=transcription"
    with connect(address, additional_headers={"Authorization": f"Bearer {TOKEN}"}, compression=None) as line:
        line.send(json.dumps(update))
        while json.loads(line.recv(timeout=60))["type"] != "session.updated":
            pass

        def read() -> None:
            for message in line:
                call.events.append((time.monotonic(), json.loads(message)))

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        call.began_at = time.monotonic()
        for number, start in enumerate(range(0, len(pcm), size), 1):
            piece = base64.b64encode(pcm[start : start + size]).decode()
            time.sleep(max(0.0, call.began_at + number * PIECE_S - time.monotonic()))  # a line brings what was said
            line.send(json.dumps({"type": "input_audio_buffer.append", "audio": piece}))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and _unanswered(call):
            time.sleep(0.05)
    reading.join(10)


def _unanswered(call: StreamedCall) -> bool:
    kinds_of = [event["type"] for _, event in call.events]
    return kinds_of.count(STARTED) > kinds_of.count(COMPLETED)


def one_decode_ms(calls: list[StreamedCall]) -> float:
    """The median time of the model alone for what it was given at the end of a turn, with the session's beam."""
    settings = Settings(_env_file=None)
    model, took = Transcriber.load(kinds.BUNDLED[kinds.ASR], settings=settings), []
    for call in calls:
        started = {e["item_id"]: e["audio_start_ms"] for _, e in call.events if e["type"] == STARTED}
        for _, event in call.events:
            if event["type"] == STOPPED and event["item_id"] in started:
                first, last = started[event["item_id"]] * 16, event["audio_end_ms"] * 16
                request = Request(call.samples[None, first:last], DecodingProfile(language=call.language))
                began = time.monotonic()
                model.transcribe([request])
                took.append((time.monotonic() - began) * 1000)
    return statistics.median(took)
