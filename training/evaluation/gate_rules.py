"""The rules a candidate must meet to replace the champion: the defaults, or the settings' values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ml_backend.errors import ConfigurationError
from ml_backend.settings import Settings
from training.scoring.scores import SLICES


@dataclass(frozen=True)
class Rules:
    """Margins are differences of rates: 0.01 is one word in a hundred. `margins` are those of single kinds of slices
    (`language`) or slices (`language:mr`)."""

    min_calls: int = 30
    min_words: int = 1000
    slice_calls: int = 10
    slice_words: int = 200
    slice_margin: float = 0.01
    margins: Mapping[str, float] = field(default_factory=dict)
    empty_margin: float = 0.01
    speed_ratio: float = 1.5
    speed_audio_s: float = 60.0

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """The rules from PROMOTION_...; ConfigurationError `bad-margins` if the margins cannot be parsed."""
        margins = dict(_margins(settings.promotion_margins))
        return cls(
            min_calls=settings.promotion_min_calls, min_words=settings.promotion_min_words,
            slice_calls=settings.promotion_slice_calls, slice_words=settings.promotion_slice_words,
            slice_margin=margins.pop("", cls.slice_margin), margins=margins,
            speed_ratio=settings.promotion_speed_ratio,
        )  # fmt: skip

    def margin(self, kind: str, name: str) -> float:
        """The margin of a slice: its own, else that of its kind, else the common one."""
        return self.margins.get(f"{kind}:{name}", self.margins.get(kind, self.slice_margin))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _margins(stated: str) -> Iterator[tuple[str, float]]:
    """Parses `0.01, language:mr=0.005, snr=0.03`; the margin without a name is for every other slice."""
    for part in filter(None, (each.strip() for each in stated.split(","))):
        name, _, number = part.rpartition("=")
        try:
            margin = float(number)
        except ValueError:
            margin = -1.0
        kind = name.strip().partition(":")[0]
        if not 0 <= margin <= 1 or (kind and kind not in SLICES) or (not kind and "=" in part):
            raise ConfigurationError(
                "bad-margins", f"PROMOTION_MARGINS holds {part[:40]!r}, which is no margin of a slice.",
                f"Write it like 0.01, language:mr=0.005, snr=0.03; kinds of slices: {', '.join(SLICES)}.",
            )  # fmt: skip
        yield name.strip(), margin
