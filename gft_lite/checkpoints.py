"""Checkpoints: adapter, optimizer and loss scaler of one step, whole or not there at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from gft_lite.models import Policy
from gft_lite.runs import step_of


def save_checkpoint(
    folder: Path,
    policy: Policy,
    optimizer: Any,
    accelerator: Accelerator,
    step: int,
    sizes: Mapping[str, int],
) -> None:
    """Write a checkpoint aside and rename it, so that a killed run never leaves half of one."""
    aside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    policy.save_adapter(aside / "adapter")
    scaler = accelerator.scaler
    torch.save(
        {
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
        },
        aside / "optimizer.pt",
    )
    state = json.dumps({"step": step, "sizes": dict(sizes)})
    (aside / "state.json").write_text(state, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def load_checkpoint(folder: Path, policy: Policy, optimizer: Any, accelerator: Accelerator) -> int:
    """Put a checkpoint's state back; returns its step.

    Raises:
        ModelError: its adapter does not fit the policy.
    """
    policy.load_adapter_weights(folder / "adapter")
    state = torch.load(folder / "optimizer.pt", weights_only=True, map_location="cpu")
    optimizer.load_state_dict(state["optimizer"])
    if accelerator.scaler is not None and state["scaler"]:
        accelerator.scaler.load_state_dict(state["scaler"])
    return step_of(folder)


def sizes_of(folder: Path) -> dict[str, int]:
    """The batch sizes a checkpoint's run had found to fit."""
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return dict(state.get("sizes", {}))
