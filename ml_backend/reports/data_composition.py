"""What the annotated data are made of, against what calls are made of, and the gaps between them, named.

Calls: hours and counts of `day_counts`. Annotated: the accepted samples, counted by the same job and kept in
`summaries`. Coverage compares the shares of hours; a value that is rare among calls is not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend import languages
from ml_backend.context import Context
from ml_backend.outcomes.call_outcomes import CALL
from ml_backend.reports import call_days, call_funnel
from ml_backend.reports.call_days import OTHER, UNKNOWN
from ml_backend.tables import calls, datasets, outcomes, recordings, samples, summaries
from ml_backend.views.call_views import text_of
from ml_backend.views.queries import Day, Query

NAME = "data-composition"
COMPARED = ("language", "topic", "channel", "snr", "duration")  # known of every call
TITLES = {
    "language": "language", "topic": "topic", "channel": "channels", "snr": "noise (SNR)",
    "duration": "length of the call", "speaker": "speaker", "accent": "accent", "emotion": "emotion",
}  # fmt: skip
MOST_VALUES, MOST_VERSIONS = 50, 5
LEAST_SHARE, LEAST_PART = 0.05, 0.5  # of the calls' hours, to be asked for; of that share, to be no gap
_PAGE = 5000


class CompositionQuery(Query):
    """Which calls the data are compared with."""

    since: Annotated[Day | None, Field(description="Only calls of this day or later.")] = None
    until: Annotated[Day | None, Field(description="Only calls of this day or earlier.")] = None


def annotated(context: Context) -> dict[str, Any]:
    """The accepted samples: calls, hours, and both by dimension and value."""
    dimensions: dict[str, dict[str, list[Any]]] = {name: {} for name in TITLES}
    of_all: set[int] = set()
    seconds, number = 0.0, 0
    for row in _samples(context):
        length_s = max(0.0, row.end_s - row.start_s)
        seconds, number = seconds + length_s, number + 1
        of_all.add(row.recording_id or 0)
        for name, values in _values(row).items():
            for value in values:
                entry = dimensions[name].setdefault(value, [0, 0.0, set()])
                entry[0] += 1
                entry[1] += length_s
                entry[2].add(row.recording_id or 0)
    return {
        "calls": len(of_all), "samples": number, "seconds": round(seconds, 1),
        "speakers": len([name for name in dimensions["speaker"] if name != UNKNOWN]),
        "made_of": {
            name: {
                value: [len(entry[2]), round(entry[1], 1), entry[0]]
                for value, entry in sorted(values.items(), key=lambda each: -each[1][1])[:MOST_VALUES]
            }
            for name, values in dimensions.items()
        },
    }  # fmt: skip


def of(context: Context, query: CompositionQuery) -> dict[str, Any]:
    """Both compositions side by side, the gaps in sentences, and the datasets."""
    rows = call_funnel.counted(context, query.since, query.until)
    stored = kept(context)
    body = stored.body if stored is not None else {}
    data = body.get("annotated") or {"calls": 0, "samples": 0, "seconds": 0.0, "speakers": 0, "made_of": {}}
    with_audio = sum(row.body["with_audio"] for row in rows)
    seconds = sum(row.body["seconds"] for row in rows)
    made_of = _sum(rows)
    dimensions = [
        _dimension(name, made_of.get(name, {}), seconds, data["made_of"].get(name, {}), data["seconds"])
        for name in TITLES
    ]
    return {
        "counted_at": text_of(stored.made_at) if stored is not None else None,
        "since": query.since.isoformat() if query.since else None,
        "until": query.until.isoformat() if query.until else None,
        "calls": {"calls": with_audio, "hours": _hours(seconds), "callers": body.get("callers")},
        "annotated": {
            "calls": data["calls"], "samples": data["samples"], "hours": _hours(data["seconds"]),
            "speakers": data["speakers"],
        },
        "dimensions": dimensions,
        "gaps": _gaps(dimensions, data["seconds"], seconds),
        "datasets": _datasets(context, body),
        "note": None if stored is not None else call_funnel.note_of(context, []),
    }  # fmt: skip


def lines(found: dict[str, Any]) -> list[str]:
    """The report for a terminal."""
    of_calls, data = found["calls"], found["annotated"]
    said = [
        f"Annotated: {data['hours']:.2f} h of {data['calls']:,} calls in {data['samples']:,} samples, "
        f"{data['speakers']:,} speakers.",
        f"Calls with audio: {of_calls['hours']:.2f} h, {of_calls['calls']:,} calls.",
        *found["gaps"],
    ]
    for each in found["dimensions"]:
        said.append(f"By {each['title']}:")
        for value in each["values"]:
            theirs = f"  {value['calls_hours']:.2f} h of {value['calls']:,} calls" if value["calls"] is not None else ""
            said.append(f"  {value['value']:<24} {value['hours']:>9.2f} h annotated{theirs}")
    for version in found["datasets"]:
        said.append(f"{version['name']}@{version['version']}: {version['said']}")
    return said


def _samples(context: Context) -> Iterator[Any]:
    """The accepted samples with the facts of their calls, a page at a time."""
    each, audio = samples.c, recordings.c
    columns = (
        each.id, each.recording_id, each.start_s, each.end_s, each.channel, each.language, each.accent, each.emotion,
        audio.quality, audio.channels, audio.duration_s, audio.agent_channel, audio.synthetic, calls.c.from_pseudonym,
        calls.c.to_pseudonym, calls.c.direction, outcomes.c.intent, outcomes.c.tags,
    )  # fmt: skip
    reported = sa.and_(outcomes.c.call_sid == calls.c.call_sid, outcomes.c.kind == CALL)
    statement = (
        sa.select(*columns)
        .outerjoin(recordings, audio.id == each.recording_id)
        .outerjoin(calls, calls.c.id == audio.call_id)
        .outerjoin(outcomes, reported)
        .where(each.state == "accepted")
        .order_by(each.id)
        .limit(_PAGE)
    )
    last = 0
    while rows := context.db.rows(statement.where(each.id > last)):
        yield from rows
        last = rows[-1].id


def _values(row: Any) -> dict[str, list[str]]:
    side = (row.quality or {}).get("parts", {}).get(f"leg_{row.channel}") if isinstance(row.quality, Mapping) else None
    snr = side.get("snr_db") if isinstance(side, Mapping) else None
    return {
        "language": [row.language or UNKNOWN],
        "speaker": [_speaker(row)],
        "accent": [row.accent or UNKNOWN],
        "emotion": [row.emotion or UNKNOWN],
        "topic": call_days.topics_of(row) or [UNKNOWN],
        "channel": [call_days.channel_band(row.channels)],
        "snr": [call_days.snr_band(snr)],
        "duration": [call_days.duration_band(row.duration_s) if row.duration_s else UNKNOWN],
    }


def _speaker(row: Any) -> str:
    """The caller's pseudonym, or that of the company's number for its agents."""
    inbound = row.direction != "outbound"
    customer, company = (row.from_pseudonym, row.to_pseudonym) if inbound else (row.to_pseudonym, row.from_pseudonym)
    by_agent = row.agent_channel is not None and (row.channels or 0) > 1 and row.channel == row.agent_channel
    if by_agent:
        return f"agents of {company}" if company else UNKNOWN
    return customer or UNKNOWN


def _sum(rows: list[Any]) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for name, values in row.body["made_of"].items():
            for value, (number, seconds) in values.items():
                entry = found.setdefault(name, {}).setdefault(value, [0, 0.0])
                entry[0] += number
                entry[1] += seconds
    return found


def _dimension(
    name: str, of_calls: Mapping[str, Any], calls_s: float, data: Mapping[str, Any], data_s: float
) -> dict[str, Any]:
    """One table; `calls` is None where calls do not say it, as with an accent."""
    compared = name in COMPARED
    values = []
    for value in sorted({*of_calls, *data}, key=lambda each: -(of_calls.get(each) or data[each])[1])[:MOST_VALUES]:
        number, seconds = of_calls.get(value, (0, 0.0))
        mine, mine_s, pieces = data.get(value, (0, 0.0, 0))
        values.append({
            "value": _named(name, value),
            "annotated_calls": mine, "samples": pieces, "hours": _hours(mine_s), "share": _share(mine_s, data_s),
            "calls": int(number) if compared else None, "calls_hours": _hours(seconds) if compared else None,
            "calls_share": _share(seconds, calls_s) if compared else None,
        })  # fmt: skip
    return {"dimension": name, "title": TITLES[name], "compared": compared, "values": values}


def _gaps(dimensions: list[dict[str, Any]], data_s: float, calls_s: float) -> list[str]:
    """Sentences, the largest gap first."""
    if not calls_s:
        return ["No call with audio is counted yet, so there is nothing to compare with."]
    if not data_s:
        return [f"Nothing of {_hours(calls_s):.2f} h of calls is annotated and accepted yet."]
    found = []
    for each in dimensions:
        for value in each["values"] if each["compared"] else ():
            want, have = value["calls_share"] or 0.0, value["share"] or 0.0
            if value["value"] in (UNKNOWN, OTHER) or not LEAST_SHARE <= want < 1 or have >= LEAST_PART * want:
                continue
            missing_h = (want * data_s / 3600 - value["hours"]) / (1 - want)
            found.append((missing_h, (
                f"{each['title'].capitalize()} {value['value']}: {100 * want:.0f} % of the calls "
                f"({value['calls_hours']:.2f} h of {value['calls']:,} calls), {100 * have:.0f} % of the annotated data "
                f"({value['hours']:.2f} h); about {missing_h:.2g} more hours would give it its share."
            )))  # fmt: skip
    if not found:
        return ["Everything that makes 5 % of the calls' hours has at least half of its share in the annotated data."]
    return [sentence for _, sentence in sorted(found, key=lambda each: -each[0])]


def of_dataset(context: Context, dataset_id: int) -> dict[str, Any] | None:
    """One version and how it differs from the one before it; None where there is none."""
    rows = context.db.rows(sa.select(datasets).where(datasets.c.id == dataset_id))
    if not rows:
        return None
    earlier = sa.select(datasets).where(datasets.c.name == rows[0].name, datasets.c.version < rows[0].version)
    before = context.db.rows(earlier.order_by(datasets.c.version.desc()).limit(1))
    stored = kept(context)
    return _told(rows[0], before[0] if before else None, stored.body if stored is not None else {})


def _datasets(context: Context, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The newest versions of each dataset, and how each differs from the one before it."""
    rows = context.db.rows(sa.select(datasets).order_by(datasets.c.id.desc()).limit(200))
    versions: dict[str, list[Any]] = {}
    for row in rows:
        versions.setdefault(row.name, []).append(row)
    found = []
    for mine in versions.values():
        mine.sort(key=lambda row: -row.version)
        found += [
            _told(row, before, body) for row, before in zip(mine[:MOST_VERSIONS], [*mine[1:], None], strict=False)
        ]
    return found


