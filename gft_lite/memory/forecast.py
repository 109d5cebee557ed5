"""How much memory a run will need, from its settings and the shape of its model alone.

What is always there (base, adapter, optimizer) plus the largest of the phases that take turns:
sampling a rollout, one training micro-batch, evaluation. Each phase is counted at its own peak,
with batches as large and answers as long as the settings allow.

The counts follow plain transformers + PEFT with memory-efficient attention. Unsloth's fused kernels
need less; sliding-window layers are counted as full ones. So the forecast leans to the upper side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gft_lite.config import GroupConfig, LoraConfig, RunConfig
from gft_lite.config.constants import CHUNK_ELEMENTS
from gft_lite.memory.shapes import Shape

Verdict = Literal["fits", "tight", "does not fit"]
Device = Literal["cuda", "cpu"]

GIB = 2**30
CARDS_GIB = (6, 8, 12, 16, 24, 32, 48)
COMFORTABLE = 0.9  # of a card: the rest is for fragments, a desktop, and the forecast's own error
CUDA_CONTEXT = int(0.6 * GIB)  # kernels, cuBLAS and bitsandbytes workspaces; not torch's tensors
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # a weight: 4 bits, 8-bit scale, 32-bit scale of scales


@dataclass(frozen=True)
class Forecast:
    """Bytes by what they are for.

    resident: there from the first step to the last. phases: what a phase adds, by part; phases take
    turns. context: what the device's libraries hold outside of tensors.
    """

    resident: Mapping[str, int]
    phases: Mapping[str, Mapping[str, int]]
    context: int

    @property
    def peak_phase(self) -> str:
        """The phase that needs most."""
        return max(self.phases, key=lambda name: sum(self.phases[name].values()))

    @property
    def tensors(self) -> int:
        """Most bytes of tensors at once: what torch measures as its peak."""
        return sum(self.resident.values()) + sum(self.phases[self.peak_phase].values())

    @property
    def total(self) -> int:
        """Most bytes at once on the device."""
        return self.tensors + self.context

    def verdict(self, card_gib: float) -> Verdict:
        """Whether a card of that many GiB will do; "tight" is within the forecast's own error."""
        share = self.total / (card_gib * GIB)
        return "fits" if share <= COMFORTABLE else "tight" if share <= 1 else "does not fit"

    def to_dict(self) -> dict[str, Any]:
        """Plain data: bytes, and the verdict for the usual cards."""
        return {
            **asdict(self),
            "peak_phase": self.peak_phase,
            "tensors": self.tensors,
            "total": self.total,
            "total_gib": round(self.total / GIB, 2),
            "cards": {str(gib): self.verdict(gib) for gib in CARDS_GIB},
        }


def forecast(config: RunConfig, shape: Shape, *, device: Device = "cuda") -> Forecast:
    """Forecast a run.

    Args:
        config: the resolved configuration.
        shape: of its model.
        device: decides 16 or 32 bits where `model.dtype` is auto, and the optimizer's.
    """
    model, train, group = config.model, config.train, config.group
    width = _width(model.dtype, device)  # bytes of a weight and of an activation
    longest = config.data.max_prompt_tokens + group.max_new_tokens
    adapter = _adapter_parameters(config.lora, shape)
    per_weight = NF4_BYTES if model.load_in_4bit else width
    resident = {
        "base weights": int(shape.linear_parameters * per_weight),
        "embedding and head": shape.embedding_parameters * width,
        "adapter": 4 * adapter * (2 if model.reference == "start" else 1),
        "optimizer": adapter * _optimizer_bytes(train.optimizer, device),
    }
    dequantised = width * max(a * b for a, b in shape.linears.values()) if model.load_in_4bit else 0
    all_tokens = train.prompts_per_step * _group_size(group, config.method.sources) * longest
    tokens = max(longest, min(train.micro_batch_tokens, all_tokens))
    phases = {
        "training": {
            "adapter gradients": adapter * (4 + (width if width < 4 else 0)),  # and 16-bit copies
            **_training(shape, config, tokens, longest, width, dequantised),
        }
    }
    if "self" in config.method.sources and group.self_:
        responses = train.prompts_per_step * train.updates_per_rollout * group.self_
        phases["rollout"] = _sampling(
            shape, config, min(train.rollout_batch, responses), width, dequantised
        )
    if config.data.eval_path:
        responses = config.eval.examples * max(1, config.eval.k)
        phases["evaluation"] = _sampling(
            shape, config, min(config.eval.batch, responses), width, dequantised
        )
    return Forecast(resident, phases, CUDA_CONTEXT if device == "cuda" else 0)


