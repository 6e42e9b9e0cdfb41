"""Taking away the guards against hostile callers and neighbours."""

from __future__ import annotations

from typing import Any

from tests.faults.guards.guards import guard, module


@guard("the-key-has-its-homes")
def _the_key_has_its_homes() -> None:
    """Every listed origin is given Exotel's key."""
    module("sync.outbound.origins").CredentialHost.covers = lambda self, address: True


@guard("a-tasks-address-gets-no-key")
def _a_tasks_address() -> None:
    """What a task names is fetched as a call's recording is."""
    fetching, exotel = module("sync.outbound.fetching"), module("sync.exotel.exotel_client")
    real = fetching.outbound_of

    def outbound_of(context: Any) -> Any:
        way = real(context)
        fetch = type(way).fetch
        way.fetch = lambda *given, **named: fetch(
            way, *given, **{"basic": exotel.credentials(context.settings), **named}
        )
        return way

    module("sync.recordings.ingest").outbound_of = outbound_of


@guard("no-proxy-of-the-environment")
def _no_proxy() -> None:
    """The HTTP library does as the environment says."""
    http, httpx = module("sync.outbound.http"), module("httpx")

    def client(base_url: str = "", *, read_s: float = 60.0, ca_file: str = "", **options: Any) -> Any:
        return httpx.Client(base_url=base_url, timeout=read_s, follow_redirects=False, **options)

    http.client = client


@guard("the-token-stays-at-label-studio")
def _the_token_stays() -> None:
    """Whatever address is asked for gets the token."""
    tokens = module("sync.label_studio.tokens")
    real = module("sync.outbound.http")
    tokens.http = type(
        "Http", (), {"origin": staticmethod(lambda url: ""), "checked": real.checked, "json_of": real.json_of}
    )


@guard("the-store-is-not-redirected")
def _the_store_is_not_redirected() -> None:
    """A store may send us elsewhere, with the audio."""
    storage = module("ml_backend.storage.s3_store")
    real = storage.urllib3.Retry
    storage.urllib3 = type("U", (), {**vars(storage.urllib3)})
    storage.urllib3.Retry = lambda **options: real(**{**options, "redirect": 2})


@guard("silent-connections-wait-in-the-loop")
def _silent_connections() -> None:
    """gunicorn's own thread worker: whoever connects is given a thread."""
    server, gthread = module("ml_backend.api.server"), module("gunicorn.workers.gthread")
    server.Worker = type("Worker", (gthread.ThreadWorker,), {"handle_error": server.Worker.handle_error})


@guard("one-address-has-its-share")
def _one_address() -> None:
    """An address may have as many connections as it opens, and none is let go for a newer one."""
    connections = module("ml_backend.api.waiting_connections")
    connections.PER_ADDRESS = 10**9
    connections.BufferingWorker._make_room = lambda self, among: False


@guard("headers-have-three-seconds")
def _headers() -> None:
    module("ml_backend.api.waiting_connections").HEAD_S = 3600.0


@guard("large-bodies-have-their-share")
def _large_bodies() -> None:
    """As many as there are threads may be read at once, and nobody has threads of their own."""
    connections = module("ml_backend.api.waiting_connections")
    connections.LANES = {}
    real = connections.Lane.__init__

    def made(self: Any, name: str, threads: int) -> None:
        real(self, name, threads)
        self._most_streams = threads

    connections.Lane.__init__ = made


@guard("answers-wait-in-the-loop")
def _answers_wait() -> None:
    """A thread sends its answer to the last byte."""
    stream = module("ml_backend.api.waiting_connections").BufferedSocket

    def sendall(self: Any, data: bytes) -> None:
        self.unsent += data
        while self.unsent:
            self._waits(module("select").POLLOUT, module("time").monotonic() + 3600)
            self.flush()

    stream.sendall = stream.send = sendall


@guard("an-unread-body-ends-its-connection")
def _unread_body() -> None:
    """After an answer the connection goes on, wherever the body ended."""
    worker = module("ml_backend.api.waiting_connections").BufferingWorker
    worker._keepalive_after = lambda self, conn, keepalive: keepalive
    module("gunicorn.http.parser").Parser.finish_body = lambda self, **options: True


@guard("control-characters-are-refused")
def _control_characters() -> None:
    module("ml_backend.api.requests")._refuse_control_characters = lambda: None


@guard("no-redirects")
def _no_redirects() -> None:
    """The router tidies addresses up."""
    flask = module("flask")
    real = flask.Flask.add_url_rule

    def add(self: Any, *given: Any, **named: Any) -> None:
        self.url_map.merge_slashes = True
        real(self, *given, **named)

    flask.Flask.add_url_rule = add


@guard("filters-are-checked")
def _filters_are_checked() -> None:
    """What a query string holds is used as it is, and unknown names are passed over."""
    queries = module("ml_backend.views.queries")

    def unchecked(model: Any, arguments: Any) -> Any:
        return model.model_construct(**{name: arguments[name][0] for name in arguments if name in model.model_fields})

    queries.from_arguments = unchecked
