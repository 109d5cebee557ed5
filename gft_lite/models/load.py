"""Choosing the backend, and turning a name into a tokenizer or a model with an adapter."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import torch

from gft_lite.assets import MODEL_DIR
from gft_lite.config import EMBEDDED_MODEL, LoraConfig, ModelConfig
from gft_lite.models.base import Policy
from gft_lite.types import MissingExtraError, ModelError

UNSLOTH_INSTALL = 'pip install "gft-lite[unsloth]"'


def choose_backend(wanted: str) -> tuple[str, str]:
    """Resolve `model.backend` to (backend, reason).

    Raises:
        MissingExtraError: unsloth is asked for and not installed.
    """
    installed = importlib.util.find_spec("unsloth") is not None
    if wanted == "unsloth" and not installed:
        raise MissingExtraError(
            f"model.backend is 'unsloth', which is not installed: {UNSLOTH_INSTALL}, "
            "or --set model.backend=hf"
        )
    if wanted != "auto":
        return wanted, "chosen in model.backend"
    if not torch.cuda.is_available():
        return "hf", "no CUDA GPU here"
    if not installed:
        return "hf", f"Unsloth is not installed ({UNSLOTH_INSTALL} makes it faster)"
    return "unsloth", "CUDA GPU and Unsloth found"


def source_of(name: str) -> str:
    """`tiny` → the embedded folder; a folder or hub name as it is.

    Raises:
        ModelError: a local folder without a model in it.
    """
    if name == EMBEDDED_MODEL:
        return str(MODEL_DIR)
    path = Path(name)
    if path.exists():
        if not (path / "config.json").is_file():
            hint = (
                "; it is a LoRA adapter: name its base in model.name and it in model.adapter"
                if (path / "adapter_config.json").is_file()
                else "; expected a folder with config.json and *.safetensors"
            )
            raise ModelError(f"model.name: {name} is not a model folder{hint}")
        return str(path)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(
            f"model.name: {name} is no folder here and no hub name (owner/model); "
            "`tiny` is the embedded demo model"
        )
    return name


def load_tokenizer(config: ModelConfig) -> Any:
    """The tokenizer alone, with a pad token.

    Raises:
        ModelError: it cannot be found or read.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source_of(config.name),
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
        )
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(_cannot_load(config.name, error)) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_policy(config: ModelConfig, lora: LoraConfig | None, *, seed: int = 0) -> Policy:
    """Load the base model and give it an adapter.

    Args:
        config: which model, and how it is held.
        lora: the adapter to create; None where the model is only used (or `config.adapter` is).
        seed: initialises the adapter.

    Raises:
        ModelError: model or adapter cannot be loaded, or do not belong together.
        MissingExtraError: the backend is not installed.
    """
    backend, _reason = choose_backend(config.backend)
    if config.adapter:
        check_adapter(Path(config.adapter), config.name)
    tokenizer = load_tokenizer(config)
    if backend == "unsloth":
        raise ModelError("model.backend: the Unsloth backend is not built yet; use hf")
    from gft_lite.models.hf import HfPolicy

    try:
        return HfPolicy(config, lora, tokenizer, source_of(config.name), seed=seed)
    except ModelError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise
        raise ModelError(_cannot_load(config.name, error)) from error


def check_adapter(folder: Path, base: str) -> None:
    """Refuse an adapter folder that is none, is pickled, or was trained on another base.

    Raises:
        ModelError: with both names where the base differs.
    """
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder} is not an adapter folder: it has no adapter_config.json")
    if not (folder / "adapter_model.safetensors").is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        raise ModelError(
            f"{folder} has no adapter_model.safetensors"
            + ("; its pickled adapter_model.bin is refused, since loading it runs code" * pickled)
        )
    try:
        trained_on = json.loads((folder / "adapter_config.json").read_text("utf-8")).get(
            "base_model_name_or_path"
        )
    except json.JSONDecodeError:
        raise ModelError(f"{folder}/adapter_config.json is not valid JSON") from None
    if trained_on and trained_on != base:
        raise ModelError(
            f"{folder} was trained on {trained_on!r}, but model.name is {base!r}; "
            f"set model.name={trained_on}"
        )


def _cannot_load(name: str, error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return (
        f"model.name: {name} cannot be loaded ({type(error).__name__}: {first[:200]}); "
        "check the name, the connection, or that the folder is complete"
    )
