"""Load a tokenizer, or a model with its adapters, by name."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gft_lite.assets import MODEL_DIR
from gft_lite.config import EMBEDDED_MODEL, LoraConfig, ModelConfig
from gft_lite.models.backend import choose_backend
from gft_lite.models.base import Policy
from gft_lite.models.multi_adapter import add_adapter
from gft_lite.models.policy import LoraPolicy
from gft_lite.models.validation import check_adapter, check_base, check_template
from gft_lite.runs.resources import shortage
from gft_lite.types import ModelError


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


def check_model(config: ModelConfig) -> None:
    """Refuse a model or an adapter that cannot be loaded, as far as its files show; cheap.

    Raises:
        ModelError: no model, no whole one, no adapter, or one of another base.
    """
    source = source_of(config.name)
    if Path(source).is_dir():
        check_base(Path(source))
    if config.adapter:
        check_adapter(Path(config.adapter), config.name, source, config.revision)


def load_tokenizer(config: ModelConfig) -> Any:
    """The tokenizer alone, with a pad token.

    Raises:
        ModelError: it cannot be found or read.
    """
    _quiet_imports()
    from transformers import AutoTokenizer

    _quiet_transformers()
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source_of(config.name),
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
        )
    except ModelError:
        raise
    except Exception as error:
        if shortage(error):
            raise
        raise ModelError(_cannot_load(config.name, error)) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_policy(
    config: ModelConfig,
    lora: LoraConfig | None,
    *,
    seed: int = 0,
    max_length: int | None = None,
) -> Policy:
    """Load the base model and give it an adapter.

    Args:
        config: which model, and how it is held.
        lora: the adapter to create; None to use the model, or `config.adapter`, without training.
        seed: initialises the adapter.
        max_length: most tokens of a prompt with its response; None is what the model can read.

    Raises:
        ModelError: model or adapter cannot be loaded, or do not belong together.
    """
    _quiet_imports()
    backend, _ = choose_backend(config.backend)
    if backend == "unsloth":
        from gft_lite.models.unsloth import load, start

        start()
    else:
        from gft_lite.models.hf import load
    # cheap checks first: weights take minutes to load
    check_model(config)
    source = source_of(config.name)
    tokenizer = load_tokenizer(config)
    if config.adapter:
        check_template(Path(config.adapter), tokenizer, config.name)
    try:
        loaded = load(config, lora, source, seed=seed, max_length=max_length)
    except ModelError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        if isinstance(error, torch.cuda.OutOfMemoryError) or shortage(error):
            raise
        raise ModelError(_cannot_load(config.name, error)) from error
    return LoraPolicy(
        loaded, tokenizer, name=config.name, reference_is_start=config.reference == "start"
    )


def load_with_adapters(model: ModelConfig, adapters: Mapping[str, Path]) -> Any:
    """Load a base model once, with frozen adapters that `using` activates by name.

    All adapters are checked before the base is loaded.

    Args:
        model: the base. It is loaded by the hf backend, because adapters are added, switched and
            mixed by PEFT.
        adapters: name → adapter folder. PEFT does not accept a dot in a name.

    Returns:
        A policy (`models.base.Policy`) with a `model`.

    Raises:
        ModelError: the base or an adapter cannot be loaded, or they do not belong together.
    """
    source = source_of(model.name)
    for folder in adapters.values():
        check_adapter(folder, model.name, source, model.revision)
    policy: Any = load_policy(model.model_copy(update={"adapter": None, "backend": "hf"}), None)
    for name, folder in adapters.items():
        check_template(folder, policy.tokenizer, model.name)
        add_adapter(policy, name, folder)
    return policy


def _quiet_imports() -> None:
    """Settings that must come before libraries load. Imports none, as Unsloth must be first."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def _quiet_transformers() -> None:
    """Silence transformers; this project shows its own progress."""
    from transformers.utils import logging as chatter

    chatter.set_verbosity_error()
    chatter.disable_progress_bar()


def _cannot_load(name: str, error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return (
        f"model.name: {name} cannot be loaded ({type(error).__name__}: {first[:200]}); "
        "check the name, the connection, or that the folder is complete"
    )
