"""Request parts -> Fields: JSON, multipart, urlencoded and query forms all become the same names and values.

`Legs[0][OnCallDuration]` of a form and `{"Legs": [{"OnCallDuration": ..}]}` of JSON are one field here,
`legs[0][oncallduration]`; names are compared without case and underscores. Exotel uses all of these formats, and the
body often disagrees with its content type, so the body is examined too.

The web framework's multipart parser reads a truncated body as an empty form. This parser refuses it: a body that is not
empty must never give an empty result.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from ml_backend.errors import InvalidInput

MAX_FIELDS = 1000
MAX_NAME_CHARS = 200
FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
_BOUNDARY = re.compile(r'(?i);\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))')
_PART_NAME = re.compile(r'(?i);\s*name=(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))')
_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_SEND = "Send one event as Exotel does: JSON, a form, or a query."


@dataclass(frozen=True)
class Fields:
    """Flat names -> their values, in the order received. Values can hold phone numbers, so there is no repr."""

    values: dict[str, list[Any]]

    def __repr__(self) -> str:
        return f"Fields({len(self.values)} names)"

    def get(self, *names: str) -> Any:
        """The first non-empty value of the first of these names that has one."""
        for name in names:
            for value in self.values.get(name, ()):
                if value is not None and text_of(value) not in ("", "null"):
                    return value
        return None

    def text(self, *names: str) -> str | None:
        """`get` as text; None if there is none."""
        value = self.get(*names)
        return None if value is None else text_of(value)

    def has(self, *names: str) -> bool:
        """Whether any of these names was sent, even empty, itself or with parts below it."""
        return any(sent == name or sent.startswith(f"{name}[") for name in names for sent in self.values)

    def digest(self) -> str:
        """A digest of the fields that does not depend on their order and format."""
        pairs = sorted((name, text_of(value)) for name, values in self.values.items() for value in values)
        return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def fields_of(content_type: str, query: bytes | str, body: bytes) -> Fields:
    """All fields of a request. InvalidInput when the body is not what it claims to be, 413 when there are too many."""
    pairs: list[tuple[str, Any]] = list(_urlencoded(query))
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        pass  # a query alone, whatever it is labelled
    elif kind == MULTIPART:
        pairs += _multipart(content_type, body)
    elif body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[") or kind.endswith("json"):
        pairs += _flat(_json(body))
    else:
        pairs += _urlencoded(body)
    if len(pairs) > MAX_FIELDS:
        raise _too_many()
    values: dict[str, list[Any]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    for stream in [value for value in values.get("stream", ()) if isinstance(value, str) and value[:1] == "{"]:
        for name, value in _stream(stream):
            values.setdefault(name, []).append(value)
    return Fields(values)


def _stream(text: str) -> list[tuple[str, Any]]:
    """The fields of a Stream sent as one JSON text; an invalid one is ignored, the rest of the event counts."""
    try:
        return list(_flat(_json(text.encode("utf-8", "replace")), "stream"))
    except InvalidInput:
        return []


def of_object(row: Any) -> Fields:
    """The fields of a parsed JSON object."""
    values: dict[str, list[Any]] = {}
    for name, value in _flat(row):
        values.setdefault(name, []).append(value)
    return Fields(values)


def text_of(value: Any) -> str:
    """A scalar as stripped text that every database can hold."""
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return _UNSTORABLE.sub("\ufffd", text).strip()


def _name(name: str) -> str:
    return _UNSTORABLE.sub("\ufffd", name).strip().lower().replace("_", "")[:MAX_NAME_CHARS]


def _urlencoded(data: bytes | str) -> list[tuple[str, Any]]:
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace")
    except ValueError:
        raise _too_many() from None
    return [(_name(name), _plus_restored(value)) for name, value in pairs]


def _plus_restored(value: str) -> str:
    """`+91...` sent without escaping arrives as a space and digits."""
    return "+" + value[1:] if value[:1] == " " and value[1:].isdigit() else value


def _json(body: bytes) -> dict[str, Any]:
    """One JSON object. Repeated keys are kept as lists, so that two different CallSids are seen."""
    try:
        found = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_repeated, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InvalidInput("bad-json", "The body is not JSON.", _SEND) from None
    if not isinstance(found, dict):
        raise InvalidInput("bad-body", "The body is not a JSON object.", _SEND)
    return found


class _Several(list[Any]):
    """Values of one key that was written more than once."""


def _repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], _Several):
            found[name].append(value)
        else:
            found[name] = _Several([found[name], value])
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested JSON by bracketed names, without recursion, because the sender chooses the depth."""
    waiting: list[tuple[str, Any]] = [(prefix, value)]
    seen = 0
    while waiting:
        name, found = waiting.pop()
        if isinstance(found, _Several):
            waiting += [(name, each) for each in reversed(found)]
        elif isinstance(found, dict | list):
            if not found:
                continue
            entries = found.items() if isinstance(found, dict) else enumerate(found)
            below = [(f"{name}[{_name(str(key))}]" if name else _name(str(key)), each) for key, each in entries]
            waiting += [(key[:MAX_NAME_CHARS], each) for key, each in reversed(below)]
        else:
            yield name, found
        seen += 1
        if seen > 2 * MAX_FIELDS:
            raise _too_many()


def _multipart(content_type: str, body: bytes) -> list[tuple[str, Any]]:
    """Form parts, strictly: the closing boundary must be there. A file's content is not a field."""
    given = _BOUNDARY.search(content_type)
    if given is None:
        raise InvalidInput("bad-form", "The multipart body names no boundary.", _SEND)
    boundary = (given[1] or given[2]).encode("utf-8", "replace")
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(parts) - 2 > MAX_FIELDS:
        raise _too_many()
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise InvalidInput("bad-form", "The multipart body ends before its last boundary.", _SEND)
    pairs: list[tuple[str, Any]] = []
    for part in parts[1:-1]:
        head, found, content = part.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
        text = head.decode("utf-8", "replace")
        name = _PART_NAME.search(text)
        if not found or name is None:
            raise InvalidInput("bad-form", "A part of the multipart body has no name.", _SEND)
        if not re.search(r"(?i);\s*filename\*?=", text):
            pairs.append((_name(name[1] or name[2] or ""), content.decode("utf-8", "replace")))
    return pairs


def _too_many() -> InvalidInput:
    return InvalidInput("too-many-fields", f"There are more than {MAX_FIELDS} fields.", _SEND, status=413)
