"""The instructions open until somebody has begun to work, and whoever wants them to open again is obeyed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_backend import tables
from tests.sync.annotations.test_redraft_requests import annotate
from tests.sync.redrafts import drafted


@pytest.mark.parametrize("made", [True, False])
def test_the_first_annotation_closes_them_in_a_project_of_ours_and_later_ones_do_not(
    tmp_path: Path, made: bool
) -> None:
    with drafted(tmp_path / "data", 2) as world:
        world.context.db.update(tables.projects, world.project_id, attached_changes={"made": made})
        there = world.studio.projects[world.project().ls_project_id]
        assert there["show_instruction"]
        annotate(world, 1)
        world.run("close-instructions")
        assert there["show_instruction"] is not made
        there["show_instruction"] = True
        annotate(world, 2)
        assert world.run("close-instructions") == 0