def _width(dtype: str, device: Device) -> int:
    if dtype == "auto":
        return 2 if device == "cuda" else 4
    return 4 if dtype == "float32" else 2


def _optimizer_bytes(kind: str, device: Device) -> int:
    """Two moments a parameter, of 32 or of 8 bits."""
    if kind == "auto":
        kind = "paged_adamw_8bit" if device == "cuda" else "adamw"
    return 8 if kind == "adamw" else 2


def _group_size(group: GroupConfig, sources: Iterable[str]) -> int:
    sizes = {"expert": group.expert, "teacher": group.teacher, "self": group.self_}
    return max(1, sum(sizes[source] for source in sources))


def _adapter_parameters(lora: LoraConfig, shape: Shape) -> int:
    """Both factors of every module that gets an adapter, in every layer of the language model."""
    widths = [
        sum(sizes)
        for name, sizes in shape.linears.items()
        if lora.targets == "all-linear" or name in lora.targets
    ]
    return shape.layers * lora.r * sum(widths)


def _training(
    shape: Shape, config: RunConfig, tokens: int, longest: int, width: int, dequantised: int
) -> dict[str, int]:
    """What the forward pass keeps, and the larger of the two peaks that follow it: the log-probs,
    or the backward pass through one layer (which is computed again first with checkpointing).

    Saved by a layer, in elements a token:
    norms: their input in 32 bits, twice (and queries and keys where these are normalised);
    attention: queries, keys and values (one a query head), and its output;
    MLP: gate, its activation, up;
    LoRA: the input of each module (in 16 bits each makes its own copy) and the rank-r middle.
    """
    hidden, inner, queries = shape.hidden, shape.intermediate, shape.query_width
    norms = 2 * hidden + (queries + shape.key_width if shape.qk_norm else 0)
    copies = 5 * hidden + queries if width < 4 else 2 * hidden
    saved = 4 * queries + 3 * inner + copies + inner + 7 * config.lora.r
    layer = tokens * (4 * norms + width * saved)
    mask = tokens * longest * (1 + width)
    # the gradients of the MLP's three inner tensors, and a LoRA input in 32 bits
    peak = tokens * inner * (3 * width + 4) + dequantised
    if config.model.gradient_checkpointing:
        stored, peak = shape.layers * tokens * hidden * width, layer + peak
    else:
        stored = shape.layers * layer
    log_probs = _log_probs(shape, tokens, width)
    if log_probs > peak:
        return {"activations": stored + mask, "log-probs": log_probs}
    return {"activations": stored + mask, "backward through a layer": peak}


def _log_probs(shape: Shape, tokens: int, width: int) -> int:
    """One chunk of logits with its softmax and gradient, and the hidden states' gradient."""
    rows = min(tokens, max(1, CHUNK_ELEMENTS // shape.vocab))
    return rows * shape.vocab * (8 + max(4, 2 * width)) + 2 * tokens * shape.hidden * width


def _sampling(
    shape: Shape, config: RunConfig, answers: int, width: int, dequantised: int
) -> dict[str, int]:
    """Answers sampled together: the cache at its longest, or reading the prompts, which needs the
    widest layer for all their tokens at once while the cache holds the prompts only."""
    prompt, new = config.data.max_prompt_tokens, config.group.max_new_tokens
    per_token = 2 * shape.key_width * width  # of one layer: keys and values
    grown = answers * (prompt + new) * per_token * (shape.layers + 1)  # one layer is copied to grow
    read = answers * prompt * per_token * shape.layers
    # gate, up and the down-projection's LoRA input and output in 32 bits; residual and its norm
    inside = answers * prompt * (shape.intermediate * (2 * width + 12) + 3 * shape.hidden * width)
    cut = config.group.top_k or config.group.top_p < 1
    logits = answers * shape.vocab * (width + 12 + (20 if cut else 0))  # 32-bit copy, softmax, sort
    if grown >= read + inside:
        return {"key-value cache": grown, "activations": 0, "logits": logits + dequantised}
    return {
        "key-value cache": read,
        "reading the prompts": inside,
        "logits": logits,
        "one dequantised layer": dequantised,
    }
