"""Upload of an export to the hub."""

from __future__ import annotations

from pathlib import Path

from gft_lite.types import ModelError


def upload(folder: Path, repo: str) -> None:
    """Put an export on the hub; a new repository is private.

    Raises:
        InputError: not logged in, no connection, or no right to write there. The export stays.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.create_repo(repo, private=True, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder)
    except (HfHubHTTPError, LocalTokenNotFoundError, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0][:200]
        raise ModelError(
            f"--push {repo}: {first}. The export is in {folder}; log in with `hf auth login` and "
            f"upload it with `hf upload {repo} {folder}`"
        ) from error
