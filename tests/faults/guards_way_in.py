"""Taking away the guards of the way in: merging, downloads, the store. See `tests.faults.guards`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.faults.guards import guard, module


@guard("merging-by-rank")
def _merging_by_rank() -> None:
    """What was said last is believed."""
    later = itertools.count(1)
    module("ml_backend.calls.merging")._kind = lambda name, value: next(later)


@guard("body-length")
def _body_length() -> None:
    """A body ends where it ends."""
    import httpx

    def raw(response: Any, name: str, length: int | None, cut: Any) -> Iterator[bytes]:
        try:
            yield from response.iter_raw()
        except httpx.HTTPError:
            return

    module("sync.outbound.body")._raw = raw


@guard("total-deadline")
def _total_deadline() -> None:
    """Each read has a timeout, the whole has none."""
    module("sync.outbound.deadline").Deadline._end = lambda self: None


@guard("redirects-are-judged")
def _redirects_are_judged() -> None:
    """Only the first address is looked up in the list."""
    outbound, origins = module("sync.outbound.fetching"), module("sync.outbound.origins")
    real = origins.permitted

    def permitted(text: str, listed: Any) -> Any:
        try:
            return real(text, listed)
        except Exception:
            address = origins.parse(text)
            host, port = address.host, address.port
            return address, origins.Origin(address.scheme, host, port, "/", may_be_private=True)

    origins.permitted = outbound.origins.permitted = permitted


@guard("inside-addresses")
def _inside_addresses() -> None:
    """A listed name may resolve to anything."""
    module("sync.outbound.origins").is_public = lambda text: True


@guard("three-redirects")
def _three_redirects() -> None:
    module("sync.outbound.fetching").MAX_HOPS = 10**9


@guard("credentials-stay-home")
def _credentials_stay_home() -> None:
    """Whoever is asked gets the key."""
    outbound = module("sync.outbound.fetching").Outbound
    real_answer, real_ask = outbound._answer, outbound._ask

    @contextmanager
    def answer(self: Any, url: str, basic: Any, *rest: Any, **options: Any) -> Iterator[Any]:
        self.given = basic.header() if basic else {}
        with real_answer(self, url, basic, *rest, **options) as found:
            yield found

    @contextmanager
    def ask(self: Any, address: Any, origin: Any, headers: Any, cut: Any) -> Iterator[Any]:
        with real_ask(self, address, origin, {**headers, **self.given}, cut) as found:
            yield found

    outbound._answer, outbound._ask = answer, ask


@guard("refused-key-stops")
def _refused_key_stops() -> None:
    """A 401 is one failed download like any other."""
    stops, tables = module("sync.exotel.stops"), module("ml_backend.tables")
    stops.until = lambda context: None
    stops.stop = lambda context, error: tables.now()


@guard("clock-jumps-are-noticed")
def _clock_jumps() -> None:
    module("ml_backend.relay").Relay._watch_the_clock = lambda self: None


@guard("spool")
def _spool() -> None:
    """A store that is down is just an error; nothing waits on our own disk, and nothing bounds it."""
    spool, errors = module("sync.recordings.spool"), module("ml_backend.errors")

    def add(*arguments: Any, **options: Any) -> None:
        raise errors.RetryableError("store-down", "The store is down.", "It is tried again.")

    spool.add = add


@guard("look-before-importing-again")
def _look_before_importing_again() -> None:
    """Nobody asks whether the tasks are there already."""
    module("sync.label_studio.client").LabelStudioClient.task_ids_by_key = lambda self, project_id, keys: {}


@guard("nightly-check")
def _nightly_check() -> None:
    """What was stored once is believed to be there."""
    module("sync.recordings.verification").verify = lambda context, recording, *, read_again: "sound"


@guard("list-of-tasks-is-read")
def _list_of_tasks_is_read() -> None:
    """Webhooks are all there is."""
    module("sync.reconcile").find_tasks = lambda context, project_id, task_ids=None: None


@guard("byte-cap")
def _byte_cap() -> None:
    outbound = module("sync.outbound.fetching").Outbound
    real = outbound.fetch
    outbound.fetch = lambda self, url, target, *, limit_bytes, basic=None: real(
        self, url, target, limit_bytes=1 << 50, basic=basic
    )


@guard("pages-are-no-audio")
def _pages_are_no_audio() -> None:
    module("sync.outbound.fetching").refuse_pages = lambda first: None


@guard("missing-recordings-are-asked-for-again")
def _asked_for_again() -> None:
    """What is not there at once is missing."""
    module("sync.exotel.downloads").LADDER = ()


@guard("accidents-are-fetched-once-more")
def _fetched_once_more() -> None:
    """What came is what the provider has."""
    module("sync.recordings.refetching")._ACCIDENTS = ()
