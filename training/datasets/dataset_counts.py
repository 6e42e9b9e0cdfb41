"""Lines -> a dataset's counts: rows and hours by split, language, script, SNR band, accent, project, and speakers.

Counted in a stream, with bounded memory except for eight bytes per speaker.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

import numpy as np

_BANDS = ((5.0, "below 5 dB"), (10.0, "5-10 dB"), (20.0, "10-20 dB"), (30.0, "20-30 dB"))
_ABOVE, _UNKNOWN = "30 dB and more", "unknown"
_MOST_NAMED = 200  # further values of free texts, such as accents, are counted together
_MOST_WAITING = 65_536
_BY = ("language", "script", "accent", "quality", "source", "project")


class DatasetCounts:
    """Addable counts; `to_json` is the row's `counts`."""

    def __init__(self) -> None:
        self._rows: Counter[tuple[str, ...]] = Counter()
        self._seconds: dict[tuple[str, ...], float] = {}
        self._speakers: dict[str, array[int]] = {}
        self._excluded: Counter[str] = Counter()
        self._first, self._last = "", ""
        self._bands: dict[float | None, str] = {}

    def add(self, line: dict[str, Any]) -> None:
        key = (
            line["split"], line["language"] or _UNKNOWN, line["script"] or _UNKNOWN, line["accent"] or _UNKNOWN,
            line["quality"] or _UNKNOWN, line["source"], str(line["project_id"] or ""), self._band(line["snr_db"]),
        )  # fmt: skip
        if key not in self._rows and len(self._rows) >= _MOST_NAMED * 50:
            key = (*key[:3], "other", "other", *key[5:])
        self._rows[key] += 1
        self._seconds[key] = self._seconds.get(key, 0.0) + line["end_s"] - line["start_s"]
        speakers = self._speakers.get(key[0])
        if speakers is None:
            speakers = self._speakers[key[0]] = array("q")
        speakers.append(hash(line["speaker_id"]))
        if len(speakers) % _MOST_WAITING == 0:
            self._speakers[key[0]] = array("q", np.unique(np.frombuffer(speakers, np.int64)).tobytes())
        if day := line["date"]:
            self._first, self._last = min(self._first or day, day), max(self._last, day)

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
            **{f"{name}s".replace("ys", "ies"): self._table(1 + place) for place, name in enumerate(_BY)},
            "snr_bands": self._table(1 + len(_BY)),
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


def snr_band(snr_db: float | None) -> str:
    """The name of a band of signal-to-noise ratio."""
    if snr_db is None:
        return _UNKNOWN
    return next((name for below, name in _BANDS if snr_db < below), _ABOVE)


def _hours(seconds: float) -> float:
    return round(seconds / 3600, 4)
