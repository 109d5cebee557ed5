"""`python tests/backend_numbers.py BACKEND OUT`: numbers of one backend, for test_unsloth.py.

A process of its own, since Unsloth patches transformers and PEFT in the one it is imported into.
"""

import sys
from pathlib import Path

import torch
from test_models import ASK, batch_of, gradients, held, shake

from gft_lite.config import LoraConfig, ModelConfig
from gft_lite.models import Sampling, load_policy


def numbers(backend: str, *, four_bit: bool) -> dict[str, torch.Tensor | list[torch.Tensor]]:
    """Log-probs, gradients and answers of the embedded model with an adapter that matters."""
    model = held(ModelConfig(name="tiny"), backend=backend, load_in_4bit=four_bit)
    policy = load_policy(model, LoraConfig(), seed=5)
    fresh = [p.detach().clone() for p in policy.parameters()]
    shake(policy)
    batch = batch_of(policy)
    logps = policy.token_logps(batch).logps.detach()
    with policy.reference():
        reference = policy.token_logps(batch).logps
    policy.sample_mode()
    prompts = [policy.chat.prompt_ids(ASK)] * 3
    greedy = policy.generate(prompts, Sampling(24, temperature=0.0), 3)
    torch.manual_seed(0)
    drawn = policy.generate(prompts, Sampling(24), 2)
    return {
        "fresh adapter": fresh,
        "log-probs": logps,
        "reference": reference,
        "gradient": gradients(policy, batch),
        "answers": [torch.tensor(g.token_ids) for g in (*greedy, *drawn)],
    }


if __name__ == "__main__":
    found = {kind: numbers(sys.argv[1], four_bit=kind == "nf4") for kind in ("dense", "nf4")}
    torch.save(found, Path(sys.argv[2]))
