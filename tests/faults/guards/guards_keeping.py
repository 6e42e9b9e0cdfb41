"""Taking away the guards of the database, of secrets, and of Label Studio."""

from __future__ import annotations

import contextlib
import threading
from types import SimpleNamespace
from typing import Any

from tests.faults.guards.guards import guard, module


@guard("a-full-disk-is-said-with-503")
def _full_disk() -> None:
    """What the database raises is answered like any mistake of ours."""
    exotel = module("ml_backend.api.webhooks.exotel_webhook").Exotel
    exotel.call_event = lambda self, secret="": self._receive()
    module("ml_backend.db")._errors = contextlib.nullcontext


@guard("a-full-disk-pauses-downloads")
def _no_room_needed() -> None:
    """Recordings are fetched as long as there is a byte."""
    module("sync.recordings.originals").need_room = lambda context: None


@guard("migrations-are-whole")
def _migrations_are_whole() -> None:
    """Every statement of a migration is its own transaction."""
    module("ml_backend.db")._begin_sqlite = lambda connection: None


@guard("log-lines-are-masked")
def _log_lines() -> None:
    """What libraries and our own code say is written as it is."""
    module("ml_backend.log")._Masker.clean = lambda self, name, value: value


@guard("numbers-are-pseudonyms")
def _numbers() -> None:
    """The ledger keeps a number as it came."""
    module("ml_backend.calls.pseudonyms").pseudonym = lambda number, key: number.strip()


@guard("names-that-carry-numbers-are-hashed")
def _names_with_numbers() -> None:
    """What an erasure leaves of a call is named as before."""
    module("ml_backend.calls.phone_numbers").hidden = lambda name, key: name


@guard("addresses-lose-their-numbers")
def _addresses() -> None:
    """The address of a recording is kept for ever."""
    module("ml_backend.calls.ledger").reduce_addresses = lambda connection, call_id, found: None


@guard("older-rows-lose-their-numbers")
def _older_rows() -> None:
    """Only what happens from now on is hidden; rows that were there stay as an older release wrote them."""
    module("sync.privacy.hidden_names").hide_in_older_rows = lambda context: None


@guard("a-taken-hash-gets-the-rows-id")
def _taken_hash() -> None:
    """A name becomes its hash, whoever has that already."""
    hidden, numbers = module("sync.privacy.hidden_names"), module("ml_backend.calls.phone_numbers")
    hidden._unique = lambda connection, row, column, *, same, key: numbers.hidden(getattr(row, column.name), key)


@guard("raw-events-have-a-period")
def _raw_events() -> None:
    """Whatever was sent is kept for ever."""
    module("sync.privacy.raw_events").reduce_events = lambda context: None


@guard("a-refused-token-is-a-setting")
def _refused_token() -> None:
    """401 is trouble that passes."""
    http = module("sync.outbound.http")
    real = http.refused
    http.refused = lambda name, status, **options: real(name, 503 if status == 401 else status, **options)


@guard("an-expired-token-is-exchanged-once")
def _expired_token() -> None:
    """An access token is believed to live as long as it said."""
    tokens = module("sync.label_studio.tokens").TokenAuth
    real = tokens.auth_flow

    def flow(self: Any, request: Any) -> Any:
        steps, answer = real(self, request), None
        with contextlib.suppress(StopIteration):
            while answer is None or answer.status_code != 401:
                answer = yield steps.send(answer)

    tokens.auth_flow = flow


@guard("few-wait-for-a-draft")
def _few_wait() -> None:
    """Whoever opens a task waits for its draft, however many there are."""
    delivery = module("ml_backend.labelling.prediction_lookup").Deliveries
    real = delivery.__init__

    def opened(self: Any, context: Any) -> None:
        real(self, context)
        self._waiters = threading.BoundedSemaphore(10**6)

    delivery.__init__ = opened


@guard("the-first-of-two-writers-stays")
def _first_stays() -> None:
    """Objects are written to S3 unconditionally: the later of two writers wins."""
    module("ml_backend.storage.s3_store")._only_first = lambda on: contextlib.nullcontext()


@guard("redis-is-written-to-in-a-look")
def _redis_is_written_to() -> None:
    """A Redis that answers is taken for one that works."""
    module("ml_backend.jobs.transport")._write_something = lambda connection: None


@guard("a-refused-certificate-of-redis-is-named")
def _refused_certificate() -> None:
    """A Redis whose certificate is not trusted is one that is not there."""
    module("ml_backend.jobs.transport").certificates = SimpleNamespace(reason=lambda error: None)
