"""Taking away the guards of reading Exotel's listing."""

from __future__ import annotations

import datetime as dates
from typing import Any

from tests.faults.guards.guards import guard, module


@guard("one-reader-of-the-listing")
def _one_reader() -> None:
    module("sync.exotel.reader_positions").lease = lambda connection, name, owner: True


@guard("listing-is-read")
def _listing_is_read() -> None:
    """Callbacks are all there is."""
    module("sync.exotel.listing").go = lambda context, walk, **options: None


@guard("pages-are-checkpointed")
def _pages_are_checkpointed() -> None:
    """A reading that stopped begins again."""
    module("sync.exotel.reader_positions").write = lambda connection, name, position, **values: None


@guard("circles-are-noticed")
def _circles() -> None:
    """A next link is followed wherever it leads, here fifty times."""

    class Forgetful(list):  # type: ignore[type-arg]
        def add(self, path: str) -> None:
            self.append(path)
            assert len(self) < 50, "the same page again and again"

        def __contains__(self, path: object) -> bool:
            return False

    module("sync.exotel.listing").set = Forgetful


@guard("runs-overlap")
def _runs_overlap() -> None:
    """Each run begins where the one before it ended."""
    listing, reached = module("sync.exotel.listing"), dict[str, Any]()
    real = listing.begin

    def begin(context: Any, label: str, *, since: Any, until: Any, **options: Any) -> Any:
        begun, reached[label] = reached.get(label, since), until
        return real(context, label, since=begun, until=until, **options)

    listing.begin = begin


@guard("windows-of-a-month")
def _windows_of_a_month() -> None:
    """As long as is asked for."""
    module("sync.exotel.listing").WINDOW = dates.timedelta(days=400)


@guard("six-months-are-the-end")
def _six_months() -> None:
    module("sync.exotel.listing").MONTHS_BACK = 120


@guard("errors-inside-a-200")
def _errors_inside() -> None:
    """200 is 200."""
    client = module("sync.exotel.exotel_client")
    real = client.json.loads

    class Json:
        @staticmethod
        def loads(body: Any) -> Any:
            found = real(body)
            if isinstance(found, dict) and "RestException" in found:
                return {"Calls": [], "Metadata": {}}
            return found

    client.json = Json


@guard("the-provider-has-a-zone")
def _zone() -> None:
    """Exotel is asked in our time."""
    module("sync.exotel.listing").zone_of = lambda name: dates.UTC
