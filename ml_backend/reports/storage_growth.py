"""Buckets, database and disks, measured once a day -> size, growth and days left.

A job (sync/objects/storage_measuring.py) keeps one number a day of each place, so that nothing is scanned here. A
bucket does not say what it can hold: days left are those of disks. Growth is a straight line through the last
`GROWTH_DAYS` days (least squares), which one large deletion bends and does not break.
"""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context
from ml_backend.tables import summaries
from ml_backend.views.queries import Query

KEPT_DAYS, GROWTH_DAYS = 400, 30
LEAST_DAYS = 3  # of measurements, before growth is said
_PREFIX = "storage:"


def of(context: Context, query: Query) -> dict[str, Any]:
    """Every place with its newest size, its growth a day, and for disks the days left; and the points of the plot."""
    named = summaries.c.name.startswith(_PREFIX, autoescape=True)
    rows = context.db.rows(sa.select(summaries).where(named).order_by(summaries.c.name))
    places = [_place(row.name.removeprefix(_PREFIX), row.body) for row in rows]
    return {"places": places, "why_none": None if places else "A job measures them once a day: not yet."}


def disk_now(folder: Path) -> dict[str, Any]:
    """The disk of a folder, now: bytes, used and free. The folder need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return {"total_bytes": usage.total, "used_bytes": usage.total - usage.free, "free_bytes": usage.free}


def keep(connection: sa.Connection, place: str, day: date, measured: dict[str, Any]) -> None:
    """Add a day to a place's row, or replace it; days older than `KEPT_DAYS` go."""
    name = f"{_PREFIX}{place}"
    body = connection.execute(sa.select(summaries.c.body).where(summaries.c.name == name).with_for_update()).scalar()
    first = (day - timedelta(days=KEPT_DAYS)).isoformat()
    kept = [each for each in (body or {}).get("days", ()) if first < each["day"] != day.isoformat()]
    days = sorted([*kept, {"day": day.isoformat(), **measured}], key=lambda each: str(each["day"]))
    db.upsert(connection, summaries, {"name": name, "body": {"days": days}, "made_at": tables.now()}, key=("name",))


def lines(found: dict[str, Any]) -> list[str]:
    """For a terminal."""
    said = [found["why_none"]] if found["why_none"] else []
    for one in found["places"]:
        growth = "growth not known yet" if one["bytes_per_day"] is None else f"{size(one['bytes_per_day'])} a day"
        left = f", {one['days_left']:,} days left" if one["days_left"] is not None else ""
        objects = f" in {one['objects']:,} objects" if one["objects"] is not None else ""
        said.append(f"{one['place']}: {size(one['used_bytes'])}{objects}, {growth}{left}")
    return said


def _place(name: str, body: dict[str, Any]) -> dict[str, Any]:
    days = list(body["days"])
    newest = days[-1]
    growth = slope(days[-GROWTH_DAYS:])
    free = newest.get("free_bytes")
    left = int(free / growth) if free is not None and growth is not None and growth > 0 else None
    return {
        "place": name, "day": newest["day"], "used_bytes": newest["used_bytes"], "objects": newest.get("objects"),
        "at_least": bool(newest.get("at_least")), "total_bytes": newest.get("total_bytes"), "free_bytes": free,
        "bytes_per_day": growth, "days_measured": len(days), "days_left": left,
        "why_no_days_left": None if left is not None else _why(name, free, growth),
        "points": [[each["day"], each["used_bytes"]] for each in days],
    }  # fmt: skip


def _why(name: str, free: int | None, growth: float | None) -> str:
    if free is None:
        kind = name.partition(":")[0]
        return "it lies on a disk that is measured" if kind == "database" else "a bucket does not say what it can hold"
    return f"fewer than {LEAST_DAYS} days were measured" if growth is None else "it does not grow"


def slope(days: list[dict[str, Any]]) -> float | None:
    """Bytes a day by least squares; None for fewer than `LEAST_DAYS` days."""
    if len(days) < LEAST_DAYS:
        return None
    places = [date.fromisoformat(each["day"]).toordinal() for each in days]
    sizes = [float(each["used_bytes"]) for each in days]
    middle, mean = sum(places) / len(places), sum(sizes) / len(sizes)
    across = sum((place - middle) ** 2 for place in places)
    return sum((place - middle) * (size - mean) for place, size in zip(places, sizes, strict=True)) / across


def size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
