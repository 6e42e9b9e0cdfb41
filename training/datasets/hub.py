"""A version -> a dataset repository of the Hugging Face hub, private by default."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, InvalidInput, RetryableError
from training.datasets import dataset_manifest, renderings


def push(context: Context, row: Any, repository: str, *, api: Any = None) -> str:
    """Upload card, manifest and Parquet; returns the repository's URL. The hub's client finds its own token.

    The same commit deletes files of an earlier version, which would be loaded as part of this one. The list of
    exclusions is internal and not uploaded.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    api = api or HfApi()
    with tempfile.TemporaryDirectory(prefix="kaan-push-") as folder:
        path = renderings.copy(context, row, Path(folder))
        try:
            api.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
            api.upload_folder(
                repo_id=repository, repo_type="dataset", folder_path=path,
                ignore_patterns=[dataset_manifest.EXCLUSIONS],
                delete_patterns=[f"{form}/*" for form in (*renderings.FORMS, "audio")],  # of an earlier version
                commit_message=f"{row.name} version {row.version}, manifest {row.manifest_sha256[:12]}",
            )  # fmt: skip
        except HFValidationError:
            raise InvalidInput("bad-repository", "The repository's name is not valid.", "Use owner/name.") from None
        except LocalTokenNotFoundError:
            raise _refused() from None
        except HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status in (401, 403):
                raise _refused() from error
            raise RetryableError("hub-unavailable", f"The hub answered {status}.", "Try again later.") from error
        except Exception as error:  # an error of the client's HTTP library, which we do not import
            what = type(error).__name__
            if not any(base.__name__ == "TransportError" for base in type(error).__mro__):
                raise
            raise RetryableError(
                "hub-unavailable", f"The hub did not answer ({what}).", "Check the network."
            ) from error
    return f"{api.endpoint}/datasets/{repository}"


def _refused() -> ConfigurationError:
    return ConfigurationError("hub-refused", "The hub refused us.", "Log in with `hf auth login`, or set HF_TOKEN.")
