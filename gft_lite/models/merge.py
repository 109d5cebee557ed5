"""Writing a model with its adapter folded in: W + B·A·alpha/r, in the base's own layout."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from gft_lite.models.fingerprint import local_folder
from gft_lite.models.multi_adapter import HasModel
from gft_lite.types import ModelError

# copied byte for byte, so that no library version rewrites how text becomes tokens
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
)
GENERATION_FILE = "generation_config.json"


def write_merged(
    policy: HasModel, folder: Path, dtype: torch.dtype, source: str, revision: str | None
) -> None:
    """Merge the active adapter and write the model; the policy cannot be used afterwards.

    The sum is taken in the weights' own type and rounded once to `dtype`.

    Raises:
        ModelError: the weights are quantised, there is no adapter, or the sum is not finite.
    """
    if getattr(policy.model, "is_quantized", False) or _has_quantised_layers(policy.model):
        raise ModelError("a 4-bit base cannot be merged exactly; merge into the full-precision one")
    if not hasattr(policy.model, "merge_and_unload"):
        raise ModelError("there is no adapter to merge")
    try:
        merged = policy.model.merge_and_unload(safe_merge=True)
    except ValueError as error:  # PEFT reports NaN this way
        raise ModelError(f"the adapter cannot be merged: {error}") from error
    # after the sum: rounding base and update separately would round twice
    policy.model = merged.to(dtype)
    policy.model.save_pretrained(folder)
    copy_tokenizer(policy, folder, source, revision)
    # the loaded model has an empty generation config; users expect that of the base
    (folder / GENERATION_FILE).unlink(missing_ok=True)
    base = local_folder(source, revision)
    if base and (base / GENERATION_FILE).is_file():
        shutil.copyfile(base / GENERATION_FILE, folder / GENERATION_FILE)


def copy_tokenizer(policy: Any, folder: Path, source: str, revision: str | None) -> None:
    """Copy the base's tokenizer and chat template; save them anew if the files are missing."""
    base = local_folder(source, revision)
    files = [base / name for name in TOKENIZER_FILES if (base / name).is_file()] if base else []
    if not any(file.name in ("tokenizer.json", "tokenizer.model") for file in files):
        policy.tokenizer.save_pretrained(folder)
        return
    for file in files:
        shutil.copyfile(file, folder / file.name)


def copy_base(source: str, folder: Path) -> None:
    """A whole base model beside its adapter."""
    base = local_folder(source)
    if base is None:
        raise ModelError(f"the files of {source} are not on this machine")
    folder.mkdir()
    for file in sorted(base.iterdir()):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)


def _has_quantised_layers(model: Any) -> bool:
    return any(type(m).__name__ in ("Linear4bit", "Linear8bitLt") for m in model.modules())
