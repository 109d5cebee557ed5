"""Settings of a run of a few steps, and files of real problems that may be beside the project."""

from pathlib import Path

SMALL = (
    "train.steps=4",
    "train.prompts_per_step=3",
    "train.checkpoint_every=2",
    "group.teacher=1",
    "group.self=3",
    "group.max_new_tokens=80",
    "eval.examples=4",
    "eval.k=2",
)
GSM8K = Path(__file__).parents[2] / "shared" / "data" / "gsm8k"
