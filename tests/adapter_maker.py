"""Adapters for tests: on the embedded model, not trained but pushed off zero."""

import sys
from pathlib import Path

import pytest
import torch

from gft_lite import cli
from gft_lite.config import LoraConfig, ModelConfig
from gft_lite.models import Policy, load_policy


def pushed(seed: int = 1, size: float = 0.03, *, four_bit: bool = False) -> Policy:
    """The embedded model with an adapter that matters: PEFT starts with B = 0."""
    policy = load_policy(ModelConfig(name="tiny", load_in_4bit=four_bit), LoraConfig(), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in policy.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * size)
    return policy


def make_adapter(folder: Path, seed: int = 1, size: float = 0.03) -> Path:
    """Write such an adapter, in PEFT's layout, without a record."""
    pushed(seed, size).save_adapter(folder)
    return folder


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of a command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["gft-lite", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)
