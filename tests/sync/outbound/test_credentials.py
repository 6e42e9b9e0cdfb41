"""Every credential goes to the one host it belongs to: not to another listed origin, a redirect's target or a proxy.

Real servers write down what they are given. Kaan's own tokens and webhook secrets are only ever received, never sent:
what could carry them out is the check of PUBLIC_URL, and Label Studio, which is told of its webhook's secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ml_backend.errors import ConfigurationError, KaanError, PermanentError
from ml_backend.settings import Settings
from ml_backend.settings import load as load_settings
from ml_backend.storage.s3_store import S3Store
from sync.commands import doctor
from sync.exotel import exotel_client as exotel
from sync.label_studio.label_studio_client import LabelStudioClient
from sync.outbound import http, origins
from sync.outbound.fetching import Outbound
from tests.servers import capture
from tests.servers.capture import Capture

KEY, TOKEN = "exotel-key-of-no-value", "example-api-token-of-no-value"
AUDIO = b"ID3" + bytes(range(256))
HOSTS = ("recordings.exotel.com", "api.example", "calls.example", "recordings.exotel.com.example", "exotel.com")
LEGACY = "0d3f5a7b9c1e2468" * 2
PERSONAL = "eyJhbGciOiJub25lIn0.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.no-signature"


def settings(**values: object) -> Settings:
    given = {"exotel_account_sid": "a1", "exotel_api_key": KEY, "exotel_api_token": TOKEN, **values}
    return Settings(_env_file=None, **given)  # type: ignore[arg-type]


def fetch(url: str, folder: Path, found: Settings, *, permitted: str = "") -> None:
    """As a download does it: whatever is listed may be fetched; every name leads to this machine."""
    listed = [origins.parse(text) for text in (permitted.split(",") if permitted else [url])]
    entries = [origins.AllowedOrigin(one.scheme, one.host, one.port, may_be_private=True) for one in listed]
    way = Outbound(entries, resolver=lambda host, port: ["127.0.0.1"])
    way.fetch(url, folder / "call", limit_bytes=1_000_000, basic=exotel.credentials(found))


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Capture]:
    """A server that may call itself by any of HOSTS."""
    files = capture.certificate(tmp_path, *HOSTS)
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    with capture.running(certified=files, audio=AUDIO) as running:
        yield running


@pytest.mark.parametrize(
    ("host", "named", "given"),
    [
        ("recordings.exotel.com", "", True),
        ("api.example", "", True),  # EXOTEL_API_URL's
        ("calls.example", "", False),
        ("calls.example", "calls.example", True),
        ("calls.example", "other.example, calls.example:{port}", True),
        ("calls.example", "calls.example:1", False),
        ("recordings.exotel.com.example", "", False),
        ("exotel.com", "", False),
    ],
)
def test_exotels_key_goes_to_exotels_hosts_and_to_those_named_for_it(
    secure: Capture, tmp_path: Path, host: str, named: str, given: bool
) -> None:
    found = settings(exotel_api_url="https://api.example", exotel_credential_hosts=named.format(port=secure.port))
    fetch(f"https://{host}:{secure.port}/a.mp3", tmp_path, found)
    assert [bool(one) for one in secure.authorizations] == [given]


@pytest.mark.parametrize("host", ["recordings.exotel.com", "api.example", "calls.example"])
def test_exotels_key_is_never_sent_over_plain_http(tmp_path: Path, host: str) -> None:
    found = settings(exotel_api_url="https://api.example", exotel_credential_hosts="calls.example")
    with capture.running(audio=AUDIO) as plain:
        fetch(f"http://{host}:{plain.port}/a.mp3", tmp_path, found)
    assert plain.authorizations == [None]


def test_an_api_on_this_machine_is_the_one_plain_home_of_the_key(tmp_path: Path) -> None:
    """Its neighbour on another port is a stranger."""
    with capture.running(audio=AUDIO) as api, capture.running(audio=AUDIO) as neighbour:
        found = settings(exotel_api_url=api.url)
        fetch(f"{api.url}/a.mp3", tmp_path, found)
        fetch(f"{neighbour.url}/a.mp3", tmp_path, found)
    assert [bool(one) for one in api.authorizations] == [True]
    assert neighbour.authorizations == [None]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_exotels_key_never_follows_a_redirect_not_even_to_another_of_exotels_hosts(
    secure: Capture, tmp_path: Path, status: int
) -> None:
    found = settings(exotel_api_url="https://api.example")
    secure.status, secure.redirect = status, f"https://api.example:{secure.port}"
    start, target = (f"https://{host}:{secure.port}" for host in ("recordings.exotel.com", "api.example"))
    with pytest.raises(PermanentError, match="redirected more than"):
        fetch(f"{start}/a.mp3", tmp_path, found, permitted=f"{start},{target}")
    assert [bool(one) for one in secure.authorizations] == [True, False, False, False]


def test_a_host_that_was_given_nothing_cannot_say_that_the_key_is_wrong(tmp_path: Path) -> None:
    """A 401 stops the whole account, so it has to come from one that saw the key."""
    with capture.running(redirect="x") as other:
        other.status = 401
        with pytest.raises(PermanentError) as caught:
            fetch(f"{other.url}/a.mp3", tmp_path, settings())
    assert caught.value.code == "http-needs-credentials"
    assert "EXOTEL_CREDENTIAL_HOSTS" in caught.value.next_step


def test_a_key_for_an_api_over_plain_http_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="EXOTEL_API_URL must be https"):
        load_settings(exotel_api_url="http://api.exotel.com", exotel_api_key=KEY, exotel_api_token=TOKEN)


@pytest.mark.parametrize("entry", ["http://calls.example", "https://calls.example", "calls.example/x", "a b", "x@y"])
def test_a_named_host_is_a_host_and_nothing_else(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="EXOTEL_CREDENTIAL_HOSTS"):
        load_settings(exotel_credential_hosts=entry)


@pytest.mark.parametrize("token", [LEGACY, PERSONAL])
def test_label_studios_token_follows_no_redirect_and_no_address_elsewhere(token: str) -> None:
    answers = {"/api/token/refresh/": {"access": "the-access-token"}}
    with capture.running() as elsewhere, capture.running(redirect=elsewhere.url, answers=answers) as home:
        client = LabelStudioClient(home.url, token)
        for path in ("/api/version", f"{elsewhere.url}/api/version"):
            with suppress(KaanError):
                client.call("GET", path)
        with pytest.raises(KaanError):
            client.project(1)  # through the official SDK
    assert elsewhere.authorizations in ([None], []), elsewhere.text
    assert token not in elsewhere.text
    assert any(home.authorizations)


def test_an_upload_that_redirects_elsewhere_takes_no_token_along(tmp_path: Path) -> None:
    with capture.running() as elsewhere, capture.running(redirect=elsewhere.url) as home:
        with pytest.raises(PermanentError):
            LabelStudioClient(home.url, LEGACY).fetch_upload("/data/upload/1/a.wav", tmp_path / "a", limit_bytes=9)
    assert elsewhere.caught == []


def test_a_download_leaves_its_headers_with_the_first_origin(tmp_path: Path) -> None:
    given = {"Authorization": "Token secret", "Cookie": "session=secret", "X-Api-Key": "secret"}
    with capture.running(audio=AUDIO) as elsewhere, capture.running(redirect=elsewhere.url) as home:
        http.download(http.client(), f"{home.url}/a", tmp_path / "a", name="it", limit_bytes=10_000, headers=given)
    assert "secret" in home.text
    assert "secret" not in elsewhere.text


def test_nothing_goes_through_a_proxy_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is given every request over plain http whole: its token, its key, the signature."""
    with capture.running() as proxy, capture.running(audio=AUDIO) as provider, capture.running() as home:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.lower(), proxy.url)
        fetch(f"{provider.url}/a.mp3", tmp_path, settings(exotel_api_url=provider.url))
        LabelStudioClient(home.url, LEGACY).call("GET", "/api/version")
        list(doctor._reachable(settings(public_url=home.url)))
        with suppress(KaanError):
            store(home).check("calls")
        assert proxy.caught == [], proxy.text
    assert len(home.caught) == 3


