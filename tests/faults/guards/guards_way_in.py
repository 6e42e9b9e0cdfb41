"""Taking away the guards of the way in: merging, downloads, the store."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.faults.guards.guards import guard, module, removals


@guard("merging-by-rank")
def _merging_by_rank() -> None:
    """What was said last is believed."""
    later = itertools.count(1)
    module("ml_backend.calls.merging")._kind = lambda name, value: next(later)


@guard("empty-fields-say-nothing")
def _empty_fields() -> None:
    """What a message leaves out is gone; of a call's facts, so that the call stays one."""
    merging = module("ml_backend.calls.merging")
    real, facts = merging.merge, ("talk_seconds", "direction", "custom_field")

    def merge(call: Any, event: Any, *, key: bytes, at: Any) -> dict[str, Any]:
        told = merging._values(event, key=key)
        empty = {name: None for name in facts if told[name] is None and call[name] is not None}
        return {**empty, **real(call, event, key=key, at=at)}

    merging.merge = merge


@guard("copies-are-one")
def _copies_are_one() -> None:
    """Every copy of a callback is an event, and every event is about a recording of its own."""
    removals()["one-row-per-event"]()
    module("ml_backend.calls.ledger").recording_identity = lambda call_sid, url: f"{call_sid}:{uuid.uuid4().hex}"


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
            return address, origins.AllowedOrigin(address.scheme, host, port, "/", may_be_private=True)

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
    outbound, origins = module("sync.outbound.fetching").Outbound, module("sync.outbound.origins")
    real_answer, real_ask = outbound._answer, outbound._ask
    anywhere = origins.CredentialHost(".example")

    @contextmanager
    def answer(self: Any, url: str, basic: Any, *rest: Any, **options: Any) -> Iterator[Any]:
        home = origins.Address("https", "any.example", 443)
        self.given = type(basic)(basic.user, basic.password, (anywhere,)).header(home) if basic else {}
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
    module("ml_backend.jobs.relay").Relay._watch_the_clock = lambda self: None


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
    client = module("sync.label_studio.label_studio_client").LabelStudioClient
    client.task_ids_by_key = lambda self, project_id, keys: {}


@guard("nightly-check")
def _nightly_check() -> None:
    """What was stored once is believed to be there."""
    module("sync.recordings.verification").verify = lambda context, recording, *, read_again: "sound"


@guard("list-of-tasks-is-read")
def _list_of_tasks_is_read() -> None:
    """Webhooks are all there is."""
    module("sync.projects.task_reconciliation").find_tasks = lambda context, project_id, task_ids=None: None


@guard("byte-cap")
def _byte_cap() -> None:
    """Nobody counts the bytes, until twenty times as many came."""
    outbound, errors = module("sync.outbound.fetching").Outbound, module("ml_backend.errors")
    real = outbound.fetch

    def fetch(self: Any, url: str, target: Any, *, limit_bytes: int, basic: Any = None) -> Any:
        try:
            return real(self, url, target, limit_bytes=20 * limit_bytes, basic=basic)
        except errors.PermanentError as error:
            if error.code == "audio-too-large":
                raise AssertionError("twenty times the limit came") from error
            raise

    outbound.fetch = fetch


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


@guard("one-look-up-per-connection")
def _one_look_up() -> None:
    """The address is judged, and then the name is looked up."""
    outbound = module("sync.outbound.fetching").Outbound
    real = outbound.judged

    def judged(self: Any, address: Any, origin: Any) -> Any:
        real(self, address, origin)
        return self.resolver(address.host, address.port)

    outbound.judged = judged


@guard("passing-trouble-is-no-rung")
def _no_rung() -> None:
    """A busy provider is one that has no recording."""
    downloads = module("sync.exotel.downloads")
    downloads._pause = lambda context, recording, error: downloads._step(context, recording, error)


@guard("the-better-of-two-is-kept")
def _better_of_two() -> None:
    """What was fetched last is the recording."""
    module("sync.recordings.refetching").fall_back = lambda *arguments, **options: False


@guard("a-taken-name-gets-a-digest")
def _taken_name() -> None:
    """Whatever lies under the name of a recording is the recording."""
    originals, errors = module("sync.recordings.originals"), module("ml_backend.errors")

    def store(context: Any, recording: Any, path: Any, *, extension: str, sha256: str) -> str:
        bucket, key = context.settings.recordings_bucket, str(originals.key_of(context, recording, extension=extension))
        with suppress(errors.PermanentError):
            context.store.put_file(bucket, key, path)
        return key

    originals.store = store
