"""The numbers of a model that decide its memory, read without loading it.

They come from a `config.json` (a local folder, the embedded model, the hub's cache on this disk),
or from a table of public models, so that a forecast needs no network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gft_lite.assets import MODEL_DIR
from gft_lite.config import EMBEDDED_MODEL, ModelConfig
from gft_lite.types import ModelError


@dataclass(frozen=True)
class Shape:
    """A decoder-only transformer with grouped attention and a gated MLP.

    tied: the output head is the embedding. vision_parameters: of an image encoder that is loaded
    with the language model and not used. qk_norm: queries and keys are normalised.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    max_positions: int
    tied: bool = True
    qk_norm: bool = False
    vision_parameters: int = 0

    @property
    def query_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Linear modules of one layer: name → (in, out)."""
        hidden, inner = self.hidden, self.intermediate
        return {
            "q_proj": (hidden, self.query_width),
            "k_proj": (hidden, self.key_width),
            "v_proj": (hidden, self.key_width),
            "o_proj": (self.query_width, hidden),
            "gate_proj": (hidden, inner),
            "up_proj": (hidden, inner),
            "down_proj": (inner, hidden),
        }

    @property
    def linear_parameters(self) -> int:
        """Parameters that 4-bit loading quantises."""
        inside = self.layers * sum(a * b for a, b in self.linears.values())
        return inside + self.vision_parameters

    @property
    def embedding_parameters(self) -> int:
        """Embedding, and the output head if it is not tied to it; never quantised."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All parameters but norms and biases, which are below one in a thousand."""
        return self.linear_parameters + self.embedding_parameters


KNOWN: dict[str, Shape] = {
    "qwen2.5-0.5b": Shape(24, 896, 14, 2, 64, 4864, 151936, 32768),
    "qwen2.5-1.5b": Shape(28, 1536, 12, 2, 128, 8960, 151936, 32768),
    "qwen2.5-math-1.5b": Shape(28, 1536, 12, 2, 128, 8960, 151936, 4096),
    "qwen2.5-3b": Shape(36, 2048, 16, 2, 128, 11008, 151936, 32768),
    "qwen2.5-7b": Shape(28, 3584, 28, 4, 128, 18944, 152064, 32768, tied=False),
    "qwen3-0.6b": Shape(28, 1024, 16, 8, 128, 3072, 151936, 40960, qk_norm=True),
    "qwen3-1.7b": Shape(28, 2048, 16, 8, 128, 6144, 151936, 40960, qk_norm=True),
    "qwen3-4b": Shape(36, 2560, 32, 8, 128, 9728, 151936, 40960, qk_norm=True),
    "qwen3-8b": Shape(36, 4096, 32, 8, 128, 12288, 151936, 40960, tied=False, qk_norm=True),
    "llama-3.2-1b": Shape(16, 2048, 32, 8, 64, 8192, 128256, 131072),
    "llama-3.2-3b": Shape(28, 3072, 24, 8, 128, 8192, 128256, 131072),
    "gemma-3-1b": Shape(26, 1152, 4, 1, 256, 6912, 262144, 32768, qk_norm=True),
    "gemma-3-4b": Shape(
        34, 2560, 8, 4, 256, 10240, 262208, 131072, qk_norm=True, vision_parameters=417_000_000
    ),
    "smollm3-3b": Shape(36, 2048, 16, 4, 128, 11008, 128256, 65536),
}


def shape_of(model: ModelConfig) -> Shape:
    """The shape of a model by its name: from its `config.json` if that is on this disk, else from
    the table.

    Raises:
        ModelError: neither says anything, or the config describes another kind of model.
    """
    file = _config_file(model)
    if file is not None:
        try:
            return shape_from_config(json.loads(file.read_text(encoding="utf-8")), str(file))
        except (OSError, ValueError) as error:
            raise ModelError(f"{file} cannot be read ({error})") from error
    if known := known_shape(model.name):
        return known
    raise ModelError(
        f"model.name: the shape of {model.name} is not known and its config.json is not on this "
        f"disk; fetch it with `hf download {model.name} config.json`, or name a local folder"
    )


def known_shape(name: str) -> Shape | None:
    """The table's entry for a hub name: `Qwen/Qwen2.5-1.5B-Instruct` is a `qwen2.5-1.5b`."""
    last = name.rsplit("/", 1)[-1].lower()
    keys = [key for key in KNOWN if last == key or last.startswith(f"{key}-")]
    return KNOWN[max(keys, key=len)] if keys else None


def shape_from_config(config: Mapping[str, Any], where: str = "config.json") -> Shape:
    """Read the numbers of a transformers configuration.

    Raises:
        ModelError: numbers are missing, or it is a mixture of experts.
    """
    text = config.get("text_config") or config
    if any(text.get(key) for key in ("num_experts", "num_local_experts", "n_routed_experts")):
        raise ModelError(f"{where}: a mixture of experts; its memory is not forecast yet")
    family = str(text.get("model_type", config.get("model_type", "")))
    tied_unless_said = family.startswith("gemma")
    try:
        heads = int(text["num_attention_heads"])
        return Shape(
            layers=int(text["num_hidden_layers"]),
            hidden=int(text["hidden_size"]),
            heads=heads,
            kv_heads=int(text.get("num_key_value_heads") or heads),
            head_dim=int(text.get("head_dim") or text["hidden_size"] // heads),
            intermediate=int(text["intermediate_size"]),
            vocab=int(text["vocab_size"]),
            max_positions=int(text.get("max_position_embeddings") or 2**30),
            tied=bool(
                text.get("tie_word_embeddings", config.get("tie_word_embeddings", tied_unless_said))
            ),
            qk_norm=family.startswith(("qwen3", "gemma3")),
            vision_parameters=_vision_parameters(config.get("vision_config")),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            f"{where} lacks the numbers of a decoder-only transformer ({error!r}); "
            "its memory cannot be forecast"
        ) from error


def _vision_parameters(vision: Mapping[str, Any] | None) -> int:
    """Of a plain vision transformer: attention and an MLP without a gate."""
    if not vision:
        return 0
    hidden, inner = int(vision["hidden_size"]), int(vision["intermediate_size"])
    return int(vision["num_hidden_layers"]) * (4 * hidden**2 + 2 * hidden * inner)


def _config_file(model: ModelConfig) -> Path | None:
    if model.name == EMBEDDED_MODEL:
        return MODEL_DIR / "config.json"
    if Path(model.name).is_dir():
        return Path(model.name) / "config.json"
    from huggingface_hub import try_to_load_from_cache

    try:
        file = try_to_load_from_cache(model.name, "config.json", revision=model.revision)
    except ValueError:  # no hub name
        return None
    return Path(file) if isinstance(file, str) else None
