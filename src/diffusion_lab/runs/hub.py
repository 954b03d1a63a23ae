"""Uploading a folder to the Hugging Face Hub, as the user who is logged in there."""

from __future__ import annotations

from pathlib import Path

from diffusion_lab.errors import LabError


def check_login() -> None:
    """Raise LabError unless a user is logged in: huggingface_hub has a token, of its own or in HF_TOKEN."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise LabError("push_to_hub needs a login: type `hf auth login`, or set HF_TOKEN")


def upload(folder: Path, repository: str, private: bool) -> str:
    """Upload the files in a folder to a repository, which is made if there is none, and return its address.

    Raises:
        LabError: naming what the Hub answers, and the folder, which stays as it is.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = str(api.create_repo(repository, private=private, exist_ok=True))
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload a model of Diffusion Lab")
    except Exception as error:  # of the Hub, of the network or of a file; each library has its own kinds
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise LabError(f"push_to_hub={repository}: {reason}; the files are in {folder}") from error
    return address
