"""The audio of a recording for a player in a browser, streamed from the object store through this process.

No presigned URL leaves the house, and no audio is held whole: an answer passes on pieces of 64 KB. A range without an
end is answered with its first MOST_BYTES, which players follow up with the next range; so a slow or paused player holds
no thread of the server. Every part is noted in the log of listenings before a byte of it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from flask import Response, g, request

from ml_backend.calls import listenings
from ml_backend.calls.listenings import Playable
from ml_backend.context import Context
from ml_backend.page import page_shell
from ml_backend.views.queries import whole_number

MOST_BYTES = 2_000_000  # a minute of one channel
TYPE = "audio/wav"


@dataclass(frozen=True)
class AudioPart:
    """Bytes `start` to `end`, which is not included; `whole` when no range was asked for."""

    start: int
    end: int
    whole: bool


class CallAudio:
    """`/page/recordings/<id>/audio`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def play(self, recording_id: str) -> Response:
        """206 for a range, 200 for the whole, 304 for what the player has, 416 for what is not there."""
        audio = listenings.find(self._context, whole_number(recording_id, "recording"))
        etag = f'"{audio.etag}"'
        if request.if_none_match.contains(audio.etag):
            return _headed(Response(status=304), audio)
        part = _part(audio, etag)
        if part is None:
            response = Response(status=416, mimetype=TYPE)
            response.headers["Content-Range"] = f"bytes */{audio.size_bytes}"
            return _headed(response, audio)
        response = Response(status=200 if part.whole else 206, mimetype=TYPE)
        if request.method != "HEAD":
            listenings.note(self._context, audio, who=g.caller, from_start=part.start == 0)
            response.response = self._context.store.read_part(
                audio.bucket, audio.key, start=part.start, length=part.end - part.start
            )
        response.headers["Content-Length"] = str(part.end - part.start)
        if not part.whole:
            response.headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{audio.size_bytes}"
        return _headed(response, audio)


def _headed(response: Response, audio: Playable) -> Response:
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["ETag"] = f'"{audio.etag}"'
    response.headers["Content-Disposition"] = "inline"
    return page_shell.with_headers(response)


def _part(audio: Playable, etag: str) -> AudioPart | None:
    """The part that was asked for; None for one that lies behind the end.

    A range that cannot be read, several of them, or one of another version (`If-Range`) counts as none.
    """
    everything = AudioPart(0, audio.size_bytes, whole=True)
    wanted, only_if = request.range, request.headers.get("If-Range")
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1 or (only_if and only_if != etag):
        return everything
    start, end = wanted.ranges[0]
    if start is not None and start < 0:  # the last bytes
        start, end = max(0, audio.size_bytes + start), audio.size_bytes
    if start is None or start >= audio.size_bytes:
        return None
    open_end = min(start + MOST_BYTES, audio.size_bytes)
    return AudioPart(start, open_end if end is None else min(end, audio.size_bytes), whole=False)
