"""Slow clients in numbers: how long everybody else waits while hundreds of connections say nothing or little."""

from __future__ import annotations

import http.client
import json
import time

from tests.faults.full import Figure, Run
from tests.ml_backend.commands.test_web import ask, running
from tests.ml_backend.slow_clients import crowd

SECRET = "exotel-secret-of-no-value"


def slow_clients(run: Run) -> list[Figure]:
    """300 silent connections and 50 slow ones, each coming again when it is let go, against the real server."""
    silent, slow, rounds = run.count(300, least=30), run.count(50, least=10), run.count(300, least=30)
    healths, callbacks, refused, dropped = [], [], 0, 0
    with running(run.folder, EXOTEL_WEBHOOK_SECRET=SECRET) as port:
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        kept.request("GET", "/health")
        kept.getresponse().read()
        with crowd(port, silent=silent, slow=slow, secret=SECRET):
            for number in range(rounds):
                run.say(f"{number} of {rounds} rounds")
                began = time.monotonic()
                refused += ask(port, "GET", "/health", attempt=True)[0] != 200
                healths.append(time.monotonic() - began)
                began = time.monotonic()
                event = json.dumps({"CallSid": f"{number:032x}"})
                refused += ask(port, "POST", f"/webhooks/exotel/{SECRET}", event, attempt=True)[0] != 200
                callbacks.append(time.monotonic() - began)
                try:
                    kept.request("GET", "/health")
                    kept.getresponse().read()
                except OSError:
                    dropped += 1
                    kept.close()
                time.sleep(0.03)
        kept.close()
    crowd_of = f"with {silent} silent and {slow} slow connections"
    late = p99(healths)
    return [
        Figure(f"/health, p99, {crowd_of}", "<= 1 s", f"{late:.3f} s of {rounds}", late <= 1),
        Figure("callbacks' p99 meanwhile", "<= 1 s", f"{p99(callbacks):.3f} s", p99(callbacks) <= 1),
        Figure("unanswered; kept-alive requests dropped", "0, 0", f"{refused}, {dropped}", not refused and not dropped),
    ]


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]
