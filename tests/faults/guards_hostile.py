"""Taking away the guards against hostile callers and neighbours. See `tests.faults.guards`."""

from __future__ import annotations

from typing import Any

from tests.faults.guards import guard, module


@guard("the-key-has-its-homes")
def _the_key_has_its_homes() -> None:
    """Every listed origin is given Exotel's key."""
    module("sync.outbound.origins").Home.covers = lambda self, address: True


@guard("a-tasks-address-gets-no-key")
def _a_tasks_address() -> None:
    """What a task names is fetched as a call's recording is."""
    fetching, exotel = module("sync.outbound.fetching"), module("sync.exotel.client")
    real = fetching.outbound_of

    def outbound_of(context: Any) -> Any:
        way = real(context)
        fetch = type(way).fetch
        way.fetch = lambda *given, **named: fetch(
            way, *given, **{"basic": exotel.credentials(context.settings), **named}
        )
        return way

    module("sync.ingest").outbound_of = outbound_of


@guard("no-proxy-of-the-environment")
def _no_proxy() -> None:
    """The HTTP library does as the environment says."""
    http, httpx = module("sync.http"), module("httpx")

    def client(base_url: str = "", *, read_s: float = 60.0, transport: Any = None, **options: Any) -> Any:
        return httpx.Client(base_url=base_url, timeout=read_s, transport=transport, follow_redirects=False, **options)

    http.client = client


@guard("the-token-stays-at-label-studio")
def _the_token_stays() -> None:
    """Whatever address is asked for gets the token."""
    tokens = module("sync.label_studio.tokens")
    real = module("sync.http")
    tokens.http = type(
        "Http", (), {"origin": staticmethod(lambda url: ""), "checked": real.checked, "json_of": real.json_of}
    )


@guard("the-store-is-not-redirected")
def _the_store_is_not_redirected() -> None:
    """A store may send us elsewhere, with the audio."""
    storage = module("ml_backend.storage_s3")
    real = storage.urllib3.Retry
    storage.urllib3 = type("U", (), {**vars(storage.urllib3)})
    storage.urllib3.Retry = lambda **options: real(**{**options, "redirect": 2})
