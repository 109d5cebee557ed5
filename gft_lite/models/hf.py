"""The plain backend: transformers + PEFT (+ bitsandbytes NF4), on any device.

Oddities kept here, numbered:
1. On AVX512-BF16 CPUs bitsandbytes repacks 4-bit weights in the first forward without gradient, and
   later backwards lose the gradient through those layers: the repacking is switched off after load.
2. `prepare_model_for_kbit_training` is not used: it would upcast embeddings and head to float32.
3. A model's own generation config carries sampling defaults; it is replaced by a bare one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gft_lite.config import LoraConfig, ModelConfig
from gft_lite.models.multi_adapter import check_complete
from gft_lite.models.policy import ADAPTER, LoadedModel, keep_start_as_reference, shortest
from gft_lite.models.precision import dtype_here, float32_adapter


def load(
    config: ModelConfig,
    lora: LoraConfig | None,
    source: str,
    *,
    seed: int,
    max_length: int | None,
) -> LoadedModel:
    """Load a base and give it an adapter; see `models.load.load_policy`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype_here(config.dtype)
    base = _load_base(config, source, dtype, device)
    return LoadedModel(
        model=_with_adapter(base, config, lora, seed),
        device=device,
        dtype=dtype,
        max_length=shortest(getattr(base.config, "max_position_embeddings", None), max_length),
        to_train=lambda model: model.train(),
        to_sample=lambda model: model.eval(),
    )


def _load_base(config: ModelConfig, source: str, dtype: torch.dtype, device: torch.device) -> Any:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, GenerationConfig

    quantization = None
    if config.load_in_4bit:
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    base = AutoModelForCausalLM.from_pretrained(
        source,
        revision=config.revision,
        dtype=dtype,
        quantization_config=quantization,
        device_map={"": device} if quantization else None,
        use_safetensors=True,
        trust_remote_code=config.trust_remote_code,
    )
    if quantization is None:
        base.to(device)
    # oddity 1: a repacked layer would pass no gradient to the layers below it
    for module in base.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    base.generation_config = GenerationConfig()  # oddity 3
    base.requires_grad_(False)
    # the base is frozen: without gradients at the embedding's output, checkpointed layers would
    # be outside the graph and the adapter would get no gradient
    if config.gradient_checkpointing:
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        base.enable_input_require_grads()
    return base


def _with_adapter(base: Any, config: ModelConfig, lora: LoraConfig | None, seed: int) -> Any:
    """Base → PEFT model: a fresh adapter, a continued one, or none where nothing is trained."""
    import peft

    if config.adapter:
        model = peft.PeftModel.from_pretrained(
            base, config.adapter, adapter_name=ADAPTER, is_trainable=lora is not None
        )
        check_complete(model, ADAPTER, Path(config.adapter))
        if config.reference == "start":
            keep_start_as_reference(model, config.adapter)
    elif lora is not None:
        # the adapter's initial weights depend on `seed` alone, not on what was sampled before
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
            model = peft.get_peft_model(
                base,
                peft.LoraConfig(
                    r=lora.r,
                    lora_alpha=lora.alpha,
                    lora_dropout=lora.dropout,
                    target_modules=targets,
                    bias="none",
                    task_type="CAUSAL_LM",
                ),
            )
    else:
        return base
    float32_adapter(model)
    return model
