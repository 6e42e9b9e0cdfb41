"""Response -> its body in pieces. Each way in which a body can be less than a recording has its own error."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import httpx

from ml_backend.audio import containers
from ml_backend.errors import PermanentError, RetryableError
from sync.outbound import http
from sync.outbound.deadline import Deadline

PEEK_BYTES = 2048


def refuse_pages(first: bytes) -> None:
    """Refuse an error page that was sent with status 200. `first` is the beginning of the body."""
    what = containers.looks_like(first, containers.PAGES)
    if what:
        raise PermanentError(
            "audio-is-a-page",
            f"The recording's server sent {what} instead of audio.",
            "Look at the call in Exotel's dashboard; it is asked for again.",
        )


def stated_length(response: httpx.Response) -> int | None:
    """The stated length of the body on the wire, in bytes; None when none is stated."""
    text = response.headers.get("content-length", "")
    return int(text) if text.isdecimal() and "transfer-encoding" not in response.headers else None


def pieces(response: httpx.Response, name: str, length: int | None, limit_bytes: int, cut: Deadline) -> Iterator[bytes]:
    """The body, decompressed in bounded pieces if the server compressed it against our request."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip"):
        raise PermanentError(
            "http-encoding",
            f"{name[:1].upper()}{name[1:]} sent an encoding that was not asked for.",
            "Ask its owner to send recordings as they are.",
        )
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS) if "gzip" in encoding else None
    for piece in _raw(response, name, length, cut):
        if unpacker is None:
            yield piece
            continue
        try:
            while piece:
                yield unpacker.decompress(piece, 1 << 20)
                piece = unpacker.unconsumed_tail
        except zlib.error as error:
            raise _short(name, 0, None) from error
    if unpacker is not None and not unpacker.eof:
        raise _short(name, 0, None)


def _raw(response: httpx.Response, name: str, length: int | None, cut: Deadline) -> Iterator[bytes]:
    """The bytes on the wire; an error when they end before the stated length or after the deadline."""
    got = 0
    try:
        with http.errors_as(name):
            for piece in response.iter_raw():
                got += len(piece)
                if cut.passed:
                    break
                yield piece
    except RetryableError as error:
        if cut.passed:
            raise cut.late() from error
        if error.code == "http-unreachable":
            raise _short(name, got, length) from error
        raise
    if cut.passed:
        raise cut.late()
    if length is not None and got < length:
        raise _short(name, got, length)


def _short(name: str, got: int, length: int | None) -> RetryableError:
    sentence = (
        f"The recording ended early: got {got} of {length} bytes." if length else "The recording's bytes ended early."
    )
    return RetryableError("download-cut", sentence, f"It is tried again; check the connection to {name} if it lasts.")
