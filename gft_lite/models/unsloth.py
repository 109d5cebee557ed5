"""The Unsloth backend: its fused kernels on a CUDA GPU, its plain CPU backend elsewhere.

Oddities kept here, numbered:
1. It must be imported before transformers, peft and trl: `start` is called before all else.
2. Its load asks the hub for a file as a counter, and its compiler writes into the working folder:
   both are steered by the environment, before the import.
3. It prints to stdout, which is ours for results.
4. It may load another repository than the one named, 16 instead of 4 bits, or bfloat16 instead of
   float16: the first is switched off, the others are refused.
5. Beyond `max_seq_length` it cuts sequences without a word: `LoraPolicy` refuses them first.
6. In training its Llama path drops the attention mask, which is exact only because our batches are
   padded on the right; no position ids are passed.
7. `for_inference` and `for_training` flip the padding side of the tokenizer it loaded. That one is
   dropped: text becomes tokens by our own tokenizer (docs/decisions/0005).
8. It may add a pad token, and a row to the head, which would change every probability: refused.
9. `generate` runs in inference mode: only Python numbers leave `generation.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from gft_lite.config import LoraConfig, ModelConfig
from gft_lite.models.backend import INSTALL
from gft_lite.models.multi_adapter import check_complete, plain_lora
from gft_lite.models.policy import (
    ADAPTER,
    LoadedModel,
    fill_adapter,
    keep_start_as_reference,
    shortest,
)
from gft_lite.models.precision import dtype_here, float32_adapter
from gft_lite.types import ModelError

INSTEAD = "or --set model.backend=hf"


def start() -> None:
    """Import Unsloth.

    Raises:
        ModelError: what is installed cannot be imported.
    """
    os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"
    os.environ["UNSLOTH_COMPILE_LOCATION"] = str(cache_folder())
    with _stdout_to_stderr():
        try:
            import unsloth  # noqa: F401
        except Exception as error:  # whatever its checks of a machine raise
            raise ModelError(
                f"Unsloth cannot be imported ({_first_line(error)}): {INSTALL}; {INSTEAD}"
            ) from error


def cache_folder() -> Path:
    """Where Unsloth's compiler keeps what it made."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "gft-lite" / "unsloth"


def load(
    config: ModelConfig,
    lora: LoraConfig | None,
    source: str,
    *,
    seed: int,
    max_length: int | None,
) -> LoadedModel:
    """Load a base and give it an adapter; see `models.load.load_policy`.

    Raises:
        ModelError: Unsloth does not know the model, or would hold it otherwise than asked for.
    """
    dtype = dtype_here(config.dtype)
    with _stdout_to_stderr():
        base, limit = _load_base(config, source, dtype, max_length)
        model = _with_adapter(base, config, lora, seed)
    return LoadedModel(
        model=model,
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        dtype=dtype,
        max_length=limit,
        to_train=lambda model: model.for_training(),
        to_sample=lambda model: model.for_inference(),
    )


def _load_base(
    config: ModelConfig, source: str, dtype: torch.dtype, max_length: int | None
) -> tuple[Any, int]:
    """The base, and the `max_seq_length` it was loaded for."""
    from transformers import AutoConfig, GenerationConfig
    from unsloth import FastLanguageModel

    hub = {"revision": config.revision, "trust_remote_code": config.trust_remote_code}
    known = AutoConfig.from_pretrained(source, **hub).get_text_config()
    limit = shortest(getattr(known, "max_position_embeddings", None), max_length)
    try:
        base, _ = FastLanguageModel.from_pretrained(
            source,
            max_seq_length=limit,
            dtype=dtype,
            load_in_4bit=config.load_in_4bit,
            load_in_16bit=not config.load_in_4bit,
            use_gradient_checkpointing=_checkpointing(config),
            use_exact_model_name=True,
            use_safetensors=True,
            local_files_only=Path(source).is_dir(),
            **hub,
        )
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # its loaders raise many types
        raise ModelError(
            f"model.name: Unsloth cannot load {config.name}, a model of the family "
            f"{known.model_type!r} ({_first_line(error)}); check that the model is complete, "
            + INSTEAD
        ) from error
    _refuse_another_model(base, config, dtype, known.vocab_size)
    base.generation_config = GenerationConfig()  # oddity 3 of hf.py
    base.requires_grad_(False)
    return base, limit


def _refuse_another_model(
    base: Any, config: ModelConfig, dtype: torch.dtype, vocab_size: int
) -> None:
    head = base.get_output_embeddings().weight  # (V, H)
    # by name, because bitsandbytes may not be installed
    four_bit = any(type(m).__name__ == "Linear4bit" for m in base.modules())
    if config.load_in_4bit and not four_bit:
        raise ModelError(
            "model.load_in_4bit: Unsloth cannot hold 4-bit weights on this machine; set it to "
            f"false, {INSTEAD}"
        )
    if head.dtype is not dtype:
        requested, actual = (str(d).removeprefix("torch.") for d in (dtype, head.dtype))
        raise ModelError(
            f"model.dtype: Unsloth holds {config.name} in {actual}, not {requested}, on this "
            f"machine; --set model.dtype={actual}, {INSTEAD}"
        )
    if head.shape[0] != vocab_size:
        raise ModelError(
            f"model.name: Unsloth changed the vocabulary of {config.name} from {vocab_size} to "
            f"{head.shape[0]} tokens; {INSTEAD.removeprefix('or ')}"
        )


def _with_adapter(base: Any, config: ModelConfig, lora: LoraConfig | None, seed: int) -> Any:
    """Base → PEFT model. What is trained is wrapped by Unsloth, so that it gets its kernels."""
    import peft

    if lora is None:
        if not config.adapter:
            return base
        model = peft.PeftModel.from_pretrained(base, config.adapter, adapter_name=ADAPTER)
        check_complete(model, ADAPTER, Path(config.adapter))
        return model
    from unsloth import FastLanguageModel

    options: dict[str, Any] = {"r": lora.r, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout}
    targets: Any = lora.targets
    # a continued adapter keeps its own rank and targets: its weights must fit
    if config.adapter:
        plain_lora(Path(config.adapter))
        start = peft.LoraConfig.from_pretrained(config.adapter)
        options = {key: getattr(start, key) for key in options}
        targets = start.target_modules

    # `random_state` seeds the global generator; the caller's state is kept
    with torch.random.fork_rng():
        model = FastLanguageModel.get_peft_model(
            base,
            target_modules=targets if isinstance(targets, str) else sorted(targets),
            use_gradient_checkpointing=_checkpointing(config),
            random_state=seed,
            **options,
        )
    if config.adapter:
        fill_adapter(model, Path(config.adapter))
        check_complete(model, ADAPTER, Path(config.adapter))
        if config.reference == "start":
            keep_start_as_reference(model, config.adapter)
    float32_adapter(model)
    return model


def _checkpointing(config: ModelConfig) -> str | bool:
    """Its own kind also moves the kept activations to the host's memory."""
    return "unsloth" if config.gradient_checkpointing else False


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    with redirect_stdout(sys.stderr):
        yield


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {(lines or [''])[0][:200]}"
