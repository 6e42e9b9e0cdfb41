"""moto's S3: quick and broad, but it accepts any signature. Swift is the one that refuses.

`enforcing` makes a moto that checks signatures and policies. Every request is answered for itself, as S3 does: moto
looks whether a key is taken and writes it in two steps, and two requests would come between them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

_ALL = 10**9  # requests that are let through unasked


@dataclass(frozen=True)
class Enforcing:
    """A server that checks signatures and policies, and one key with exactly the rights asked for."""

    endpoint: str
    access_key: str
    secret_key: str


class _OneByOne(ThreadedMotoServer):
    """ThreadedMotoServer with an application that is entered by one request at a time."""

    def _server_entry(self) -> None:
        inner, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

        def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            with lock:
                return list(inner(environ, start))

        self._server = make_server(self._ip_address, self._port, app, True, request_handler=MotoRequestHandler)  # type: ignore[arg-type]
        self._server_ready_event.set()
        self._server.serve_forever()


@contextmanager
def running() -> Iterator[str]:
    """host:port of an empty S3 server in this process, for the length of a block; one at a time."""
    server = _OneByOne(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        httpx.post(f"http://{host}:{port}/moto-api/reset").raise_for_status()  # what it holds outlives the server
        yield f"{host}:{port}"
    finally:
        server.stop()


@contextmanager
def enforcing(statements: Sequence[Mapping[str, Any]], *, buckets: Sequence[str], region: str) -> Iterator[Enforcing]:
    """A server with these buckets, whose one user has a policy of these statements and nothing else."""
    with running() as endpoint:
        address = f"http://{endpoint}"
        options = {
            "endpoint_url": address, "region_name": region,
            "aws_access_key_id": "anybody", "aws_secret_access_key": "anything",
        }  # fmt: skip
        try:
            httpx.post(f"{address}/moto-api/reset-auth", content=str(_ALL).encode()).raise_for_status()
            iam, s3 = boto3.client("iam", **options), boto3.client("s3", **options)
            for bucket in buckets:
                s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
                s3.put_object(Bucket=bucket, Key="recordings/2026/11/22/a.wav", Body=b"RIFF")
            iam.create_user(UserName="kaan")
            policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            iam.put_user_policy(UserName="kaan", PolicyName="kaan", PolicyDocument=policy)
            key = iam.create_access_key(UserName="kaan")["AccessKey"]
            httpx.post(f"{address}/moto-api/reset-auth", content=b"0").raise_for_status()
            yield Enforcing(endpoint, key["AccessKeyId"], key["SecretAccessKey"])
        finally:
            httpx.post(f"{address}/moto-api/reset-auth", content=str(_ALL).encode())