def _told(row: Any, before: Any, body: Mapping[str, Any]) -> dict[str, Any]:
    counts = row.counts or {}
    return {
        "id": row.id, "name": row.name, "version": row.version, "kind": row.kind, "state": row.state,
        "made_at": text_of(row.created_at), "rows": counts.get("rows", 0), "hours": counts.get("hours", 0.0),
        "splits": counts.get("splits") or {}, "languages": counts.get("languages") or {},
        "left_out": counts.get("excluded") or {}, "reason": row.reason,
        "change": _change(counts, before.counts or {}) if before is not None else None,
        "samples_changed": (body.get("changes") or {}).get(str(row.id)),
        "unreadable": (body.get("unreadable") or {}).get(str(row.id)),
        "said": _sentence(row, counts, before),
    }  # fmt: skip


def _change(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    def by(name: str, unit: str) -> dict[str, float]:
        mine, theirs = now.get(name) or {}, before.get(name) or {}
        numbers = {
            key: round((mine.get(key) or {}).get(unit, 0) - (theirs.get(key) or {}).get(unit, 0), 4)
            for key in sorted({*mine, *theirs})
        }
        return {key: number for key, number in numbers.items() if number}

    out, earlier = now.get("excluded") or {}, before.get("excluded") or {}
    return {
        "rows": now.get("rows", 0) - before.get("rows", 0),
        "hours": round(now.get("hours", 0.0) - before.get("hours", 0.0), 4),
        "hours_by_language": by("languages", "hours"),
        "rows_by_split": by("splits", "rows"),
        "left_out": {
            key: out.get(key, 0) - earlier.get(key, 0)
            for key in sorted({*out, *earlier})
            if out.get(key, 0) != earlier.get(key, 0)
        },
    }


def _sentence(row: Any, counts: Mapping[str, Any], before: Any) -> str:
    said = f"{counts.get('rows', 0):,} rows, {counts.get('hours', 0.0):.2f} h"
    if before is not None:
        change = _change(counts, before.counts or {})
        said += f" ({change['rows']:+,} rows and {change['hours']:+.2f} h against version {before.version})"
    out = counts.get("excluded") or {}
    why = ", ".join(f"{number:,} {reason}" for reason, number in out.items())
    return said + (f"; left out: {why}." if why else "; nothing was left out.")


def kept(context: Context) -> Any:
    """The row that the job keeps, or None."""
    rows = context.db.rows(sa.select(summaries).where(summaries.c.name == NAME))
    return rows[0] if rows else None


def _named(dimension: str, value: str) -> str:
    known = languages.LANGUAGES.get(value) if dimension == "language" else None
    return known.name if known is not None else value


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None


def _hours(seconds: float) -> float:
    return round(seconds / 3600, 4)
