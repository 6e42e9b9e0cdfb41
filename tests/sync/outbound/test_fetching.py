"""What is fetched, from where, with which credentials, and what ends a server that does not play fair."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ml_backend.errors import ConfigurationError, KaanError, PermanentError, RetryableError
from ml_backend.settings import Settings
from sync.outbound import origins
from sync.outbound.fetching import Basic, Fetched, Outbound
from tests.servers import capture, exotel
from tests.sync.hostile import HOSTILE

BASIC = Basic(
    exotel.KEY,
    exotel.TOKEN,
    (origins.CredentialHost("127.0.0.1", is_local=True), origins.CredentialHost("calls.example")),
)
AUDIO = b"ID3" + bytes(range(256)) * 64


@pytest.fixture
def provider() -> Iterator[exotel.Exotel]:
    with exotel.running() as running:
        running.add(1, audio=AUDIO, file_name="a.mp3")
        yield running


def outbound(provider: exotel.Exotel, extra: str = "", **options: object) -> Outbound:
    text = provider.environment["EXOTEL_RECORDING_ORIGINS"] + (f",{extra}" if extra else "")
    return Outbound(origins.listed(Settings(_env_file=None, exotel_recording_origins=text)), **options)  # type: ignore[arg-type]


def fetch(way: Outbound, url: str, folder: Path, **options: object) -> Fetched:
    given = {"limit_bytes": 1_000_000, "basic": BASIC, **options}
    return way.fetch(url, folder / "call", **given)  # type: ignore[arg-type]


@contextmanager
def listener(host: str = "127.0.0.1") -> Iterator[list[str]]:
    """Counts connections on a port of its own: `places` holds its address first, then one entry per connection."""
    places: list[str] = []
    with socket.create_server((host, 0)) as server:
        server.settimeout(0.05)
        places.append(f"{host}:{server.getsockname()[1]}")
        stop = threading.Event()

        def count() -> None:
            while not stop.is_set():
                with suppress(TimeoutError, OSError):
                    connection, peer = server.accept()
                    places.append(str(peer))
                    connection.close()

        thread = threading.Thread(target=count)
        thread.start()
        try:
            yield places
            time.sleep(0.1)
        finally:
            stop.set()
            thread.join()


def test_a_recording_is_fetched_whole_with_its_digest(provider: exotel.Exotel, tmp_path: Path) -> None:
    found = fetch(outbound(provider), provider.address("a.mp3"), tmp_path)
    assert (tmp_path / "call").read_bytes() == AUDIO
    assert (found.size_bytes, found.complete) == (len(AUDIO), True)
    [seen] = provider.asked("recordings")
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["host"] == provider.recordings_url.removeprefix("http://")


def test_signed_addresses_get_no_credentials(provider: exotel.Exotel, tmp_path: Path) -> None:
    fetch(outbound(provider), provider.signed("a.mp3"), tmp_path)
    assert [seen.authorization for seen in provider.asked()] == [None]


def test_a_redirect_to_another_listed_host_is_followed_without_credentials(
    provider: exotel.Exotel, tmp_path: Path
) -> None:
    provider.script("recording", [f"redirect:{provider.signed('a.mp3')}"])
    found = fetch(outbound(provider), provider.address("a.mp3"), tmp_path)
    assert [bool(seen.authorization) for seen in provider.asked()] == [True, False]
    assert found.address.port == provider.ports["store"]


def test_credentials_do_not_come_back_after_a_detour(provider: exotel.Exotel, tmp_path: Path) -> None:
    provider.script(
        "recording", [f"redirect:{provider.signed('a.mp3')}", f"redirect:{provider.address('a.mp3')}", "empty"]
    )
    fetch(outbound(provider), provider.address("a.mp3"), tmp_path)
    assert [bool(seen.authorization) for seen in provider.asked()] == [True, False, False]


def test_a_relative_redirect_is_followed_without_credentials(provider: exotel.Exotel, tmp_path: Path) -> None:
    """Its 401 says nothing about the key, which was not sent there."""
    provider.script("recording", ["redirect:/exotelrecordings/other/a.mp3"])
    with pytest.raises(PermanentError) as caught:
        fetch(outbound(provider), provider.address("a.mp3"), tmp_path)
    assert caught.value.code == "http-needs-credentials"
    assert [bool(seen.authorization) for seen in provider.asked("recordings")] == [True, False]


def test_a_redirect_loop_ends_after_three(provider: exotel.Exotel, tmp_path: Path) -> None:
    provider.script("recording", [], then="loop")
    with pytest.raises(PermanentError) as caught:
        fetch(outbound(provider), provider.address("a.mp3"), tmp_path)
    assert caught.value.code == "http-redirects"
    assert len(provider.asked()) == 4


def test_no_hostile_redirect_is_followed(provider: exotel.Exotel, tmp_path: Path) -> None:
    with listener() as places:
        hostile = [f"http://{places[0]}/", f"https://{places[0]}/", f"//{places[0]}/", *HOSTILE]
        for text in hostile:
            if any(ord(character) < 32 or ord(character) > 255 for character in text):
                continue  # cannot be sent in a header
            provider.script("recording", [f"redirect:{text}"])
            with pytest.raises(KaanError) as caught:
                fetch(outbound(provider), provider.address("a.mp3"), tmp_path)
            assert caught.value.code in ("audio-source-refused", "http-redirects", "http-missing"), text
    assert len(places) == 1, "somebody connected"
    assert {seen.listener for seen in provider.asked()} == {"recordings"}


def test_the_metadata_service_is_not_reached(provider: exotel.Exotel, tmp_path: Path) -> None:
    provider.script("recording", ["fixture:rec_302_to_metadata"])
    with pytest.raises(PermanentError) as caught:
        fetch(outbound(provider), provider.address("a.mp3"), tmp_path)
    assert caught.value.code == "audio-source-refused"


def test_a_name_that_resolves_to_the_inside_is_refused(provider: exotel.Exotel, tmp_path: Path) -> None:
    """Every address is judged: one bad among good ones is enough."""
    with listener() as places:
        port = int(places[0].rpartition(":")[2])
        permitted = origins.AllowedOrigin("http", "calls.example", port)
        for answers in (["127.0.0.1"], ["1.1.1.1", "127.0.0.1"], ["::ffff:127.0.0.1"], ["::1"], ["169.254.169.254"]):
            way = Outbound([permitted], resolver=lambda host, port, answers=answers: answers)
            with pytest.raises(PermanentError) as caught:
                fetch(way, f"http://calls.example:{port}/a.mp3", tmp_path)
            assert caught.value.code == "audio-source-refused"
    assert len(places) == 1


def test_the_connection_goes_to_the_address_that_was_judged(
    provider: exotel.Exotel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebinding: the name answers with the listed place once and with another ever after. Nobody asks twice."""
    asked: list[str] = []
    port, provider.open = provider.ports["api"], True

    def answers(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    system = socket.getaddrinfo

    def no_names(host: str, *rest: object, **named: object) -> object:
        assert host == "127.0.0.1", f"{host} was resolved again"
        return system(host, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    way = Outbound([origins.AllowedOrigin("http", "calls.example", port, may_be_private=True)], resolver=answers)
    with listener("127.0.0.2") as places:
        fetch(way, f"http://calls.example:{port}/exotelrecordings/exampleaccount1/a.mp3", tmp_path)
    assert asked == ["calls.example"]
    assert len(places) == 1
    assert provider.asked()[0].headers["host"] == f"calls.example:{port}"


@pytest.mark.parametrize(
    ("mode", "branch", "code"),
    [
        ("401", ConfigurationError, "http-unauthorised"),
        ("403", PermanentError, "http-forbidden"),
        ("404", PermanentError, "http-missing"),
        ("429", RetryableError, "http-busy"),
        ("503", RetryableError, "http-unavailable"),
        ("html", PermanentError, "audio-is-a-page"),
        ("xml", PermanentError, "audio-is-a-page"),
        ("json", PermanentError, "audio-is-a-page"),
        ("short", RetryableError, "download-cut"),
        ("reset", RetryableError, "download-cut"),
        ("cut", RetryableError, "download-cut"),
        ("length-too-big", PermanentError, "audio-too-large"),
        ("endless", PermanentError, "audio-too-large"),
        ("gzip-bomb", PermanentError, "audio-too-large"),
        ("brotli", PermanentError, "http-encoding"),
    ],
)
def test_every_bad_answer_is_an_error_of_its_own(
    provider: exotel.Exotel, tmp_path: Path, mode: str, branch: type[KaanError], code: str
) -> None:
    provider.script("recording", [mode])
    with pytest.raises(branch) as caught:
        fetch(outbound(provider), provider.address("a.mp3"), tmp_path)
    assert caught.value.code == code
    assert caught.value.next_step
    assert exotel.TOKEN not in repr(caught.value)


def test_a_cut_body_says_how_much_came(provider: exotel.Exotel, tmp_path: Path) -> None:
    provider.script("recording", ["short"])
    with pytest.raises(RetryableError, match=f"got {len(AUDIO) // 2} of {len(AUDIO)} bytes"):
        fetch(outbound(provider), provider.address("a.mp3"), tmp_path)


@pytest.mark.parametrize("mode", ["drip", "drip-headers", "silent"])
def test_the_deadline_covers_everything(provider: exotel.Exotel, tmp_path: Path, mode: str) -> None:
    """A read timeout of 30 s would never end a byte every 50 ms."""
    provider.script("recording", [mode])
    began = time.monotonic()
    with pytest.raises(RetryableError) as caught:
        fetch(outbound(provider, deadline_s=0.6), provider.address("a.mp3"), tmp_path)
    assert caught.value.code == "download-deadline"
    assert time.monotonic() - began < 3


def test_a_body_without_a_length_is_kept_and_marked(provider: exotel.Exotel, tmp_path: Path) -> None:
    provider.script("recording", ["no-length"])
    assert not fetch(outbound(provider), provider.address("a.mp3"), tmp_path).complete


def test_a_server_that_compresses_against_our_wish_is_understood(provider: exotel.Exotel, tmp_path: Path) -> None:
    provider.script("recording", ["gzip"])
    fetch(outbound(provider), provider.address("a.mp3"), tmp_path)
    assert (tmp_path / "call").read_bytes() == AUDIO


def test_a_host_that_is_down_is_worth_another_try(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    way = Outbound([origins.AllowedOrigin("http", "127.0.0.1", port, may_be_private=True)])
    with pytest.raises(RetryableError) as caught:
        fetch(way, f"http://127.0.0.1:{port}/a.mp3", tmp_path)
    assert caught.value.code == "http-unreachable"


def test_the_environments_proxy_is_not_used(
    provider: exotel.Exotel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listener() as places:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{places[0]}")
        fetch(outbound(provider), provider.address("a.mp3"), tmp_path)
    assert len(places) == 1


@pytest.mark.parametrize(("host", "works"), [("calls.example", True), ("other.example", False)])
def test_https_is_checked_against_the_name_though_the_address_is_connected_to(
    provider: exotel.Exotel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, works: bool
) -> None:
    certified, key = capture.certificate(tmp_path, "calls.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(certified))
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certified, key)
    asked: list[str] = []
    server_side.sni_callback = lambda connection, name, context: asked.append(name)
    with socket.create_server(("127.0.0.1", 0)) as plain:
        port = plain.getsockname()[1]

        def serve() -> None:
            with suppress(OSError):
                connection, _ = plain.accept()
                with server_side.wrap_socket(connection, server_side=True) as stream:
                    asked.append(stream.recv(4096).decode())
                    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nID3")

        thread = threading.Thread(target=serve)
        thread.start()
        way = Outbound(
            [origins.AllowedOrigin("https", host, port, may_be_private=True)], resolver=lambda *_: ["127.0.0.1"]
        )
        if works:
            assert fetch(way, f"https://{host}:{port}/a.mp3", tmp_path).size_bytes == 3
            assert f"Host: {host}:{port}" in asked[1]
        else:
            with pytest.raises(RetryableError) as caught:
                fetch(way, f"https://{host}:{port}/a.mp3", tmp_path)
            assert caught.value.code == "certificate-other-name"
        thread.join(5)
    assert asked[0] == host
