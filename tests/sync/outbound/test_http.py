"""Foreign errors become ours, by what a person can do about them."""

from __future__ import annotations

import inspect
from pathlib import Path

import httpx
import pytest

from ml_backend.errors import ConfigurationError, KaanError, PermanentError, RetryableError
from sync.outbound import http
from sync.outbound.body import stated_length


@pytest.mark.parametrize(
    ("status", "branch"),
    [
        (401, ConfigurationError),
        *((status, PermanentError) for status in (400, 403, 404)),
        *((status, RetryableError) for status in (408, 429, 500, 502, 503)),
    ],
)
def test_the_status_decides_the_branch(status: int, branch: type[KaanError]) -> None:
    with pytest.raises(branch) as caught:
        http.checked(httpx.Response(status, json={"detail": "said"}), "Label Studio")
    assert caught.value.next_step


def every_transport_error() -> list[type[Exception]]:
    found = [kind for _, kind in inspect.getmembers(httpx, inspect.isclass) if issubclass(kind, httpx.HTTPError)]
    return [kind for kind in found if kind is not httpx.HTTPStatusError] + [httpx.InvalidURL, httpx.StreamClosed]


@pytest.mark.parametrize("kind", every_transport_error(), ids=lambda kind: kind.__name__)
def test_no_error_of_the_library_gets_through(kind: type[Exception]) -> None:
    error = kind() if kind is httpx.StreamClosed else kind("https://user:secret@host/?key=secret")
    with pytest.raises(KaanError) as caught, http.errors_as("Label Studio"):
        raise error
    assert "secret" not in str(caught.value)


def test_the_time_a_server_asks_for_is_kept_within_reason() -> None:
    with pytest.raises(RetryableError) as caught:
        http.checked(httpx.Response(429, headers={"Retry-After": "30"}), "Exotel")
    assert caught.value.after_s == 30
    with pytest.raises(RetryableError) as caught:
        http.checked(httpx.Response(429, headers={"Retry-After": "999999"}), "Exotel")
    assert caught.value.after_s == 3600


@pytest.mark.parametrize(
    "said", ["\u00b2", "3\u00b2", "\u2462", "soon", "-1", "1e9", "", "Wed, 21 Oct 2026 07:28:00 GMT"]
)
def test_a_time_or_a_length_that_is_no_number_counts_as_none_said(said: str) -> None:
    """Superscripts and circled digits are digits to Python, and no numbers."""
    with pytest.raises(RetryableError) as caught:
        http.checked(httpx.Response(429, headers={b"Retry-After": said.encode()}), "Exotel")  # type: ignore[dict-item]
    assert caught.value.after_s is None
    assert stated_length(httpx.Response(200, headers={b"Content-Length": said.encode()})) is None  # type: ignore[dict-item]


def test_a_login_page_instead_of_json_is_an_error_of_its_own() -> None:
    with pytest.raises(RetryableError, match="not JSON"):
        http.json_of(httpx.Response(200, text="<html>Log in</html>"), "Label Studio")


def fetch(handler: object, target: Path, **options: object) -> int:
    with http.client(transport=httpx.MockTransport(handler)) as client:  # type: ignore[arg-type]
        given = {"name": "the server", "limit_bytes": 1000, **options}
        return http.download(client, "https://a.example/call.wav", target, **given)  # type: ignore[arg-type]


def test_a_download_larger_than_allowed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PermanentError) as caught:
        fetch(lambda request: httpx.Response(200, content=b"x" * 2000), tmp_path / "call")
    assert caught.value.code == "audio-too-large"


def test_credentials_stay_with_the_first_origin(tmp_path: Path) -> None:
    seen = {}

    def answer(request: httpx.Request) -> httpx.Response:
        seen[request.url.host] = request.headers.get("authorization")
        if request.url.host == "a.example":
            return httpx.Response(302, headers={"Location": "https://b.example/call.wav"})
        return httpx.Response(200, content=b"audio")

    fetch(answer, tmp_path / "call", headers={"Authorization": "Basic c2VjcmV0"})
    assert seen == {"a.example": "Basic c2VjcmV0", "b.example": None}


def test_a_redirect_loop_ends(tmp_path: Path) -> None:
    with pytest.raises(PermanentError) as caught:
        fetch(lambda request: httpx.Response(302, headers={"Location": str(request.url)}), tmp_path / "call")
    assert caught.value.code == "http-redirects"


def test_a_download_that_breaks_goes_on_where_it_was(tmp_path: Path) -> None:
    asked = []

    class Breaks(httpx.SyncByteStream):
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield b"first "
            raise httpx.ReadError("gone")

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("range"))
        if len(asked) == 1:
            return httpx.Response(200, stream=Breaks())
        return httpx.Response(206, content=b"second")

    fetch(answer, tmp_path / "call")
    assert (tmp_path / "call").read_bytes() == b"first second"
    assert asked == [None, "bytes=6-"]
