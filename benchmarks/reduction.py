"""How far the gradient of averaged micro-batch means is from that of one mean over the step.

    python benchmarks/reduction.py

The first rollout of the preset `tiny-cpu` with 16 prompts, each response differentiated alone, so
that any way of batching is a sum. gft-lite divides by the token count of the whole step; the
public code of GFT averages the token means of micro-batches (gft_lite/methods/gft.py, deviation 4).
"""

from __future__ import annotations

import random

import torch
from torch import Tensor

from gft_lite.config import load_config
from gft_lite.memory.adaptive_batch import AdaptiveBatchSize
from gft_lite.methods.gft import gft_loss
from gft_lite.models import Policy, load_policy
from gft_lite.models.batching import collate
from gft_lite.preflight.filters import load_rows
from gft_lite.rewards import build_scorer
from gft_lite.training.rollout import Rollout

PROMPTS, SHUFFLES = 16, 20
MICRO_BATCHES = (1, 4, 8, 16)  # responses; the released script of GFT has 16 a GPU


def main() -> None:
    config = load_config(preset="tiny-cpu", overrides=[f"train.prompts_per_step={PROMPTS}"])
    policy = load_policy(config.model, config.lora)
    examples = load_rows(str(config.data.path), config.data).examples
    batch_size = AdaptiveBatchSize(
        config.train.rollout_batch, config.train.micro_batch_tokens, lambda _: None
    )
    with build_scorer(config.reward) as scorer:
        sequences = (
            Rollout(config, policy, examples, scorer, False, batch_size).draw(0)[0].sequences
        )
    gradients, tokens = [], []
    for sequence in sequences:
        batch = collate([sequence], policy.tokenizer.pad_token_id)
        losses = gft_loss(policy.token_logps(batch).logps, batch.advantages, tau=0.1)
        gradients.append(gradient_of((losses * batch.mask).sum(), policy))
        tokens.append(len(sequence.response_ids))
    by_response, counts = torch.stack(gradients), torch.tensor(tokens, dtype=torch.float32)
    whole = by_response.sum(0) / counts.sum()
    print(f"{len(tokens)} responses of {min(tokens)} to {max(tokens)} tokens")
    for size in MICRO_BATCHES:
        distances = []
        for seed in range(SHUFFLES):
            order = random.Random(seed).sample(range(len(tokens)), len(tokens))
            parts = [order[i : i + size] for i in range(0, len(order), size)]
            means = torch.stack([by_response[p].sum(0) / counts[p].sum() for p in parts])
            distances.append(float((means.mean(0) - whole).norm() / whole.norm()))
        print(
            f"micro-batches of {size:2}: {100 * min(distances):.0f} to {100 * max(distances):.0f} %"
        )


def gradient_of(loss: Tensor, policy: Policy) -> Tensor:
    """Gradient of a scalar, all trained parameters in one vector."""
    parameters = list(policy.parameters())
    parts = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


if __name__ == "__main__":
    main()
