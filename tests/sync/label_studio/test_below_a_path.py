"""A Label Studio behind a proxy that puts it below a path: everything asked of it goes below that path."""

from __future__ import annotations

from ml_backend import tables
from ml_backend.settings import Settings
from tests.servers import path_proxy
from tests.sync.conftest import CALLS, serving


def test_projects_uploads_and_local_files_work_below_a_path(settings: Settings) -> None:
    with path_proxy.below("/label-studio", settings.label_studio_url) as url:
        with serving(settings.model_copy(update={"label_studio_url": url})) as service:
            project = service.project("calls")
            with (CALLS / "en-delivery-noisy.wav").open("rb") as stream:
                service.client.call(
                    "POST",
                    f"/api/projects/{project.ls_project_id}/import",
                    files={"file": ("50% + नमस्ते.wav", stream, "audio/wav")},
                )
            service.bring(project, "hi-refund-sum.wav")
            service.run_jobs()
            found = service.there(project)
            assert len(found) == 2
            assert all(task["predictions"] for task in found)
            played = {str(task["data"]["audio"]) for task in found}
            assert any(audio.startswith("/label-studio/data/local-files/") for audio in played)
            assert {row.source for row in service.rows(tables.recordings)} == {"upload", "object"}
            assert {row.state for row in service.rows(tables.recordings)} == {"ready"}
