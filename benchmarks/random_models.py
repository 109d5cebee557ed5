"""Models with random weights at real shapes: memory and speed without a download.

The configurations are the public ones of the models named. Weights are written shard by shard, so
that no more than one is in memory; the tokenizer is the embedded demo model's, whose few tokens are
the first of the real vocabulary's. A model of random weights almost never ends an answer by itself:
every answer is as long as it may be, which is the worst case for memory and time.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
MILLION_ROPE = {"rope_type": "default", "rope_theta": 1e6}
CONFIGS: dict[str, dict[str, Any]] = {
    "tiny": {
        "model_type": "qwen2",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 528,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
    },
    "qwen2.5-1.5b": {
        "model_type": "qwen2",
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "max_position_embeddings": 32768,
        "rope_parameters": MILLION_ROPE,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
    },
    "llama-3.2-3b": {
        "model_type": "llama",
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 28,
        "num_attention_heads": 24,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "rope_parameters": LLAMA3_ROPE,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    },
    "qwen2.5-7b": {
        "model_type": "qwen2",
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "max_position_embeddings": 32768,
        "rope_parameters": MILLION_ROPE,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    },
    "qwen3-8b": {
        "model_type": "qwen3",
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
        "rope_parameters": MILLION_ROPE,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    },
}
SPECIAL = {"pad_token_id": 0, "eos_token_id": 2, "bos_token_id": None, "dtype": "bfloat16"}
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
SHARD_BYTES = 2 * 2**30
SCALE = 0.02


def write_model(name: str, folder: Path) -> int:
    """Write one of `CONFIGS` with random bfloat16 weights; returns the number of its parameters."""
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    from gft_lite.assets import MODEL_DIR

    config = AutoConfig.for_model(**CONFIGS[name], **SPECIAL)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    config.architectures = [type(model).__name__]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    where: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}
    parameters = [(key, p.shape) for key, p in model.named_parameters()]  # a tied head only once
    for i, (key, shape) in enumerate(parameters):
        shard[key] = _weights(key, shape, device).cpu()
        full = sum(t.numel() * t.element_size() for t in shard.values()) >= SHARD_BYTES
        if full or i == len(parameters) - 1:
            file = f"model-{len(set(where.values())):05d}.safetensors"
            save_file(shard, folder / file, metadata={"format": "pt"})
            where |= dict.fromkeys(shard, file)
            shard = {}
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    config.save_pretrained(folder)
    for file in TOKENIZER:
        shutil.copy(MODEL_DIR / file, folder)
    return sum(shape.numel() for _, shape in parameters)


def _weights(key: str, shape: torch.Size, device: str) -> torch.Tensor:
    if key.endswith("bias"):
        return torch.zeros(shape, dtype=torch.bfloat16)
    if "norm" in key:
        return torch.ones(shape, dtype=torch.bfloat16)
    return torch.randn(shape, dtype=torch.bfloat16, device=device) * SCALE
