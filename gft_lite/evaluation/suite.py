"""What a run reports of its policy: accuracy on target and old skill, drift from the base."""

from __future__ import annotations

from typing import Any

from gft_lite.config import RunConfig
from gft_lite.preflight.inputs import RunInputs

DRIFT_PROMPTS = 32  # of the held-out file, and as many of the old skill's


def measure(
    policy: Any,
    scorer: Any,
    config: RunConfig,
    prepared: RunInputs,
    *,
    quick: bool = False,
) -> dict[str, Any]:
    """Held-out accuracy, entropy of self responses, what is kept of the old skill where the run
    names one, and KL drift.

    Entropy is measured on the first `eval.quick_examples` prompts, with the sampling of training,
    so that its values during a run and at its end can be compared.

    Args:
        quick: greedy answers to `eval.quick_examples` only, and no drift, for the curves during
            training.
    """
    from gft_lite.evaluation.accuracy import base_answers, drift, evaluate, self_entropy
    from gft_lite.memory.adaptive_batch import AdaptiveBatchSize
    from gft_lite.models import Sampling

    common: dict[str, Any] = {
        "max_new_tokens": config.group.max_new_tokens,
        "temperature": config.eval.temperature,
        "batch": config.eval.batch,
        "seed": config.train.seed,
    }
    first = config.eval.quick_examples if quick else None
    k = 0 if quick else config.eval.k
    target = evaluate(policy, prepared.eval_examples[:first], scorer, k=k, **common)
    group = config.group
    out: dict[str, Any] = {
        "target": target.to_dict(),
        "entropy_nats_per_token": self_entropy(
            policy,
            prepared.eval_examples[: config.eval.quick_examples],
            Sampling(group.max_new_tokens, group.temperature, group.top_p, group.top_k),
            seed=config.train.seed,
            fitting=AdaptiveBatchSize(config.eval.batch),
            max_tokens=config.train.micro_batch_tokens,
        ),
    }
    if prepared.retention_examples:
        kept = evaluate(policy, prepared.retention_examples[:first], scorer, **common)
        out["old_skill"] = kept.to_dict()
    if not quick:
        asked = [
            *prepared.eval_examples[:DRIFT_PROMPTS],
            *prepared.retention_examples[:DRIFT_PROMPTS],
        ]
        answers = base_answers(
            policy, asked, max_new_tokens=config.group.max_new_tokens, batch=config.eval.batch
        )
        moved = drift(policy, answers, max_tokens=config.train.micro_batch_tokens)
        out["drift"] = {
            "kl_nats_per_token": moved.nats_per_token,
            "kl_nats_per_sequence": moved.nats_per_sequence,
            "sequences": moved.sequences,
        }
    return out
