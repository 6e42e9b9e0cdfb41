"""/webhooks/objects: a bucket says that something in it changed. A hint and no more: it asks for a look.

Takes the events MinIO and other S3 servers send (`Records[].s3`). Such events may repeat, swap and get lost, so nothing
in them is believed: the folder they name is looked through a few seconds later, and every night everything is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus

from flask import Response, request

from ml_backend import tables
from ml_backend.api.requests import answer, json_object
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds

SETTLES = timedelta(seconds=5)  # what is written together is looked at once
MAX_FOLDERS = 50
MAX_PREFIX_CHARS = 120
_LONG_NUMBER = re.compile(r"\d{8}")  # may be a person's: job rows hold none


class Objects:
    """Notifications of the object store, by a token with role operate."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def changed(self) -> Response:
        """Ask for a look at each folder the events name; gives how many. Other buckets are none of our business."""
        if not request.get_data(cache=True):
            return answer({"scans": 0})  # a server that tries the address
        searched = {name.strip() for name in self._context.settings.scan_buckets.split(",")}
        places = [place for place in dict.fromkeys(_places(json_object())) if place[0] in searched]
        due_at = tables.now() + SETTLES
        with self._context.db.transaction() as connection:
            for bucket, prefix in places[:MAX_FOLDERS]:
                enqueueing.enqueue(
                    connection, job_kinds.SCAN_BUCKET, key=f"{bucket}:{prefix or 'quick'}", priority=job_kinds.LIVE,
                    due_at=due_at, bucket=bucket, full=0, prefix=prefix,
                )  # fmt: skip
        return answer({"scans": len(places[:MAX_FOLDERS])})


def _places(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(bucket, folder with its slash) of each event; an empty folder stands for a quick look."""
    records = body.get("Records")
    for record in records if isinstance(records, list) else []:
        s3 = record.get("s3") if isinstance(record, Mapping) else None
        bucket, key = _named(s3, "bucket", "name"), _named(s3, "object", "key")
        if bucket and key:
            folder = unquote_plus(key).rpartition("/")[0]
            plain = folder and len(folder) <= MAX_PREFIX_CHARS and folder.isprintable()
            yield bucket, f"{folder}/" if plain and not _LONG_NUMBER.search(folder) else ""


def _named(found: Any, first: str, second: str) -> str:
    inner = found.get(first) if isinstance(found, Mapping) else None
    value = inner.get(second) if isinstance(inner, Mapping) else None
    return value if isinstance(value, str) else ""
