"""What a training step looked like: per-token measurements → one line of figures, and the stored
groups. Tensors come in during the step; the one transfer to the CPU happens in `figures`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gft_lite.groups import BuiltGroups
from gft_lite.models.batching import TokenBatch, TokenSequence
from gft_lite.types import SOURCES, Group, Source


@dataclass(frozen=True)
class TokenTrace:
    """One trained response, per token: probability, weight (−∂loss/∂log π ÷ advantage), entropy."""

    sequence: TokenSequence
    probs: list[float]
    weights: list[float]
    entropy: list[float]
    kl: list[float] | None


@dataclass
class StepObserver:
    """Collects what the micro-batches of one optimizer step measured."""

    _batches: list[tuple[TokenBatch, Tensor, Tensor, Tensor, Tensor | None]] = field(
        default_factory=list
    )
    _loss: list[Tensor] = field(default_factory=list)

    def add(
        self,
        batch: TokenBatch,
        *,
        logps: Tensor,
        entropy: Tensor,
        slope: Tensor,
        loss: Tensor,
        kl: Tensor | None,
    ) -> None:
        """Keep one micro-batch; all (B, T) but `loss`, its scalar share of the step's loss."""
        self._batches.append((batch, logps.detach(), entropy, slope, kl))
        self._loss.append(loss.detach())

    def loss(self) -> float:
        """The step's loss: Σ over micro-batches, already divided by the step's token count."""
        return float(torch.stack(self._loss).sum()) if self._loss else 0.0

    def traces(self) -> list[TokenTrace]:
        """Per-token measurements on the CPU, one entry a trained response."""
        found = []
        for batch, logps, entropy, slope, kl in self._batches:
            probs = logps.exp().cpu().tolist()
            entropies, slopes = entropy.cpu().tolist(), slope.cpu().tolist()
            kls = kl.cpu().tolist() if kl is not None else None
            for row, sequence in enumerate(batch.sequences):
                n = len(sequence.response_ids)
                scale = -sequence.advantage or -1.0
                found.append(
                    TokenTrace(
                        sequence=sequence,
                        probs=probs[row][:n],
                        weights=[s / scale for s in slopes[row][:n]],
                        entropy=entropies[row][:n],
                        kl=kls[row][:n] if kls else None,
                    )
                )
        return found


def token_metrics(traces: Sequence[TokenTrace], tau: Callable[[Source], float]) -> dict[str, float]:
    """Entropy and KL of self responses, rectified fraction (mean of 1[π < τ]) by source and by sign
    of advantage.

    Over trained tokens: responses with advantage 0 are not run through the model. Keys are absent
    where nothing was measured. Nats. Entropy is that of `evaluation.accuracy.self_entropy`, on the
    prompts of the step instead of held-out ones.
    """
    own = [t for t in traces if t.sequence.source == "self"]
    out: dict[str, float] = {}
    _put(out, "entropy_nats_per_token", (e for t in own for e in t.entropy))
    measured = [t.kl for t in own if t.kl is not None]
    _put(out, "kl_nats_per_token", (k for kl in measured for k in kl))
    _put(out, "kl_nats_per_sequence", (sum(kl) for kl in measured))
    slices = {"": traces}
    slices |= {f"_{s}": [t for t in traces if t.sequence.source == s] for s in SOURCES}
    slices["_positive"] = [t for t in traces if t.sequence.advantage > 0]
    slices["_negative"] = [t for t in traces if t.sequence.advantage < 0]
    for name, chosen in slices.items():
        below = (float(p < tau(t.sequence.source)) for t in chosen for p in t.probs)
        _put(out, f"rectified_fraction{name}", below)
    return out


def group_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Rewards by source, spread of advantages, lengths and verdicts of one rollout."""
    out: dict[str, float] = {}
    pairs = [(r, s) for g in groups for r, s in zip(g.responses, g.scores, strict=False)]
    for source in SOURCES:
        _put(out, f"reward_{source}", (s.value for r, s in pairs if r.source == source))
    spreads = [statistics.stdev(g.advantages) for g in groups if len(g.advantages) > 1]
    _put(out, "advantage_spread", spreads)
    own = [r for g in groups for r in g.responses if r.source == "self"]
    if own:
        out["truncated"] = sum(not r.finished for r in own)
        _put(out, "self_response_tokens", (len(r.token_ids or ()) for r in own))
    if pairs:
        out["unparsed"] = sum(s.verdict == "unparsed" for _, s in pairs)
        out["timeouts"] = sum(s.verdict == "timeout" for _, s in pairs)
        out["reward_errors"] = sum(s.verdict == "error" for _, s in pairs)
    return out


def demonstration_figures(sequences: Sequence[TokenSequence]) -> dict[str, int]:
    """Length of the longest demonstration of a step; the key is absent if there is none."""
    lengths = [len(s.response_ids) for s in sequences if s.source != "self"]
    return {"longest_demonstration_tokens": max(lengths)} if lengths else {}


def rollout_metrics(built: BuiltGroups) -> dict[str, float]:
    """Counts of the groups of one step, and the seconds their rollout took."""
    return {
        "groups": len(built.groups),
        "degenerate_groups": built.counts.degenerate,
        "resampled_groups": built.counts.resampled,
        "imitated_groups": built.counts.imitated,
        "rejected_experts": built.counts.rejected_experts,
        "demonstrations_too_long": built.counts.too_long,
        "rollout_seconds": built.rollout_seconds,
        "scoring_seconds": built.scoring_seconds,
    }


def group_records(
    groups: Sequence[Group], traces: Sequence[TokenTrace], tokenizer: Any
) -> list[dict[str, Any]]:
    """Groups as plain data for the run directory; token lists only where a response was trained."""
    by_key = {t.sequence.key: t for t in traces}
    records = []
    for i, group in enumerate(groups):
        responses = []
        for j, response in enumerate(group.responses):
            entry: dict[str, Any] = {
                "source": response.source,
                "text": response.text,
                "finished": response.finished,
                "advantage": round(group.advantages[j], 6),
            }
            if group.scores:
                score = group.scores[j]
                entry |= {
                    "reward": score.value,
                    "verdict": score.verdict,
                    "parts": dict(score.parts),
                }
            if trace := by_key.get((i, j)):
                ids = [[token] for token in trace.sequence.response_ids]
                entry |= {
                    "tokens": tokenizer.batch_decode(ids),
                    "probs": [round(p, 5) for p in trace.probs],
                    "weights": [round(w, 5) for w in trace.weights],
                }
            responses.append(entry)
        records.append(
            {
                "row": group.example.row,
                "prompt": [{"role": m.role, "content": m.content} for m in group.example.prompt],
                "answer": group.example.answer,
                "responses": responses,
            }
        )
    return records


def _put(out: dict[str, float], name: str, values: Iterable[float]) -> None:
    listed = list(values)
    if listed:
        out[name] = statistics.fmean(listed)
