"""Continue an adapter that gft-lite exported with TRL's GRPOTrainer.

    gft-lite export runs/gft-1 --to adapter --out handed-on
    pip install "trl>=1.15"
    python examples/continue_with_trl.py handed-on --data embedded:target_train --out continued

The reference policy of the KL term, checked against the source of TRL 1.16.0:

gft   The policy that GFT made. TRL does this for a PeftModel whose adapter is called "default": it
      copies it to a frozen adapter "ref" when the trainer is made (beta must not be 0 then).
base  The model without any adapter. TRL falls back to it where no adapter is called "ref", so that
      copy is deleted again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from peft import PeftConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from gft_lite import load_examples
from gft_lite.assets import resolve
from gft_lite.rewards import Scorer, Target, build_scorer


def load_adapter(folder: Path) -> PeftModel:
    """The base that the export names, with its adapter, ready to train."""
    config = PeftConfig.from_pretrained(str(folder))
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    base = AutoModelForCausalLM.from_pretrained(
        config.base_model_name_or_path, revision=config.revision, dtype=dtype
    )
    return PeftModel.from_pretrained(base, str(folder), is_trainable=True)


def load_rows(path: str, limit: int | None) -> Dataset:
    """Rows as TRL wants them: a conversation and the columns that the reward asks for."""
    examples = load_examples(resolve(path), limit=limit).examples
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": m.role, "content": m.content} for m in e.prompt],
                "answer": e.answer,
            }
            for e in examples
        ]
    )


def as_trl_reward(scorer: Scorer) -> Callable[..., list[float]]:
    """The reward that GFT trained with, in TRL's shape."""

    def reward(completions: list[Any], answer: list[str], **_: Any) -> list[float]:
        texts = [turns[-1]["content"] for turns in completions]
        marks = scorer.score(
            [(text, Target(answer=a)) for text, a in zip(texts, answer, strict=True)]
        )
        return [mark.value for mark in marks]

    return reward


def make_trainer(
    adapter: Path,
    rows: Dataset,
    scorer: Scorer,
    *,
    reference: Literal["gft", "base"] = "gft",
    beta: float = 0.04,
    **settings: Any,
) -> GRPOTrainer:
    """A GRPOTrainer that continues the adapter; `settings` go to GRPOConfig."""
    on_gpu = torch.cuda.is_available()
    trainer = GRPOTrainer(
        model=load_adapter(adapter),
        reward_funcs=as_trl_reward(scorer),
        args=GRPOConfig(beta=beta, bf16=on_gpu, use_cpu=not on_gpu, report_to="none", **settings),
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(str(adapter)),
    )
    if beta and reference == "base":
        trainer.model.delete_adapter("ref")
    return trainer


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("adapter", type=Path, help="folder that `gft-lite export` wrote")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--reward", default="math")
    parser.add_argument("--reference", choices=("gft", "base"), default="gft")
    parser.add_argument("--beta", type=float, default=0.04, help="weight of the KL; 0: none")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--limit", type=int)
    asked = parser.parse_args()
    with build_scorer(asked.reward) as scorer:
        trainer = make_trainer(
            asked.adapter,
            load_rows(asked.data, asked.limit),
            scorer,
            reference=asked.reference,
            beta=asked.beta,
            output_dir=str(asked.out),
            max_steps=asked.steps,
            learning_rate=1e-5,
            per_device_train_batch_size=8,
            num_generations=8,
            max_completion_length=256,
            save_strategy="no",
            logging_steps=1,
        )
        trainer.train()
    # only the trained adapter; the frozen copy stays out
    trainer.model.save_pretrained(str(asked.out), selected_adapters=["default"])


if __name__ == "__main__":
    main()
