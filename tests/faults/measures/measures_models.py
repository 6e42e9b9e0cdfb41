"""Models in numbers: promotions while several processes serve."""

from __future__ import annotations

import shutil
from statistics import median

from ml_backend import db
from ml_backend.context import Context, open_context
from ml_backend.models import manifest, registry
from ml_backend.settings import Settings
from tests import models
from tests.faults.full import Figure, Run
from tests.ml_backend import swaps

PROCESSES, A_SECOND = 4, 20


def swapped(run: Run) -> list[Figure]:
    """Two versions take turns while four processes answer twenty requests a second between them."""
    number = run.count(200, least=5)
    settings = Settings(_env_file=None, data_dir=run.folder, asr_device="cpu", asr_threads=1)
    db.upgrade(settings.database)
    context = open_context(settings)
    try:
        one, two = (_version(context, run, seed) for seed in (0, 1))
        registry.move_alias(context, one, expected_revision=0, who="faults", why="first")
        served = swaps.under_load(
            context, (one, two), swaps=number, processes=PROCESSES, rate=A_SECOND,
            say=lambda swap: run.say(f"{swap} swaps"),
        )  # fmt: skip
    finally:
        context.db.dispose()
    took = f"{median(served.took_s):.1f} s, {max(served.took_s):.1f} s"
    return [
        Figure(f"failed of {len(served.all)} answers during {number} swaps, {PROCESSES} processes", "0",
               str(served.failed), not served.failed),
        Figure("answers that mix two versions", "0", str(served.mixed), not served.mixed),
        Figure("until all processes answer with the new version: median, most", "no bound", took, True),
    ]  # fmt: skip


def _version(context: Context, run: Run, seed: int) -> registry.Version:
    folder = run.folder / f"model-{seed}"
    shutil.copytree(models.cached(seed=seed), folder)
    manifest.write(
        folder, name=folder.name, languages=("en",), window=manifest.WindowPolicy.stock(), trained_on="nothing"
    )
    return registry.register(context, str(folder))
