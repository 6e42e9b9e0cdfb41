"""`make real`: the product on a published Whisper, people's voices and a published encoder; writes `bench/real.json`.

Each part is a module of this folder with `rows(quick=...)`. A row that is finished is written at once; a run of some
parts leaves the rows of the others. Figures are CPU seconds, counts and ratios, so a busy machine may take them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.real import parts

PARTS = ("recognition", "learning", "intent_encoder")
RESULTS = Path(__file__).parents[1] / "real.json"


def main() -> int:
    """Run the parts; exit status 1 when a target is missed, 2 when the packages cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m bench.real", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the short form: a look, not a measurement")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part (may be given several times)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write the results")
    given = parser.parse_args()
    asked = given.only or PARTS
    kept = json.loads(given.results.read_text())["rows"] if given.results.exists() else []
    kept = [row for row in kept if row["part"] not in asked]
    rows: list[dict[str, Any]] = []
    try:
        for row in _rows(asked, quick=given.quick):
            rows.append(row)
            every = sorted(kept + rows, key=lambda row: row["part"])
            given.results.write_text(json.dumps({"rows": every}, indent=2, ensure_ascii=False) + "\n")
            print(f"{'met' if row['met'] else 'MISSED':7}{row['value']!s:>8}  target {row['target']:8}  {row['name']}")
    except parts.Missing as missing:
        print(missing, file=sys.stderr)
        return 2
    return 0 if all(row["met"] for row in rows) else 1


def _rows(asked: Sequence[str], *, quick: bool) -> Iterator[dict[str, Any]]:
    for part in asked:
        begun = time.process_time()
        for row in importlib.import_module(f"bench.real.{part}").rows(quick=quick):
            about = {"taken_at": datetime.now(UTC).isoformat(timespec="seconds"), "quick": quick}
            about |= {"cpu_s": round(time.process_time() - begun), "system": platform.machine(), "cpus": os.cpu_count()}
            begun = time.process_time()
            yield {"part": part, **row, "about": about}


if __name__ == "__main__":
    sys.exit(main())
