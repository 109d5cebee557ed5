"""Mixes: one adapter computed from several, without training.

linear, ties and dare_* are `models.multi_adapter.combine`. The greedy soup (arXiv 2203.05482,
recipe 1) sorts the parts by held-out accuracy and averages in every one that does not make the soup
worse. Parts are adapters, runs or checkpoints; all must be plain LoRA on the same base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gft_lite.adapters.record import adapter_folder, bare_record, write_record
from gft_lite.config import ModelConfig
from gft_lite.evaluation.accuracy import evaluate
from gft_lite.models.fingerprint import WEIGHTS
from gft_lite.models.load import load_with_adapters
from gft_lite.models.multi_adapter import (
    Mixing,
    combine,
    drop_adapter,
    plain_lora,
    save_named,
    using,
)
from gft_lite.rewards import Scorer
from gft_lite.runs import claim_empty
from gft_lite.runs.atomic import file_sha256, new_folder
from gft_lite.types import ConfigError, Example

SOUP = "soup"


@dataclass(frozen=True)
class Part:
    """One ingredient: an adapter, run or checkpoint folder, and its weight."""

    path: Path
    weight: float


@dataclass(frozen=True)
class SoupStep:
    """One part tried in the greedy soup: accuracy alone and in the soup, and whether it is used."""

    path: Path
    alone: float
    with_it: float
    kept: bool


@dataclass(frozen=True)
class Mix:
    """The adapter that was written. A part that a greedy soup rejected has weight 0."""

    out: Path
    how: str
    parts: tuple[Part, ...]
    tastes: tuple[SoupStep, ...] = ()


def mix(
    model: ModelConfig,
    parts: Sequence[Part],
    out: Path,
    *,
    how: Mixing = "linear",
    rank: int | None = None,
    density: float = 0.5,
    seed: int = 0,
) -> Mix:
    """Write Σ weight·part as one adapter.

    Args:
        model: the base.
        parts: two or more.
        out: new or empty folder.
        how: linear, ties, dare_linear or dare_ties.
        rank: of the result; None is the sum of ranks.
        density: share of entries that TIES and DARE keep.
        seed: of DARE's random choice.

    Raises:
        ConfigError: too few parts, or a density that is no share.
        ModelError: a part that cannot be loaded or belongs to another base.
        RunError: the folder holds something.
    """
    if len(parts) < 2:
        raise ConfigError("a mix needs two adapters or more; name each with --adapter")
    if not 0 < density <= 1:
        raise ConfigError(f"--density must be above 0 and at most 1, not {density}")
    policy, names = _load(model, parts, out)
    weights = [part.weight for part in parts]
    combine(policy, SOUP, names, weights, how, rank=rank, density=density, seed=seed)
    settings = {"how": how, "density": None if how == "linear" else density, "seed": seed}
    _write(policy, model, parts, out, settings)
    return Mix(out, how, tuple(parts))


def greedy_soup(
    model: ModelConfig,
    parts: Sequence[Part],
    out: Path,
    examples: Sequence[Example],
    scorer: Scorer,
    *,
    max_new_tokens: int = 256,
    batch: int = 128,
) -> Mix:
    """Average those parts that do not lower the soup's greedy accuracy on held-out data.

    Weights of the parts are not used: the soup is the plain average of what it keeps.

    Raises:
        ConfigError, ModelError, RunError: as `mix`.
    """
    if len(parts) < 2:
        raise ConfigError("a mix needs two adapters or more; name each with --adapter")
    policy, names = _load(model, parts, out)

    def accuracy(name: str) -> float:
        with using(policy, name):
            result = evaluate(policy, examples, scorer, max_new_tokens=max_new_tokens, batch=batch)
        return result.greedy_accuracy

    alone = {name: accuracy(name) for name in names}
    ranked = sorted(names, key=lambda name: -alone[name])
    soup, best = [ranked[0]], alone[ranked[0]]
    path_of = dict(zip(names, (part.path for part in parts), strict=True))
    tastes = [SoupStep(path_of[ranked[0]], best, best, True)]
    for name in ranked[1:]:
        candidate = [*soup, name]
        combine(policy, SOUP, candidate, [1 / len(candidate)] * len(candidate), "linear")
        soup_accuracy = accuracy(SOUP)
        drop_adapter(policy, SOUP)
        improved = soup_accuracy >= best
        tastes.append(SoupStep(path_of[name], alone[name], soup_accuracy, improved))
        if improved:
            soup, best = candidate, soup_accuracy
    combine(policy, SOUP, soup, [1 / len(soup)] * len(soup), "linear")
    weighted = tuple(Part(path_of[name], 1 / len(soup) if name in soup else 0.0) for name in names)
    _write(policy, model, weighted, out, {"how": "greedy", "held_out_accuracy": best})
    return Mix(out, "greedy", weighted, tuple(tastes))


def _load(model: ModelConfig, parts: Sequence[Part], out: Path) -> tuple[Any, list[str]]:
    """One model with every part under a name; parts and output folder are checked before."""
    folders = {f"part{i}": adapter_folder(part.path) for i, part in enumerate(parts)}
    for folder in folders.values():
        plain_lora(folder)
    claim_empty(out)
    out.rmdir()  # claimed to fail early; `new_folder` creates it when the mix is complete
    return load_with_adapters(model, folders), list(folders)


def _write(
    policy: Any, model: ModelConfig, parts: Sequence[Part], out: Path, settings: dict[str, Any]
) -> None:
    with new_folder(out) as aside:
        save_named(policy, SOUP, aside, model.name)
        listed = [
            {
                "adapter": part.path.name,
                "weight": part.weight,
                "sha256": file_sha256(adapter_folder(part.path) / WEIGHTS),
            }
            for part in parts
        ]
        stage = {"method": "mix", **settings, "parts": listed}
        write_record(aside, bare_record(model, policy.tokenizer, [stage]))
