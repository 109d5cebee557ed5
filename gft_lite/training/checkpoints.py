"""Checkpoints: adapter, optimizer and loss scaler of one step, written whole or not at all.

The record of a checkpoint, `state.json`, holds the step, the counters of the trainer, the SHA-256
of every other file, and that of the record itself. `newest_intact` skips a checkpoint that differs
from its record. A checkpoint of an older version has no hashes. It is checked by reading it, which
detects a file that is missing, truncated or unreadable, but not a changed bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from gft_lite.models import Policy
from gft_lite.models.validation import check_weights
from gft_lite.runs import RunDir, step_of
from gft_lite.runs.atomic import file_sha256
from gft_lite.runs.events import CheckpointEvent
from gft_lite.types import ModelError, RunError

RECORD = "state.json"
OPTIMIZER = "optimizer.pt"


@dataclass(frozen=True)
class Progress:
    """Progress of a run besides its weights and its optimizer.

    step: optimizer steps taken.
    sizes: batch sizes that fit into memory.
    trained_tokens: response tokens that were run through the model; None in an older checkpoint.
    bad_steps: steps in a row whose gradient was not finite.
    """

    step: int
    sizes: Mapping[str, int] = field(default_factory=dict)
    trained_tokens: int | None = None
    bad_steps: int = 0


@dataclass(frozen=True)
class Skipped:
    """A checkpoint that cannot be used, and why."""

    path: Path
    reason: str

    @property
    def message(self) -> str:
        """One sentence."""
        return f"checkpoint {self.path.name} is not used: {self.reason}"


def write_checkpoint(
    folder: Path, policy: Policy, optimizer: Any, accelerator: Accelerator, progress: Progress
) -> None:
    """Write a checkpoint into an empty folder; the caller renames it (`runs.atomic.new_folder`)."""
    policy.save_adapter(folder / "adapter")
    scaler = accelerator.scaler
    torch.save(
        {
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
        },
        folder / OPTIMIZER,
    )
    # The hashes come last, over everything else in the folder.
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
    record = {"format": 2, **asdict(progress), "files": hashes}
    text = json.dumps({**record, "sha256": _digest(record)}, indent=1)
    (folder / RECORD).write_text(text, encoding="utf-8")


def load_checkpoint(
    folder: Path, policy: Policy, optimizer: Any, accelerator: Accelerator
) -> Progress:
    """Restore the state of a checkpoint.

    Raises:
        ModelError: its adapter does not fit the policy.
        RunError: its optimizer state does not fit the optimizer.
    """
    policy.load_adapter_weights(folder / "adapter")
    try:
        state = torch.load(folder / OPTIMIZER, weights_only=True, map_location="cpu")
        optimizer.load_state_dict(state["optimizer"])
        if accelerator.scaler is not None and state["scaler"]:
            accelerator.scaler.load_state_dict(state["scaler"])
    except (RuntimeError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise RunError(
            f"{folder / OPTIMIZER} does not fit this run ({_first_line(error)}); undo changes to "
            "train.optimizer and lora, or start a new run from this checkpoint's adapter with "
            "model.adapter"
        ) from error
    return _progress(_record(folder))


def newest_intact(run: RunDir) -> tuple[Path | None, list[Skipped]]:
    """The newest checkpoint that can be used.

    Returns:
        Its folder, None if the run has no checkpoint; and the newer ones that cannot be used.

    Raises:
        RunError: there are checkpoints, and none can be used.
    """
    if run.checkpoints_dir.exists() and not run.checkpoints_dir.is_dir():
        raise RunError(
            f"{run.checkpoints_dir} is not a folder; restore the run's checkpoints, or delete it "
            "to begin again at step 0"
        )
    folders = run.checkpoints()
    skipped = _missing(run, folders)
    for folder in reversed(folders):
        reason = fault_of(folder)
        if reason is None:
            return folder, skipped
        skipped.append(Skipped(folder, reason))
    if folders:
        listed = "; ".join(f"{each.path.name}: {each.reason}" for each in skipped)
        raise RunError(
            f"{run.path}: no checkpoint can be used ({listed}); restore one from a copy, or delete "
            f"{run.checkpoints_dir} to begin again at step 0"
        )
    return None, skipped


def set_aside(skipped: Sequence[Skipped]) -> None:
    """Rename damaged checkpoints, so that they are neither used again nor counted."""
    for path in (each.path for each in skipped):
        if os.path.lexists(path):
            target = path.with_name(f"damaged-{path.name}")
            if target.exists():  # damaged twice at the same step
                target = path.with_name(f"damaged-{path.name}-{path.lstat().st_ino}")
            path.rename(target)


def fault_of(folder: Path) -> str | None:
    """Why a checkpoint cannot be used, in a few words; None if it is intact."""
    try:
        if not folder.is_dir():
            return "it is not a folder" if os.path.lexists(folder) else "it is missing"
        record = _record(folder)
        if _progress(record).step != step_of(folder):
            return f"its {RECORD} is that of step {_progress(record).step}"
        if "files" in record:
            return _changed_file(folder, record)
        return _unreadable_file(folder)
    except _FaultError as error:
        return str(error)
    except OSError as error:
        return f"{Path(error.filename or folder).name} cannot be read ({error.strerror})"


class _FaultError(Exception):
    """Why a checkpoint cannot be used, in a few words."""


def _record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _FaultError(f"it has no {RECORD}") from None
    except ValueError:
        raise _FaultError(f"{RECORD} is not valid JSON") from None
    if not isinstance(record, dict) or not isinstance(record.get("step"), int):
        raise _FaultError(f"{RECORD} is not the record of a checkpoint")
    # A record of an older version has none of these keys; any of them demands the checksum.
    if "format" in record or "files" in record or "sha256" in record:
        digest = record.pop("sha256", None)
        if digest != _digest(record) or not isinstance(record.get("files"), dict):
            raise _FaultError(f"{RECORD} is damaged (its checksum differs)")
    return record


def _progress(record: Mapping[str, Any]) -> Progress:
    return Progress(
        step=record["step"],
        sizes=dict(record.get("sizes") or {}),
        trained_tokens=record.get("trained_tokens"),
        bad_steps=record.get("bad_steps", 0),
    )


def _changed_file(folder: Path, record: Mapping[str, Any]) -> str | None:
    for name, sha256 in record["files"].items():
        try:
            if file_sha256(folder / name) != sha256:
                return f"{name} is damaged (its checksum differs)"
        except FileNotFoundError:
            return f"it has no {name}"
    return None


def _unreadable_file(folder: Path) -> str | None:
    """The fault of a checkpoint without hashes, found by reading it."""
    try:
        check_weights(folder / "adapter")
        torch.load(folder / OPTIMIZER, weights_only=True, map_location="cpu")["optimizer"]
    except ModelError as error:
        return str(error).removeprefix(f"{folder}/")
    except FileNotFoundError:
        return f"it has no {OPTIMIZER}"
    except OSError:
        raise
    except Exception as error:  # torch has no error of its own for a damaged file
        return f"{OPTIMIZER} cannot be read ({_first_line(error)})"
    return None


def _missing(run: RunDir, folders: Sequence[Path]) -> list[Skipped]:
    """The checkpoint that was written last, if it is missing."""
    written = [event.path for event in run.read(CheckpointEvent) if event.path]
    if not written or any(folder.name == written[-1] for folder in folders):
        return []
    last = run.checkpoints_dir / written[-1]
    # A newer checkpoint that was set aside as damaged was reported before.
    if folders and step_of(last) < step_of(folders[-1]):
        return []
    return [Skipped(last, "it is missing (deleted, or the run ended while it was written)")]


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().split("\n")
    return lines[0][:160] or type(error).__name__
