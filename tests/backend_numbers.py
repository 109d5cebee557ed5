"""`python tests/backend_numbers.py BACKEND OUT`: numbers of one backend, for test_unsloth.py.

A process of its own, since Unsloth patches transformers and PEFT in the one it is imported into.
"""

import sys
from pathlib import Path

import torch
from policy_probes import ASK, batch_of, gradients, held, shake

from gft_lite.config import LoraConfig, ModelConfig
from gft_lite.models import Sampling, load_policy


def numbers(backend: str, *, four_bit: bool) -> dict[str, torch.Tensor | list[torch.Tensor]]:
    """Log-probs, gradients and answers of the embedded model with an adapter that matters."""
    model = held(ModelConfig(name="tiny"), backend=backend, load_in_4bit=four_bit)
    policy = load_policy(model, LoraConfig(), seed=5)
    fresh = [p.detach().clone() for p in policy.parameters()]
    batch = batch_of(policy)
    with torch.no_grad():
        base = load_policy(model, None).token_logps(batch).logps
    with policy.reference():
        reference_before = policy.token_logps(batch).logps
    shake(policy)
    gradient_before = gradients(policy, batch)
    policy.sample_mode()
    prompts = [policy.chat.prompt_ids(ASK)] * 3
    greedy = policy.generate(prompts, Sampling(24, temperature=0.0), 3)
    torch.manual_seed(0)
    drawn = policy.generate(prompts, Sampling(24), 2)
    gradient = gradients(policy, batch)
    logps = policy.token_logps(batch).logps.detach()
    with policy.reference():
        reference = policy.token_logps(batch).logps
    return {
        "fresh adapter": [p.cpu() for p in fresh],
        "base": base.cpu(),
        "reference before": reference_before.cpu(),
        "reference": reference.cpu(),
        "log-probs": logps.cpu(),
        "gradient before": [g.cpu() for g in gradient_before],
        "gradient": [g.cpu() for g in gradient],
        "answers": [torch.tensor(g.token_ids) for g in (*greedy, *drawn)],
    }


if __name__ == "__main__":
    found = {kind: numbers(sys.argv[1], four_bit=kind == "nf4") for kind in ("dense", "nf4")}
    torch.save(found, Path(sys.argv[2]))
