"""A trainer on the embedded model, and the gradient of its first step."""

from pathlib import Path

import torch
from torch import Tensor

from gft_lite.config import LoraConfig, ModelConfig, RunConfig
from gft_lite.models import Policy, load_policy
from gft_lite.preflight.inputs import validate_inputs
from gft_lite.runs import RunDir
from gft_lite.training.trainer import Trainer


def make_trainer(config: RunConfig, path: Path, policy: Policy | None = None) -> Trainer:
    policy = policy or load_policy(ModelConfig(name="tiny"), LoraConfig(), seed=0)
    prepared = validate_inputs(config)
    run = RunDir.create(path, config.to_yaml())
    scorer = prepared.scorer if config.method.rewarded else None
    return Trainer(config, policy, prepared.examples, scorer, run)


def gradient_of_a_step(
    config: RunConfig, path: Path, policy: Policy | None = None
) -> tuple[Tensor, Trainer]:
    """The gradient of the first step, caught before the optimizer uses it."""
    trainer = make_trainer(config, path, policy)
    torch.manual_seed(5)
    with torch.no_grad():
        for p in trainer.parameters:
            p.add_(torch.randn_like(p) * 0.02)
    caught: list[Tensor] = []
    trainer.optimizer.step = lambda: caught.append(
        torch.cat([p.grad.flatten() for p in trainer.parameters if p.grad is not None])
    )
    trainer.accelerator.clip_grad_norm_ = lambda parameters, norm: torch.tensor(1.0)
    trainer.train_step()
    return caught[0], trainer
