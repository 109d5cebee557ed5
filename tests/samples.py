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
# The shortest run that learns something; nothing is measured in it.
SHORTEST = (
    "train.prompts_per_step=1",
    "train.checkpoint_every=1",
    "group.teacher=0",
    "group.self=2",
    "group.max_new_tokens=80",
    "data.eval_path=null",
    "data.retention_path=null",
)
GSM8K = Path(__file__).parents[2] / "shared" / "data" / "gsm8k"
