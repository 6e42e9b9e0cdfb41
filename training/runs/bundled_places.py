"""Where the bundled things are. Apart from everything else, so that looking at them loads no training library."""

from pathlib import Path

BUNDLED = Path(__file__).parents[2] / "ml_backend" / "bundled"
MODEL_FOLDER = BUNDLED / "model"
CALLS_FOLDER = BUNDLED / "calls"
LEARNING_FOLDER = BUNDLED / "learning"
TWIN_FOLDER = Path(__file__).parents[1] / "demo_model" / "weights"
WORK_FOLDER = Path(__file__).parents[1] / "demo_model" / "work"
