"""Several named adapters on one base model in memory, at most one active at a time.

    policy = load_with_adapters(model, {"a": folder, "b": other_folder})  # models.load
    with using(policy, "a"): ...        # the policy is base + a
    with using(policy, None): ...       # the policy is the bare base

The functions need a policy whose `model` is a transformers or PEFT model. `reference()` of such a
policy is the base. Do not call it inside `using(policy, None)`: on exit it would activate the last
adapter again.

Behaviour of PEFT that this module works around: its `linear` combination averages A and B
separately, which is not the average of the updates BA. `cat` is exact, but the rank of the result
is the sum of the ranks. The `*_svd` combinations work on the updates and truncate them to a rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from gft_lite.models.validation import WEIGHTS, check_weights, read_json
from gft_lite.types import ModelError

Mixing = Literal["linear", "ties", "dare_linear", "dare_ties"]
PEFT_KINDS: dict[Mixing, str] = {
    "linear": "cat",
    "ties": "ties_svd",
    "dare_linear": "dare_linear_svd",
    "dare_ties": "dare_ties_svd",
}


class HasModel(Protocol):
    """A policy around a transformers or PEFT model."""

    model: Any
    device: torch.device


def add_adapter(policy: HasModel, name: str, folder: Path) -> None:
    """Load an adapter, frozen, beside those that are already loaded.

    Raises:
        ModelError: its weights are broken or do not fit the model.
    """
    import peft

    check_weights(folder)
    try:
        if hasattr(policy.model, "load_adapter") and hasattr(policy.model, "peft_config"):
            policy.model.load_adapter(str(folder), adapter_name=name, is_trainable=False)
        else:
            policy.model = peft.PeftModel.from_pretrained(
                policy.model, str(folder), adapter_name=name, is_trainable=False
            )
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise
        first = str(error).strip().splitlines()[0][:200]
        raise ModelError(f"{folder} does not fit the model ({first})") from error
    check_complete(policy.model, name, folder)
    policy.model.eval()


def check_complete(model: Any, name: str, folder: Path) -> None:
    """Refuse an adapter with tensors that the model lacks, or without tensors that it has.

    Raises:
        ModelError: PEFT itself only warns, and the model would behave like the base.
    """
    import peft
    from safetensors import safe_open

    loaded = set(
        peft.get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    )
    with safe_open(folder / WEIGHTS, "pt") as file:
        saved = {key for key in file.keys() if "lora_" in key}  # noqa: SIM118
    if different := sorted(saved ^ {key for key in loaded if "lora_" in key}):
        problem = "the file has no" if different[0] in loaded else "the model has no place for"
        raise ModelError(
            f"{folder} does not fit the model: {problem} {different[0]} "
            f"({len(different)} such tensors); name the base it was trained on in model.name"
        )


@contextmanager
def using(policy: HasModel, name: str | None) -> Iterator[None]:
    """Activate an adapter inside the block; None is the bare base."""
    model = policy.model
    if not hasattr(model, "peft_config"):
        yield
    elif name is None:
        with model.disable_adapter():
            yield
    else:
        # blocks may be nested: restore the adapter of the outer one
        before = model.active_adapter
        model.set_adapter(name)
        try:
            yield
        finally:
            model.set_adapter(before)


@torch.no_grad()
def prompt_logits(policy: HasModel, ids: Sequence[int]) -> Tensor:
    """Next-token logits at every position of one prompt, (L, V) float32."""
    out = policy.model(input_ids=torch.tensor([list(ids)], device=policy.device), use_cache=False)
    return out.logits[0].float()


def combine(
    policy: HasModel,
    name: str,
    parts: Sequence[str],
    weights: Sequence[float],
    how: Mixing,
    *,
    rank: int | None = None,
    density: float = 0.5,
    seed: int = 0,
) -> None:
    """Make adapter `name` out of loaded ones.

    linear: Σ wᵢ·BᵢAᵢ·scaleᵢ, exact. ties: arXiv 2306.01708; dare_*: arXiv 2311.03099, both on the
    updates BA, cut to `rank` (None: the sum of ranks) by a singular value decomposition.

    Args:
        policy: holds the parts.
        name: of the new adapter.
        parts: names of loaded adapters.
        weights: one a part.
        how: see above.
        rank: of the result; `linear` ignores it.
        density: share of entries that TIES and DARE keep.
        seed: of DARE's random choice.

    Raises:
        ModelError: PEFT cannot combine these.
    """
    options: dict[str, Any] = {}
    if how != "linear":
        options = {"density": density, "svd_full_matrices": False, "svd_rank": rank}
        options["svd_rank"] = rank or sum(policy.model.peft_config[part].r for part in parts)
    # DARE drops random entries of the update; the seed makes the mix reproducible
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            policy.model.base_model.add_weighted_adapter(
                list(parts),
                list(weights),
                name,
                combination_type="linear" if len(parts) == 1 else PEFT_KINDS[how],
                **options,
            )
    except (ValueError, RuntimeError, NotImplementedError, TypeError) as error:
        raise ModelError(f"these adapters cannot be mixed by {how!r}: {error}") from error
    policy.model.eval()


def drop_adapter(policy: HasModel, name: str) -> None:
    """Unload an adapter; at least one other must be loaded."""
    policy.model.set_adapter(next(n for n in policy.model.peft_config if n != name))
    policy.model.delete_adapter(name)


def save_named(policy: HasModel, name: str, folder: Path, base_name: str) -> None:
    """Write one adapter in PEFT's layout, in `folder` itself."""
    import peft
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = peft.get_peft_model_state_dict(
        policy.model, adapter_name=name, save_embedding_layers=False
    )
    save_file(
        {key: tensor.detach().cpu().contiguous().clone() for key, tensor in weights.items()},
        folder / WEIGHTS,
        metadata={"format": "pt"},
    )
    config = policy.model.peft_config[name]
    before = config.base_model_name_or_path
    config.base_model_name_or_path = base_name
    config.inference_mode = True
    config.save_pretrained(str(folder))
    config.base_model_name_or_path = before


def plain_lora(folder: Path) -> None:
    """Refuse adapters whose update is not B·A·alpha/r: their mix or merge would be another model.

    Raises:
        ModelError: DoRA, rank-stabilised scaling, biases or extra trained modules.
    """
    config = read_json(folder / "adapter_config.json")
    extras = [key for key in ("use_dora", "use_rslora", "modules_to_save") if config.get(key)]
    extras += ["bias"] if config.get("bias", "none") != "none" else []
    if extras:
        raise ModelError(
            f"{folder} is not a plain LoRA adapter ({', '.join(extras)} set in "
            "adapter_config.json); only plain ones can be mixed, or continued with Unsloth"
        )
