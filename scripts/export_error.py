"""Measure how far exported weights are from the live model: the table of docs/evaluate.md.

    python scripts/export_error.py [RUN]

With a run, its adapter on the embedded model is measured, on 50 of its held-out prompts. Without
one, an adapter of rank 16 with random weights of size 0.03, on the gate's six fixed prompts.
Differences are of one token's log-prob, in nats, over the greedy answers; on a CPU the gate
computes in float32.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from gft_lite.config import LoraConfig, ModelConfig
from gft_lite.export import export
from gft_lite.models import load_policy

TINY = ModelConfig(name="tiny")
SIZE = 0.03


def main() -> None:
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    print("| written as | largest | mean | on |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        adapter = given or random_adapter(work / "adapter")
        four_bit = TINY.model_copy(update={"load_in_4bit": True})
        for kind, dtype, model in (
            ("adapter", "float32", TINY),
            ("merged", "float32", TINY),
            ("merged", "float16", TINY),
            ("merged", "bfloat16", TINY),
            ("merged", "float32", four_bit),
        ):
            out = work / f"{kind}-{dtype}-{model.load_in_4bit}"
            done = export(adapter, kind, out, model=model, dtype=dtype)  # type: ignore[arg-type]
            for name, gate in done.gates.items():
                cells = (
                    f"{name}, {dtype}",
                    f"{gate.max_logp_difference:.2g}",
                    f"{gate.mean_logp_difference:.2g}",
                    f"{gate.prompts} prompts, {gate.tokens} tokens",
                )
                print(f"| {' | '.join(cells)} |")


def random_adapter(folder: Path) -> Path:
    """An adapter that matters, though it was not trained."""
    policy = load_policy(TINY, LoraConfig(), seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * SIZE)
    policy.save_adapter(folder)
    return folder


if __name__ == "__main__":
    main()
