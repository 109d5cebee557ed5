"""The program that continues an exported adapter with TRL's GRPOTrainer (docs/downstream-rl.md)."""

from __future__ import annotations

import pprint
from string import Template

from gft_lite.config import EMBEDDED_MODEL
from gft_lite.ui.compare.adapter_registry import Adapter

PROGRAM = Template('''\
# Continue the adapter with TRL: pip install gft-lite "trl>=1.15"
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from gft_lite import load_examples
from gft_lite.assets import resolve
from gft_lite.rewards import Target, build_scorer

FOLDER = $folder  # the unpacked zip
BASE = $base
DATA = $data  # questions with answers
REWARD = $reward
STEPS = 50

examples = load_examples(resolve(DATA)).examples
rows = Dataset.from_list(
    [
        {
            "prompt": [{"role": m.role, "content": m.content} for m in e.prompt],
            "answer": e.answer,
        }
        for e in examples
    ]
)
scorer = build_scorer(REWARD)


def reward(completions, answer, **_):
    """The reward that the run was trained with, in TRL's shape."""
    texts = [turns[-1]["content"] for turns in completions]
    pairs = zip(texts, answer, strict=True)
    return [mark.value for mark in scorer.score([(t, Target(answer=a)) for t, a in pairs])]


# is_trainable: else nothing trains. No peft_config: TRL then keeps a frozen copy of this adapter
# as the reference, and beta pulls towards it.
gpu = torch.cuda.is_available()
dtype = torch.bfloat16 if gpu else torch.float32
base = AutoModelForCausalLM.from_pretrained(BASE, revision=$revision, dtype=dtype)
trainer = GRPOTrainer(
    model=PeftModel.from_pretrained(base, FOLDER, is_trainable=True),
    reward_funcs=reward,
    args=GRPOConfig(
        output_dir="continued",
        beta=0.04,
        max_steps=STEPS,
        learning_rate=1e-5,
        per_device_train_batch_size=8,
        num_generations=8,
        max_completion_length=$longest,
        bf16=gpu,
        use_cpu=not gpu,
        save_strategy="no",
        report_to="none",
    ),
    train_dataset=rows,
    processing_class=AutoTokenizer.from_pretrained(FOLDER),
)
trainer.train()
trainer.model.save_pretrained("continued", selected_adapters=["default"])
scorer.close()
''')
LONGEST = 512


def continue_with_trl(adapter: Adapter, folder: str) -> str:
    """The program for an adapter whose export unpacks to `folder`."""
    config = adapter.config
    embedded = adapter.model.name == EMBEDDED_MODEL
    return PROGRAM.substitute(
        folder=repr(folder),
        base='FOLDER + "/base"' if embedded else repr(adapter.model.name),
        revision=repr(None if embedded else adapter.model.revision),
        data=repr((config.data.path if config else None) or "train.jsonl"),
        reward=pprint.pformat(config.reward if config else "math", width=88),
        longest=config.group.max_new_tokens if config else LONGEST,
    )
