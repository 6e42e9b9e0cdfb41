"""Dataset -> its card: contents, sources, exclusions with reasons, and splits.

The text begins with Hugging Face metadata: languages, and the files of each split, so that `load_dataset` reads a
version's folder directly.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ml_backend import quantities
from ml_backend.context import Context
from ml_backend.tables import projects
from training.datasets import public_corpora, splits

_TITLES = {
    "languages": "Languages", "scripts": "Scripts", "snr_bands": "Signal-to-noise ratio", "accents": "Accents",
    "qualities": "Quality as annotators judged it", "projects": "Domains (by project)", "sources": "Sources",
}  # fmt: skip
_WHY = {
    "test-caller": "another sample of this caller is in the test set",
    "duplicate": "the same stretch of a call, or the same call converted again, is in it already",
    "stamped": "its draft was sent back unread, as far as counts show",
    "consent": "the call's consent does not cover training",
    "quality": "the recording is below the minimum quality",
    "language": "another language than asked for",
    "date": "outside the dates asked for",
    "audio-missing": "its audio is not in the store any more",
    "too-long": "longer than 30 s, with no pause to cut at",
    "public-no-text": "public speech without text",
    "public-no-language": "public speech without a stated language",
    "public-unusable": "public speech whose sound is missing or cannot be read",
    "held-out-sentence": "public speech of a sentence that the test or the validation holds out",
    "public-rate": "public speech recorded at a lower rate than voices need",
    "erased": "erased at the person's request",
}


def text(context: Context, row: Any, renderings: dict[str, Any]) -> str:
    """Markdown; every number is of this version."""
    counts = row.counts or {}
    titles = _project_titles(context, list(counts.get("projects", {})))
    tables: list[str] = []
    for name, title in _TITLES.items():
        tables += _table(title, counts.get(name, {}), titles if name == "projects" else {})
    public = public_corpora.card_lines(counts.get("sources", {}))
    parts = (
        _head(counts, renderings),
        _summary(row, counts),
        _splits(counts),
        tables,
        public,
        _excluded(counts),
        _how(row),
    )
    return "\n".join(line for part in parts for line in (*part, "")).replace("\n\n\n", "\n\n")


def _head(counts: dict[str, Any], renderings: dict[str, Any]) -> list[str]:
    languages = [name for name in counts.get("languages", {}) if name.isalpha() and 2 <= len(name) <= 3]
    head = ["---", f"language: [{', '.join(languages)}]", "task_categories: [automatic-speech-recognition]"]
    folder = next((form for form in ("parquet", "text") if form in renderings), None)
    if folder:
        head += ["configs:", "- config_name: default", "  data_files:"]
        there = {file["split"] for file in renderings[folder]["files"]}
        for split in filter(there.__contains__, splits.SPLITS):
            head += [f"  - split: {split}", f"    path: {folder}/{split}-*.parquet"]
    return [*head, "---"]


def _summary(row: Any, counts: dict[str, Any]) -> list[str]:
    days = f", calls of {counts['first_day']} to {counts['last_day']}" if counts.get("first_day") else ""
    return [
        f"# {row.name}, version {row.version}",
        "",
        f"{counts.get('rows', 0):,} utterances, {_long(counts)}{days}.",
        "",
        f"Manifest SHA-256 `{row.manifest_sha256}`; test set `{row.test_sha256}`.",
        f"Filters: {_filters(row.filters)}.",
    ]


def _long(entry: dict[str, Any]) -> str:
    return quantities.duration(3600 * entry.get("hours", 0))


def _filters(filters: dict[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted((filters or {}).items())) or "none"


def _splits(counts: dict[str, Any]) -> list[str]:
    lines = ["| split | utterances | length | speakers |", "| --- | ---: | ---: | ---: |"]
    for split in splits.SPLITS:
        entry = counts.get("splits", {}).get(split, {"rows": 0, "hours": 0, "speakers": 0})
        lines.append(f"| {split} | {entry['rows']:,} | {_long(entry)} | {entry['speakers']:,} |")
    return lines


def _table(title: str, entries: dict[str, Any], names: dict[str, str]) -> list[str]:
    if not entries:
        return []
    lines = [f"## {title}", "", "| | utterances | length |", "| --- | ---: | ---: |"]
    for name, entry in sorted(entries.items(), key=lambda each: -each[1]["hours"]):
        shown = names.get(name, name).replace("|", "/").replace("\n", " ")[:80]
        lines.append(f"| {shown} | {entry['rows']:,} | {_long(entry)} |")
    return [*lines, ""]


def _excluded(counts: dict[str, Any]) -> list[str]:
    entries = counts.get("excluded", {})
    lines = ["## Left out", ""]
    if not entries:
        return [*lines, "Nothing."]
    lines += ["| reason | samples | |", "| --- | ---: | --- |"]
    return [*lines, *(f"| {code} | {number:,} | {_WHY.get(code, '')} |" for code, number in entries.items())]


def _how(row: Any) -> list[str]:
    return [
        "## How it was made",
        "",
        "Telephone calls, transcribed by people in Label Studio. Audio is 16 kHz mono, cut at the annotators' regions",
        "or at pauses, at most 30 s; `start_s` and `end_s` are places in the recording. Phone numbers and call ids are",
        "replaced by hashes. A caller is in one split only, chosen by a hash. The test set is a random sample of",
        "calls that people wrote down without seeing a model's draft; all other samples of those callers are left out.",
    ]


def _project_titles(context: Context, ids: list[str]) -> dict[str, str]:
    numbers = [int(each) for each in ids if each.isdecimal()]
    found = sa.select(projects.c.ls_project_id, projects.c.title).where(projects.c.ls_project_id.in_(numbers))
    rows = context.db.rows(found.order_by(projects.c.id))
    return {str(row.ls_project_id): row.title or str(row.ls_project_id) for row in rows}
