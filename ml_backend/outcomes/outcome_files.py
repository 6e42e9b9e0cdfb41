"""A CSV file <-> reports on calls. A row that cannot be read costs itself alone; what is written can be read again.

The first line names the columns: `call`, and any of success, satisfaction, satisfaction_scale, automated, intent, tags,
reported_at and latency_<component>_s. Files of spreadsheets are read as they are saved: UTF-8 or UTF-16, with commas,
semicolons or tabs. Spreadsheets take 1-5 for a date, so a scale may be written as `1 to 5`. A text that a spreadsheet
would run as a formula is written with an apostrophe before it, which reading takes off again.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ml_backend import quantities
from ml_backend.errors import InvalidInput

COLUMNS = ("call", "success", "satisfaction", "satisfaction_scale", "automated", "intent", "tags", "reported_at")
CALL_NAMES = ("call", "call_sid", "callsid", "call_id")
MOST_FIELD_CHARS = 100_000
_LATENCY = re.compile(r"latency_([a-z][a-z0-9_-]{0,39})_s")
_FORMULA = re.compile(r"[=+\-@\t\r']")
_SAID = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_DECIMAL = re.compile(r"\d+,\d+")


@dataclass(frozen=True)
class OutcomeRow:
    """One row: its line in the file, the call's id, and the fields of a report; or why it cannot be read."""

    line: int
    call: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""


class OutcomeFile:
    """A file of reports. InvalidInput `bad-outcome-file` where it has no such columns, or is none of these forms."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as stream:
                begin = stream.read(4)
        except OSError as error:
            raise _bad(
                f"{path.name} cannot be read ({error.strerror})", "Check the path and its permissions."
            ) from None
        if begin.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
            raise _bad(f"{path.name} is a workbook", "Save the sheet as CSV, and import that file.")
        self._encoding = "utf-16" if begin[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        with self._open() as stream:
            first = stream.readline(MOST_FIELD_CHARS)
        signs = "\t;,"
        self._separator = max(signs, key=lambda sign: (first.count(sign), signs.index(sign)))
        names = [re.sub(r"\s+", "_", cell.strip().lower()) for cell in next(csv.reader([first], **self._form), [])]
        self._columns = ["call" if name in CALL_NAMES else name for name in names]
        self.not_read = [name for name in self._columns if name and not _known(name)]
        """Columns of other names: a misspelt one shows here."""
        if self._columns.count("call") != 1 or not any(map(_known, set(self._columns) - {"call"})):
            shown = ", ".join(quantities.shortened(name, 40) for name in names[:20]) or "none"
            raise _bad(
                f"The first line of {path.name} does not name the columns of outcomes; it has: {shown}",
                f"Begin with the line call,success,satisfaction,automated. Known: {', '.join(COLUMNS)}, latency_asr_s.",
            )

    def rows(self) -> Iterator[OutcomeRow]:
        """Every row that is not empty, in order."""
        csv.field_size_limit(MOST_FIELD_CHARS)
        with self._open() as stream:
            reader = csv.reader(stream, **self._form)
            next(reader, None)
            while True:
                line = reader.line_num + 1
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error:
                    yield OutcomeRow(line, fault="The row is too long, or its quotes do not match.")
                    continue
                except UnicodeError:
                    yield OutcomeRow(line, fault="The file ends in half a character.")
                    return
                if any(cell.strip() for cell in cells):
                    yield self._row(line, cells)

    def _row(self, line: int, cells: list[str]) -> OutcomeRow:
        if len(cells) > len(self._columns) and any(cell.strip() for cell in cells[len(self._columns) :]):
            return OutcomeRow(line, fault="It has more cells than the first line has columns.")
        if any("\ud800" <= sign <= "\udfff" for cell in cells for sign in cell):
            return OutcomeRow(line, fault="It is not in UTF-8.")
        given = {name: plain(cell.strip()) for name, cell in zip(self._columns, cells, strict=False) if cell.strip()}
        raw: dict[str, Any] = {}
        latencies: dict[str, Any] = {}
        for name, text in given.items():
            if name in ("success", "automated"):
                raw[name] = _SAID.get(text.lower(), text)
            elif name == "satisfaction":
                raw[name] = self._number(text)
            elif name == "satisfaction_scale":
                raw[name] = text.replace(" to ", "-")
            elif name == "tags":
                raw[name] = _tags(text)
            elif found := _LATENCY.fullmatch(name):
                latencies[found[1]] = self._number(text)
            elif name in COLUMNS and name != "call":
                raw[name] = text
        return OutcomeRow(line, given.get("call", ""), raw | ({"latencies_s": latencies} if latencies else {}))

    def _number(self, text: str) -> Any:
        if self._separator != "," and _DECIMAL.fullmatch(text):
            text = text.replace(",", ".")
        try:
            return float(text)
        except ValueError:
            return text

    @property
    def _form(self) -> dict[str, Any]:
        return {"delimiter": self._separator, "strict": False}

    @contextmanager
    def _open(self) -> Iterator[IO[str]]:
        errors = "surrogateescape" if self._encoding == "utf-8-sig" else "replace"
        with self._path.open(encoding=self._encoding, errors=errors, newline="") as stream:
            yield stream


def write(stream: IO[str], reports: Iterable[Mapping[str, Any]], components: Iterable[str]) -> int:
    """Write outcomes as `outcome_views.to_dict` gives them; how many there were."""
    parts, count = sorted(components), 0
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow([*COLUMNS, *(f"latency_{name}_s" for name in parts)])
    for each in reports:
        count += 1
        scale = "0 to 1" if each["satisfaction"] is not None else None
        tags = json.dumps(each["tags"], ensure_ascii=False) if each["tags"] else None
        values = (
            each["call"], each["success"], each["satisfaction"], scale, each["automated"], each["intent"], tags,
            each["reported_at"].isoformat() if each["reported_at"] else None,
            *(each["latencies_s"].get(name) for name in parts),
        )  # fmt: skip
        writer.writerow(map(_cell, values))
    return count


def plain(text: str) -> str:
    """A cell without the apostrophe that `write` puts before what a spreadsheet would run."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text, 1) else text


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return "" if value is None else repr(value)
    return f"'{value}" if _FORMULA.match(value) else value


def _known(name: str) -> bool:
    return name in COLUMNS or _LATENCY.fullmatch(name) is not None


def _tags(text: str) -> Any:
    """`vip;campaign=diwali`, or a JSON object."""
    if text.startswith("{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    pairs = [word.strip().partition("=") for word in text.split(";") if word.strip()]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _bad(sentence: str, step: str) -> InvalidInput:
    return InvalidInput("bad-outcome-file", f"{quantities.shortened(sentence, 300)}.", step)
