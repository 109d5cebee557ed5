"""Hashes that identify base models, chat templates and weights.

A base is identified by its `config.json` and by a cheap hash of its weights: for every safetensors
file its size, its header (tensor names, types, shapes), and its data, in full up to 64 MiB, else
1 MiB from each of 32 places spread over the file. A fine-tuned copy of the same architecture
differs in nearly every tensor, so the samples tell it apart; a file edited by hand in between two
samples would not be noticed. 15 GB of weights take about a tenth of a second.

No model is loaded and no network is used: a hub name is looked up in the local cache.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gft_lite.runs.atomic import file_sha256

RECORD = "gft_lite.json"  # beside adapter_model.safetensors; written by gft_lite.adapters
WEIGHTS = "adapter_model.safetensors"
WHOLE_BYTES = 64 * 2**20
SAMPLES, SAMPLE_BYTES = 32, 2**20


@dataclass(frozen=True)
class BaseIdentity:
    """Hashes (hex sha256) of a base's files; None if the files are not on this machine."""

    config_sha256: str | None
    weights_sha256: str | None

    def differs_from(self, other: BaseIdentity) -> bool:
        """Whether the weights are known, on both sides, to be different ones."""
        known = None not in (self.weights_sha256, other.weights_sha256)
        return known and self.weights_sha256 != other.weights_sha256

    def equals(self, other: BaseIdentity) -> bool:
        """Whether the weights are known, on both sides, to be the same."""
        return self.weights_sha256 is not None and self.weights_sha256 == other.weights_sha256


def identity_of(source: str, revision: str | None = None) -> BaseIdentity:
    """The identity of a base model.

    Args:
        source: a folder, or a hub name whose files may be in the local cache.
        revision: branch, tag or commit on the hub.
    """
    folder = local_folder(source, revision)
    if folder is None:
        return BaseIdentity(None, None)
    files = sorted(folder.glob("*.safetensors"))
    config = folder / "config.json"
    digest = hashlib.sha256()
    # names count: the same bytes split into other files are another set of files
    for file in files:
        digest.update(file.name.encode())
        _add_file(digest, file)
    return BaseIdentity(
        config_sha256=file_sha256(config) if config.is_file() else None,
        weights_sha256=digest.hexdigest() if files else None,
    )


def local_folder(source: str, revision: str | None = None) -> Path | None:
    """The folder that holds a model's files, or None if a hub model is not in the cache."""
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import try_to_load_from_cache

    try:
        config = try_to_load_from_cache(source, "config.json", revision=revision)
    except ValueError:  # no hub name
        return None
    return Path(config).parent if isinstance(config, str) else None


def template_sha256(tokenizer: Any) -> str | None:
    """Hash of a tokenizer's chat template, or None without a template."""
    template = getattr(tokenizer, "chat_template", None)
    if not template:
        return None
    text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _add_file(digest: Any, path: Path) -> None:
    size = path.stat().st_size
    digest.update(str(size).encode())
    with path.open("rb") as file:
        if size <= WHOLE_BYTES:
            digest.update(file.read())
            return
        header = int.from_bytes(file.read(8), "little")  # safetensors: length, then JSON, then data
        digest.update(file.read(min(header, WHOLE_BYTES)))
        # evenly spaced, from the first byte to the last: the final sample ends at the file's end
        for i in range(SAMPLES):
            file.seek(i * (size - SAMPLE_BYTES) // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
