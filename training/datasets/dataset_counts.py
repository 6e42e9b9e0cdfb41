"""Lines -> a dataset's counts: rows and hours by split, language, script, SNR band, accent, project, and speakers.

Counted in a stream, with bounded memory except for eight bytes per speaker.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

import numpy as np

from ml_backend.usefulness.speech_slices import UNKNOWN, snr_band

_MOST_NAMED = 200  # further values of free texts, such as accents, are counted together
_MOST_WAITING = 65_536
_FREE = ("accent", "quality", "intent", "voice")  # values without a list
OF_CALLS = ("language", "script", "accent", "quality", "source", "project", "snr_band")


class DatasetCounts:
    """Addable counts; `to_json` is the row's `counts`."""

    def __init__(self, by: tuple[str, ...] = OF_CALLS) -> None:
        self._by = by
        self._rows: Counter[tuple[str, ...]] = Counter()
        self._seconds: dict[tuple[str, ...], float] = {}
        self._speakers: dict[str, array[int]] = {}
        self._excluded: Counter[str] = Counter()
        self._first, self._last = "", ""
        self._bands: dict[float | None, str] = {}

    def add(self, line: dict[str, Any]) -> None:
        key = (line["split"], *[self._value(line, name) for name in self._by])
        if key not in self._rows and len(self._rows) >= _MOST_NAMED * 50:
            key = (
                key[0],
                *["other" if name in _FREE else value for name, value in zip(self._by, key[1:], strict=True)],
            )
        self._rows[key] += 1
        self._seconds[key] = self._seconds.get(key, 0.0) + _length_s(line)
        speakers = self._speakers.get(key[0])
        if speakers is None:
            speakers = self._speakers[key[0]] = array("q")
        speakers.append(hash(line.get("speaker_id") or line.get("caller") or line.get("voice")))
        if len(speakers) % _MOST_WAITING == 0:
            self._speakers[key[0]] = array("q", np.unique(np.frombuffer(speakers, np.int64)).tobytes())
        if day := line.get("date"):
            self._first, self._last = min(self._first or day, day), max(self._last, day)

    def _value(self, line: dict[str, Any], name: str) -> str:
        if name == "project":
            return str(line["project_id"] or "")
        return self._band(line["snr_db"]) if name == "snr_band" else str(line.get(name) or UNKNOWN)

    def _band(self, snr_db: float | None) -> str:
        if (band := self._bands.get(snr_db)) is None:
            band = self._bands[snr_db] = snr_band(snr_db)  # tenths of a dB: a few hundred at most
        return band

    def exclude(self, reason: str) -> None:
        self._excluded[reason] += 1

    @property
    def rows(self) -> int:
        return sum(self._rows.values())

    def split_rows(self, split: str) -> int:
        return sum(number for key, number in self._rows.items() if key[0] == split)

    def to_json(self) -> dict[str, Any]:
        """Rows, hours and speakers of each split, and tables of rows and hours; hours with four digits."""
        return {
            "rows": self.rows,
            "hours": _hours(sum(self._seconds.values())),
            "splits": {
                name: {**entry, "speakers": len(np.unique(np.frombuffer(self._speakers[name], np.int64)))}
                for name, entry in self._table(0).items()
            },
            **{f"{name}s".replace("ys", "ies"): self._table(1 + place) for place, name in enumerate(self._by)},
            "excluded": dict(sorted(self._excluded.items(), key=lambda each: (-each[1], each[0]))),
            "first_day": self._first or None,
            "last_day": self._last or None,
        }

    def _table(self, place: int) -> dict[str, dict[str, Any]]:
        rows: Counter[str] = Counter()
        seconds: Counter[str] = Counter()
        for key, number in self._rows.items():
            rows[key[place]] += number
            seconds[key[place]] += self._seconds[key]  # type: ignore[assignment]
        return {name: {"rows": rows[name], "hours": _hours(seconds[name])} for name in sorted(rows) if name}


def _length_s(line: dict[str, Any]) -> float:
    """The length of a line's audio in seconds; 0 for a text."""
    return float(line["end_s"] - line["start_s"]) if "end_s" in line else float(line.get("duration_s") or 0.0)


def _hours(seconds: float) -> float:
    return round(seconds / 3600, 4)
