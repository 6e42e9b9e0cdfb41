"""`python -m bench [--quick] [--only PART]`: every ratio in one run, a table and `bench/results.json`.

Each part is a module with `rows()`, a generator of result rows; a row that is finished is written at once, so an
interrupted run keeps what it has, and a run of some parts leaves the rows of the others. Method: `bench/ratios.py`.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PARTS = (
    "recognition",
    "serving",
    "listing",
    "receiving",
    "long_call_memory",
    "annotating",
    "exporting",
    "swapping",
    "learning",
    "counting",
    "redrafting",
    "intents",
    "spoken_voice",
    "streaming",
    "large_encoder",
    "answering_calls",
    "looking",
    "scraping",
)
RESULTS = Path(__file__).parent / "results.json"


def main() -> int:
    """Run the parts; exit status 1 when a target is missed or a control voids a row."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer calls and rounds: a look, not a measurement")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part (may be given several times)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write the results")
    given = parser.parse_args()
    asked = given.only or PARTS
    kept = json.loads(given.results.read_text())["rows"] if given.results.exists() and given.only else []
    kept = [row for row in kept if row["part"] not in asked]
    rows: list[dict[str, Any]] = []
    for part in asked:
        make = importlib.import_module(f"bench.{part}").rows
        accepts = "quick" in inspect.signature(make).parameters
        for row in make(quick=given.quick) if accepts else make():
            about = {"taken_at": datetime.now(UTC).isoformat(timespec="seconds"), "quick": given.quick, **_machine()}
            rows.append({"part": part, **row, "about": about})
            every = sorted(kept + rows, key=lambda row: PARTS.index(row["part"]))
            given.results.write_text(json.dumps({"rows": every}, indent=2, ensure_ascii=False) + "\n")
            print(line(row), flush=True)
    return 0 if all(row["met"] and not row.get("void") for row in rows) else 1


def line(row: dict[str, Any]) -> str:
    """One row for the eye."""
    verdict = "void" if row.get("void") else "met" if row["met"] else "MISSED"
    control = f"  A-A {row['control']}" if "control" in row else ""
    return f"{verdict:7}{row['value']:>8}  target {row['target']:8}{control}  {row['name']}"


def _machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


if __name__ == "__main__":
    sys.exit(main())
