"""Metrics of a training step: measurements per token → the fields of a step event, and the groups
that are stored. `runs/events.py` documents every metric. Tensors are collected during the step and
moved to the CPU once, in `StepObserver.traces`."""

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

Metrics = dict[str, float]
"""Some fields of `StepEvent`; a metric that was not measured is absent."""


@dataclass(frozen=True)
class BatchMeasurements:
    """What one micro-batch measured; all tensors (B, T) except the loss.

    logps: log-probabilities of the response tokens, in nats.
    entropy: entropy of the policy, in nats.
    slope: ∂(loss of the token)/∂log π, not yet divided by the token count of the step.
    loss: scalar, the share of the micro-batch in the loss of the step.
    kl: KL divergence to the reference policy, in nats; None if it was not measured.
    """

    batch: TokenBatch
    logps: Tensor
    entropy: Tensor
    slope: Tensor
    loss: Tensor
    kl: Tensor | None


@dataclass(frozen=True)
class TokenTrace:
    """One trained response, per token.

    probs: probability under the policy, in [0, 1].
    weights: −∂loss/∂log π ÷ advantage.
    entropy, kl: nats.
    """

    sequence: TokenSequence
    probs: list[float]
    weights: list[float]
    entropy: list[float]
    kl: list[float] | None


@dataclass
class StepObserver:
    """Collects the measurements of all micro-batches of one optimizer step."""

    _batches: list[BatchMeasurements] = field(default_factory=list)

    def add(self, measurements: BatchMeasurements) -> None:
        """Keep the measurements of one micro-batch."""
        self._batches.append(measurements)

    def loss(self) -> float:
        """The loss of the step: the shares are already divided by the token count of the step."""
        return float(torch.stack([m.loss for m in self._batches]).sum()) if self._batches else 0.0

    def traces(self) -> list[TokenTrace]:
        """Measurements per token on the CPU, one entry per trained response."""
        traces = []
        for measured in self._batches:
            # (B, T) tensors → lists of lists: one transfer per tensor
            probs = measured.logps.exp().cpu().tolist()
            entropies = measured.entropy.cpu().tolist()
            slopes = measured.slope.cpu().tolist()
            kls = measured.kl.cpu().tolist() if measured.kl is not None else None
            for row, sequence in enumerate(measured.batch.sequences):
                n = len(sequence.response_ids)  # the rest of the row is padding
                # dividing by the advantage leaves the method's own weight of the token
                scale = -sequence.advantage or -1.0
                traces.append(
                    TokenTrace(
                        sequence=sequence,
                        probs=probs[row][:n],
                        weights=[s / scale for s in slopes[row][:n]],
                        entropy=entropies[row][:n],
                        kl=kls[row][:n] if kls else None,
                    )
                )
        return traces


def token_metrics(traces: Sequence[TokenTrace], tau: Callable[[Source], float]) -> Metrics:
    """Entropy and KL of self responses; rectified fraction, the mean of 1[π < τ], by source and by
    sign of the advantage.

    Args:
        traces: the trained responses; those with advantage 0 are usually not among them.
        tau: source → threshold of the method.
    """
    metrics: Metrics = {}
    self_traces = [t for t in traces if t.sequence.source == "self"]
    _put_mean(metrics, "entropy_nats_per_token", (e for t in self_traces for e in t.entropy))
    kls = [t.kl for t in self_traces if t.kl is not None]
    _put_mean(metrics, "kl_nats_per_token", (k for kl in kls for k in kl))
    _put_mean(metrics, "kl_nats_per_sequence", (sum(kl) for kl in kls))
    # A token is rectified if its probability is below τ.
    slices = {"": traces}
    slices |= {f"_{s}": [t for t in traces if t.sequence.source == s] for s in SOURCES}
    slices["_positive"] = [t for t in traces if t.sequence.advantage > 0]
    slices["_negative"] = [t for t in traces if t.sequence.advantage < 0]
    for suffix, part in slices.items():
        below_tau = (float(p < tau(t.sequence.source)) for t in part for p in t.probs)
        _put_mean(metrics, f"rectified_fraction{suffix}", below_tau)
    return metrics


def group_metrics(groups: Sequence[Group]) -> Metrics:
    """Rewards by source, spread of advantages, lengths and verdicts of the groups of one step."""
    metrics: Metrics = {}
    scored = [(r, s) for g in groups for r, s in zip(g.responses, g.scores, strict=False)]
    for source in SOURCES:
        _put_mean(metrics, f"reward_{source}", (s.value for r, s in scored if r.source == source))
    spreads = [statistics.stdev(g.advantages) for g in groups if len(g.advantages) > 1]
    _put_mean(metrics, "advantage_spread", spreads)
    self_responses = [r for g in groups for r in g.responses if r.source == "self"]
    if self_responses:
        metrics["truncated"] = sum(not r.finished for r in self_responses)
        lengths = (len(r.token_ids or ()) for r in self_responses)
        _put_mean(metrics, "self_response_tokens", lengths)
    if scored:
        metrics["unparsed"] = sum(s.verdict == "unparsed" for _, s in scored)
        metrics["timeouts"] = sum(s.verdict == "timeout" for _, s in scored)
        metrics["reward_errors"] = sum(s.verdict == "error" for _, s in scored)
    return metrics


def demonstration_metrics(sequences: Sequence[TokenSequence]) -> Metrics:
    """Length of the longest demonstration of a step."""
    lengths = [len(s.response_ids) for s in sequences if s.source != "self"]
    return {"longest_demonstration_tokens": max(lengths)} if lengths else {}


def rollout_metrics(built: BuiltGroups) -> Metrics:
    """Counts and durations of one rollout."""
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
    """Groups as plain data for the run directory; a response that was trained has its tokens."""
    trace_of = {t.sequence.key: t for t in traces}
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
            if trace := trace_of.get((i, j)):
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


def _put_mean(metrics: Metrics, name: str, values: Iterable[float]) -> None:
    listed = list(values)
    if listed:
        metrics[name] = statistics.fmean(listed)
