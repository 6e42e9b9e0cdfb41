"""Answering the phone: `serve` over HTTP against bare faster-whisper in one process, on the same files.

Both sides run whisper-base (`bench/real/parts.py`) on people's recordings of 2 to 9 s, with word times, which ours
needs for its guards. The bare side opens each file with the library's decoder and runs its voice-activity filter. The
overhead is counted in CPU seconds of the server's processes, one thread each, and in milliseconds of a whole request.
Throughput and percentiles are of the clock, with all cores on both sides: they need an idle machine, and their control
says whether it was.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from faster_whisper import BatchedInferencePipeline, WhisperModel

from bench import ratios
from bench.real import parts, voices
from bench.recognition import make_calls
from bench.servers import children, cpu_s_of, environment, free_port, serving, wait_for
from ml_backend import db
from ml_backend.context import open_context
from ml_backend.models import manifest, registry
from ml_backend.settings import Settings
from tests import sounds

TOKEN = "b" * 24
CLIENTS = 8
CPU_GOAL, LATENCY_GOAL_MS, THROUGHPUT_GOAL, TAIL_GOAL, PIPELINE_GOAL, SWAP_GOAL = 1.05, 15, 1.2, 2.0, 1.0, 1.15
MOST_DRIFT = 0.15  # of what the clock says
PROMISE_MS, CHOICE_MS = 300, 5
BARE = {"language": "en", "word_timestamps": True, "beam_size": 5}


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of this file, as they are finished."""
    count, rounds = (4, 2) if quick else (16, 7)
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as name:
        folder = Path(name)
        files = recordings(folder, count)
        with live(folder / "one", ASR_MODEL=str(parts.model()), ASR_THREADS="1") as server:
            yield single_request(server, files, rounds=rounds)
        with live(folder / "all", ASR_MODEL=str(parts.model())) as server:
            yield from together(server, files, rounds=max(2, rounds // 2))
        yield promise(folder / "promise", rounds=3 if quick else 20)
        yield choice(folder / "route", requests=200 if quick else 2000)
        yield while_swapped(folder / "swaps", rounds=2 if quick else 6, round_s=5.0 if quick else 15.0)


def recordings(folder: Path, count: int) -> list[Path]:
    """So many recordings of people, each a WAV of 2 to 9 s."""
    prompts = [one for one in (*voices.callers(), *voices.english()) if 2 <= len(one.samples) / voices.RATE_HZ <= 9]
    random.Random(14).shuffle(prompts)
    made = []
    for number, prompt in enumerate(prompts[:count]):
        made.append(folder / f"call-{number:02d}.wav")
        sounds.encode(made[-1], prompt.samples, container="wav", codec="pcm_s16le", rate_hz=voices.RATE_HZ)
    return made


class LiveSide:
    """A running `serve`, asked over kept connections."""

    def __init__(self, port: int, pid: int) -> None:
        self.port, self.pid = port, pid
        self._mine = threading.local()

    def ask(self, path: Path) -> str:
        """The text of one file."""
        body, kind = form(path)
        head = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        answer = self._sent(body, head)
        data = answer.read()
        if answer.status != 200:
            raise AssertionError(f"serve answered {answer.status}: {data[:200]!r}")
        return str(json.loads(data)["text"])

    def _sent(self, body: bytes, head: dict[str, str]) -> http.client.HTTPResponse:
        kept: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        for connection in filter(None, (kept, http.client.HTTPConnection("127.0.0.1", self.port))):
            self._mine.connection = connection
            try:
                connection.request("POST", "/v1/audio/transcriptions", body, head)
                return connection.getresponse()
            except (OSError, http.client.RemoteDisconnected):  # idle for too long while the other side had its turn
                if connection is not kept:
                    raise
        raise AssertionError("unreachable")

    def cpu_s(self, work: Callable[[], Any]) -> float:
        """CPU seconds of the server and of the processes that decode for it."""
        before = self._used_s()
        work()
        return self._used_s() - before

    def _used_s(self) -> float:
        tree = psutil.Process(self.pid)
        return sum(cpu_s_of(one.pid) for one in (tree, *tree.children(recursive=True)))


def form(path: Path) -> tuple[bytes, str]:
    """A file as OpenAI's clients send it."""
    edge = "kaanbenchboundary"
    parts = [f'--{edge}\r\nContent-Disposition: form-data; name="language"\r\n\r\nen\r\n'.encode()]
    head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
    parts += [head.encode(), path.read_bytes(), f"\r\n--{edge}--\r\n".encode()]
    return b"".join(parts), f"multipart/form-data; boundary={edge}"


@contextmanager
def live(folder: Path, **more: str) -> Iterator[LiveSide]:
    """`serve` on a free port, with these settings."""
    folder.mkdir(exist_ok=True)
    db.upgrade(f"sqlite:///{folder / 'kaan.db'}")
    port = free_port()
    given = {"LIVE_PORT": str(port), "API_TOKENS": f"phone:live:{TOKEN}", "ASR_COMPUTE_TYPE": "int8", **more}
    process = subprocess.Popen(
        [sys.executable, "-m", "ml_backend", "serve"], cwd=folder, env={**environment(folder, port), **given},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(port, process)
        yield LiveSide(port, children(process.pid)[0])
    finally:
        process.terminate()
        process.wait(60)


def single_request(server: LiveSide, files: list[Path], *, rounds: int) -> dict[str, Any]:
    """One request after the other: what HTTP, the safe decoder, guards and batches add to the model's own work."""
    bare = _whisper(threads=1)

    def ours() -> float:
        return server.cpu_s(lambda: [server.ask(path) for path in files])

    def theirs() -> float:
        return ratios.own_cpu_s(lambda: [_bare_text(bare, path) for path in files])

    ours(), theirs()
    pairs = ratios.alternate(theirs, ours, rounds=rounds)
    control = ratios.alternate(theirs, theirs, rounds=rounds)
    waits = [
        (_took_ms(partial(_bare_text, bare, path)), _took_ms(partial(server.ask, path)))
        for _ in range(rounds)
        for path in files
    ]
    return ratios.row(
        f"one live request, {len(files)} files of 2-9 s: serve / bare faster-whisper, CPU",
        pairs, control, target=CPU_GOAL, at_least=False,
        overhead_ms=round(statistics.median(mine - other for other, mine in waits), 1),
        overhead_goal_ms=LATENCY_GOAL_MS,
        request_ms=round(statistics.median(mine for _, mine in waits), 1),
    )  # fmt: skip


def together(server: LiveSide, files: list[Path], *, rounds: int) -> Iterator[dict[str, Any]]:
    """Eight clients at once, against one process that takes the same files one after the other."""
    plain = _whisper(threads=os.cpu_count() or 1)
    batched = BatchedInferencePipeline(plain)
    asked = files * 2
    waits: list[float] = []

    def ours() -> float:
        with ThreadPoolExecutor(CLIENTS) as clients:
            began = time.monotonic()
            waits.extend(clients.map(lambda path: _took_ms(partial(server.ask, path)), asked))
            return time.monotonic() - began

    def theirs(text: Callable[[Path], str]) -> float:
        return _took_ms(lambda: [text(path) for path in asked]) / 1000

    one_by_one = partial(theirs, partial(_bare_text, plain))
    pipeline = partial(theirs, partial(_pipeline_text, batched))
    ours(), one_by_one(), pipeline()
    waits.clear()
    taken = [(one_by_one(), ours(), pipeline(), one_by_one()) for _ in range(rounds)]
    control = [(first, again) for first, _, _, again in taken]
    said = f"{CLIENTS} clients at once, {len(asked)} requests"
    tail = _p99(waits) / statistics.median(waits)
    yield ratios.row(
        f"{said}: serve / a bare loop over the files, requests per second",
        [(mine, loop) for loop, mine, _, _ in taken], control, target=THROUGHPUT_GOAL, at_least=True,
        p50_ms=round(statistics.median(waits)), p99_ms=round(_p99(waits)),
    )  # fmt: skip
    yield ratios.row(
        f"{said}: serve / batched pipeline per request, requests per second",
        [(mine, other) for _, mine, other, _ in taken], control, target=PIPELINE_GOAL, at_least=True,
    )  # fmt: skip
    yield {
        "name": f"{said}: p99 / p50 of the time to answer",
        "value": round(tail, 2),
        "target": f"<= {TAIL_GOAL}",
        "met": tail <= TAIL_GOAL,
    }


def promise(folder: Path, *, rounds: int) -> dict[str, Any]:
    """The bundled model as users have it, a clip of 3 s, one request after the other; of the clock."""
    folder.mkdir()
    clip = next(call.path for call in make_calls(folder, count=1, between_s=(3, 3)))
    with live(folder / "served") as server:
        server.ask(clip)
        waits = [_took_ms(partial(server.ask, clip)) for _ in range(rounds)]
    median = statistics.median(waits)
    return {
        "name": "milliseconds to answer a clip of 3 s, bundled model, median",
        "value": round(median),
        "target": f"<= {PROMISE_MS}",
        "met": median <= PROMISE_MS,
        "slowest_ms": round(max(waits)),
    }


def choice(folder: Path, *, requests: int) -> dict[str, Any]:
    """`/api/route` of the web process for calls that it never saw, over one connection; of the clock."""
    folder.mkdir()
    db.upgrade(f"sqlite:///{folder / 'kaan.db'}")
    (folder / "ready.json").write_text("{}")
    waits = []
    with serving(folder, API_TOKENS=f"bench:read:{TOKEN}") as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for number in range(requests + 5):
            began = time.monotonic()
            head = {"Authorization": f"Bearer {TOKEN}"}
            connection.request("GET", f"/api/route?kind=asr&call=bench-{number}", headers=head)
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != 200:
                raise AssertionError(f"/api/route answered {answer.status}: {data[:200]!r}")
            waits.append(1000 * (time.monotonic() - began))
    p99 = _p99(waits[5:])
    return {
        "name": f"milliseconds of /api/route for {requests:,} calls, p99",
        "value": round(p99, 2),
        "target": f"<= {CHOICE_MS}",
        "met": p99 <= CHOICE_MS,
        "median_ms": round(statistics.median(waits[5:]), 2),
    }


def while_swapped(folder: Path, *, rounds: int, round_s: float) -> dict[str, Any]:
    """Four clients, in all twenty requests in two seconds at random moments, in peace and with swaps, in turn."""
    folder.mkdir()
    clip = next(call.path for call in make_calls(folder, count=1, between_s=(2, 2)))
    times: dict[str, list[float]] = {"peace": [], "control": [], "swaps": []}
    moved = 0
    with live(folder / "served") as server:
        server.ask(clip)
        settings = Settings(_env_file=None, data_dir=folder / "served")
        context = open_context(settings)
        versions = [_copy(context, folder, name) for name in ("one", "two")]
        revision = registry.champion(context).revision
        for number, side in enumerate(("peace", "swaps", "control") * rounds):
            ends_at = time.monotonic() + round_s
            with ThreadPoolExecutor(4) as clients:
                chances = [random.Random(f"{number // 3} {client}") for client in range(4)]
                found = [clients.submit(_at_random, server, clip, ends_at, chance) for chance in chances]
                while side == "swaps" and time.monotonic() + 2.5 < ends_at:
                    time.sleep(2.5)
                    version = versions[moved % 2]
                    moved += 1
                    revision = registry.move_alias(
                        context, version, expected_revision=revision, who="bench", why="to and fro"
                    )
                times[side] += [taken for each in found for taken in each.result()]
    steady, swapping, control = (_p99(times[side]) for side in ("peace", "swaps", "control"))
    return {
        "name": "p99 of live requests while the model is swapped, against peace",
        "value": round(swapping / steady, 3),
        "target": f"<= {SWAP_GOAL}",
        "met": swapping / steady <= SWAP_GOAL,
        "control": round(control / steady, 3),
        "void": abs(control / steady - 1) > MOST_DRIFT,
        "swaps": moved,
        "p99_ms": {side: round(_p99(each), 1) for side, each in times.items()},
        "p50_ms": {side: round(statistics.median(each), 1) for side, each in times.items()},
    }


def _at_random(server: LiveSide, clip: Path, ends_at: float, chance: random.Random) -> list[float]:
    """The milliseconds of each answer of one client, from the moment it was due."""
    taken, due = [], time.monotonic()
    while (due := due + chance.expovariate(2.5)) < ends_at:
        time.sleep(max(0.0, due - time.monotonic()))
        server.ask(clip)
        taken.append(1000 * (time.monotonic() - due))
    return taken


def _copy(context: Any, folder: Path, name: str) -> registry.Version:
    target = folder / name
    shutil.copytree(registry.BUNDLED, target)
    old = manifest.verify(target)
    manifest.write(target, name=name, languages=old.languages, window=old.window, trained_on=old.trained_on)
    return registry.register(context, str(target))


def _whisper(*, threads: int) -> WhisperModel:
    return WhisperModel(str(parts.model()), device="cpu", compute_type="int8", cpu_threads=threads)


def _bare_text(model: WhisperModel, path: Path) -> str:
    segments, _ = model.transcribe(str(path), vad_filter=True, condition_on_previous_text=False, **BARE)
    return " ".join(segment.text for segment in segments)


def _pipeline_text(pipeline: BatchedInferencePipeline, path: Path) -> str:
    segments, _ = pipeline.transcribe(str(path), batch_size=8, **BARE)
    return " ".join(segment.text for segment in segments)


def _took_ms(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return 1000 * (time.monotonic() - began)


def _p99(found: Sequence[float]) -> float:
    return statistics.quantiles(found, n=100)[98]
