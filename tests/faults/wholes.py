"""A world with everything in it: what stands around the product, each behind a fault proxy, and a project for tasks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ml_backend import tables
from ml_backend.calls import ledger, pseudonyms
from ml_backend.calls.events import of_call
from ml_backend.jobs import runner, schedules
from ml_backend.jobs.leases import Settled
from ml_backend.labelling import labelconfig
from ml_backend.serving import default_model
from sync.projects import attachment
from tests.faults import label_studio, proxy, world
from tests.faults.label_studio import TOKEN, FakeLabelStudio
from tests.servers import exotel, moto, redis
from tests.servers.redis import RedisServer

CALL = world.ROOT / "ml_backend" / "bundled" / "calls" / "en-short-price.mp3"
OTHER_CALL = world.ROOT / "ml_backend" / "bundled" / "calls" / "mr-new-address.wav"
BUCKET = "call-recordings"


@dataclass
class Whole(world.World):
    """`provider` and `studio` are scripted; `store`, `labels`, `recorder`, `broker` are the proxies before them."""

    provider: exotel.Exotel = None  # type: ignore[assignment]
    studio: FakeLabelStudio = None  # type: ignore[assignment]
    store: proxy.Proxy = None  # type: ignore[assignment]
    labels: proxy.Proxy = None  # type: ignore[assignment]
    recorder: proxy.Proxy = None  # type: ignore[assignment]
    broker: proxy.Proxy = None  # type: ignore[assignment]

    def call(self, number: int, *, audio: bytes | None = None, **values: Any) -> dict[str, Any]:
        """A call at the provider, with its recording behind the proxy; gives its callback."""
        content = CALL.read_bytes() if audio is None else audio
        row = self.provider.add(number, audio=content, **values)
        address = row["RecordingUrl"].replace(self.provider.recordings_url, f"http://{self.recorder.address}")
        row["RecordingUrl"] = address
        return {
            "CallSid": row["Sid"], "EventType": "terminal", "Status": "completed", "From": row["From"],
            "To": row["To"], "Direction": "incoming", "RecordingUrl": address, "StartTime": row["StartTime"],
        }  # fmt: skip

    def report(self, number: int, **values: Any) -> dict[str, Any]:
        """The call happens and is called back about; its event is kept as the web process would. Gives the callback."""
        body = self.call(number, **values)
        event = of_call(body, source="status_callback", zone=self.settings.exotel_time_zone)
        with self.context.db.transaction() as connection:
            ledger.record(connection, event, key=pseudonyms.key_of(self.settings))
        return body

    def due_schedules(self) -> list[int]:
        """What the relay would make now."""
        return schedules.make_due(self.context.db, *schedules.SCHEDULES)

    def run_jobs(self, *, wait_s: float = 2.5) -> list[Settled]:
        """Everything due in this process, and what becomes due soon."""
        outcomes: list[Settled] = []
        while more := runner.run_due(self.context, wait_s=wait_s).outcomes:
            outcomes += more
            if not wait_s:
                break
        return outcomes


@contextlib.contextmanager
def running(
    folder: Path,
    redis_server: RedisServer,
    provider: exotel.Exotel,
    studio: FakeLabelStudio,
    s3: str,
    *,
    keys: tuple[str, str] = ("testing", "testing-secret"),
) -> Iterator[Whole]:
    """The whole for the length of a block."""
    with contextlib.ExitStack() as stack:
        between = {
            name: stack.enter_context(proxy.between(target))
            for name, target in (
                ("store", s3),
                ("labels", studio.url.removeprefix("http://")),
                ("recorder", provider.recordings_url.removeprefix("http://")),
                ("broker", f"127.0.0.1:{redis_server.port}"),
            )
        }
        environment = {
            **provider.environment,
            "EXOTEL_RECORDING_ORIGINS": f"http://{between['recorder'].address},"
            f"{provider.recordings_url},{provider.store_url}/exotelrecordings/",
            "EXOTEL_REQUESTS_PER_MINUTE": "200",
            "REDIS_URL": f"redis://{between['broker'].address}/0",
            "OBJECT_STORE": "s3://", "MINIO_ENDPOINT": between["store"].address, "MINIO_SECURE": "false",
            "MINIO_ACCESS_KEY": keys[0], "MINIO_SECRET_KEY": keys[1],
            "LABEL_STUDIO_URL": f"http://{between['labels'].address}", "LABEL_STUDIO_API_KEY": TOKEN,
            "LABEL_STUDIO_WEBHOOK_SECRET": "faults-hook-secret-" + "0" * 12,
            "BASIC_AUTH_USER": "label-studio", "BASIC_AUTH_PASS": "faults-basic-" + "0" * 12,
            "HOST": "127.0.0.1",
        }  # fmt: skip
        made = Whole(folder, environment, provider=provider, studio=studio, **between)
        made.environment["PUBLIC_URL"] = made.url
        provider.open = True  # the recorder is another plain-http origin, which is never given the key
        try:
            default_model.ensure(made.context)
            project = attachment.create(made.context, config=labelconfig.read("original"), title="faults")
            made.context.db.update(tables.projects, project, selection={"review": "all"})
            yield made
        except BaseException:
            for process in made.started:
                print(f"--- {process.log_path.name}\n{process.log[-3000:]}")
            raise
        finally:
            made.stop()


@dataclass(frozen=True)
class Around:
    """What a whole stands on, for those who want to kill it."""

    whole: Whole
    redis: RedisServer


@contextlib.contextmanager
def everything(folder: Path) -> Iterator[Around]:
    """A whole with servers of its own, as the fixtures of the quick set make it."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(redis.running(folder / "redis"))
        endpoint = stack.enter_context(moto.running())
        httpx.post(f"http://{endpoint}/moto-api/reset")  # its objects are the process's, not the server's
        parts = (stack.enter_context(exotel.running()), stack.enter_context(label_studio.running()))
        yield Around(stack.enter_context(running(folder, server, *parts, endpoint)), server)
