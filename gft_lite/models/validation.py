"""Checks of model and adapter folders before weights load: complete, and made for each other.

An adapter written by gft-lite has a record beside it (`gft_lite.json`) with hashes of its base, its
chat template and its own weights: then the hashes decide, so a base that moved to another folder
is still recognised, and another model under the same name is not. Other adapters only have the
name in `adapter_config.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gft_lite.models.fingerprint import (
    RECORD,
    WEIGHTS,
    BaseIdentity,
    file_sha256,
    identity_of,
    template_sha256,
)
from gft_lite.types import ModelError

INDEX = "model.safetensors.index.json"  # of weights in several files
TOKENIZER = ("tokenizer*", "vocab*", "*.model", "*.tiktoken")


def check_base(folder: Path) -> None:
    """Refuse a model folder that is not whole; reads the headers of its weights only.

    Raises:
        ModelError: what is missing or broken.
    """
    read_json(folder / "config.json")
    files = sorted(folder.glob("*.safetensors"))
    if (folder / INDEX).is_file():
        listed = read_json(folder / INDEX).get("weight_map", {})
        files = [folder / name for name in sorted(set(listed.values()))]
    if not files:
        pickled = any(folder.glob("*.bin"))
        raise ModelError(
            f"model.name: {folder} has no *.safetensors"
            + ("; its pickled *.bin is refused, since loading it runs code" * pickled)
        )
    for file in files:
        if not file.is_file():
            raise ModelError(f"model.name: {folder} lacks {file.name}; copy or download it again")
        _names_in(file)
    if not any(any(folder.glob(pattern)) for pattern in TOKENIZER):
        raise ModelError(
            f"model.name: {folder} has no tokenizer; copy tokenizer.json and "
            "tokenizer_config.json of the model into it"
        )


def check_adapter(
    folder: Path, base: str, source: str | None = None, revision: str | None = None
) -> None:
    """Refuse an adapter folder that is none, is pickled or broken, or belongs to another base.

    Args:
        folder: the adapter.
        base: name of the base, as the user gave it.
        source: folder or hub name of the base, for its hashes; None compares names only.
        revision: of the base, on the hub.

    Raises:
        ModelError: with both names if the base differs.
    """
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder} is not an adapter folder: it has no adapter_config.json")
    check_weights(folder)
    trained_on = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    record = read_record(folder)
    if record is None:
        if trained_on and trained_on != base:
            raise ModelError(_wrong_base(folder, trained_on, base))
        return
    recorded = record["base"]
    if record["weights_sha256"] != file_sha256(folder / WEIGHTS):
        raise ModelError(
            f"{folder}: {WEIGHTS} is not the file that {RECORD} was written for; copy the adapter "
            f"again, or delete {RECORD} if you changed the weights on purpose"
        )
    trained_base = BaseIdentity(recorded["config_sha256"], recorded["weights_sha256"])
    this_base = identity_of(source, revision) if source else BaseIdentity(None, None)
    # hashes decide if both sides have them; names only if one is unknown
    if this_base.differs_from(trained_base):
        raise ModelError(
            _wrong_base(folder, recorded["name"], base)
            + f" (its weights: {_short(trained_base.weights_sha256)}, "
            f"here: {_short(this_base.weights_sha256)})"
        )
    if not this_base.equals(trained_base) and base not in (recorded["name"], trained_on):
        raise ModelError(_wrong_base(folder, recorded["name"], base))


def check_template(folder: Path, tokenizer: Any, base: str) -> None:
    """Refuse an adapter that was trained with another chat template than the tokenizer has.

    Raises:
        ModelError: names both hashes.
    """
    record = read_record(folder)
    if record is None:
        return
    trained, current = record["chat_template_sha256"], template_sha256(tokenizer)
    if trained != current:
        raise ModelError(
            f"{folder} was trained with another chat template ({_short(trained)}) than {base} has "
            f"({_short(current)}): its answers would not be those it was trained to give. Use the "
            "tokenizer that was exported with the adapter, or the base's own revision"
        )


def check_weights(folder: Path) -> None:
    """Refuse missing, pickled, truncated and empty adapter weights; reads the header only.

    Raises:
        ModelError: what is wrong with the file.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        pickled = any((folder / name).is_file() for name in ("adapter_model.bin", "adapter.pt"))
        raise ModelError(
            f"{folder} has no {WEIGHTS}"
            + ("; its pickled adapter_model.bin is refused, since loading it runs code" * pickled)
        )
    if not any("lora_" in name for name in _names_in(path)):
        raise ModelError(f"{path} holds no LoRA weights; only LoRA adapters can be used")


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record that gft-lite wrote beside an adapter; None for an adapter of another tool.

    Raises:
        ModelError: the record is broken.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    record = read_json(path)
    base = record.get("base")
    record_keys = ("chat_template_sha256", "weights_sha256")
    base_keys = ("name", "config_sha256", "weights_sha256")
    if (
        not isinstance(base, dict)
        or any(k not in record for k in record_keys)
        or any(k not in base for k in base_keys)
    ):
        raise ModelError(f"{path} is not a record of gft-lite; copy the adapter again")
    return record


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelError: the file is not a JSON object.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError):
        raise ModelError(f"{path} is not valid JSON") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a JSON object")
    return content


def _names_in(path: Path) -> list[str]:
    """Names of the tensors in a file of weights, whose length is checked as well."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path} is truncated or no safetensors file ({error}); copy or download it again"
        ) from None


def _wrong_base(folder: Path, trained_on: str, base: str) -> str:
    return (
        f"{folder} was trained on {trained_on!r}, but model.name is {base!r}; "
        f"set model.name={trained_on}"
    )


def _short(sha256: str | None) -> str:
    return sha256[:12] if sha256 else "none"