def store(server: Capture) -> S3Store:
    return S3Store(f"127.0.0.1:{server.port}", access_key="s3-key", secret_key="s3-secret", secure=False)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_neither_the_stores_signature_nor_the_audio_follows_a_redirect(tmp_path: Path, status: int) -> None:
    with capture.running() as elsewhere, capture.running(redirect=elsewhere.url, status=status) as home:
        asked = store(home)
        for work in (
            lambda: asked.check("calls"),
            lambda: asked.put_bytes("calls", "a", AUDIO),
            lambda: asked.fetch("calls", "a", tmp_path / "a"),
            lambda: list(asked.list("calls")),
        ):
            with pytest.raises(KaanError):
                work()
    assert elsewhere.caught == [], elsewhere.text
    assert any("s3-key" in (one or "") for one in home.authorizations)
    assert "s3-secret" not in home.text


def test_the_check_of_our_own_address_carries_no_credential() -> None:
    given = {
        "label_studio_webhook_secret": "w" * 20, "basic_auth_user": "u", "basic_auth_pass": "p" * 20,
        "api_tokens": f"me:read:{'t' * 20}", "exotel_webhook_secret": "e" * 20,
    }  # fmt: skip
    with capture.running() as ours:
        list(doctor._reachable(settings(public_url=ours.url, **given)))
    [seen] = ours.caught
    assert not any(secret * 20 in seen.text for secret in "wpte")
    assert seen.headers.get("authorization") is None


def test_the_hubs_token_stays_with_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client is a library: this is what makes sure of its next version too."""
    from huggingface_hub import HfApi

    with capture.running() as elsewhere, capture.running(redirect=elsewhere.url) as hub:
        api = HfApi(endpoint=hub.url, token="hf_secret_of_no_value")
        with suppress(Exception):  # of whatever kind: it is about what was sent
            api.create_repo("me/calls", repo_type="dataset", private=True, exist_ok=True)
    assert "hf_secret_of_no_value" in hub.text
    assert "hf_secret" not in elsewhere.text
