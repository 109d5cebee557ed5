"""Checkpoints: adapter, optimizer and loss scaler of one step, whole or not there at all.

A checkpoint's `state.json` is its record: the step, what else the trainer counts, the SHA-256 of
every other file, and of the record itself. `newest_intact` uses no checkpoint that differs from its
record. A checkpoint of an older version has no hashes; it is checked by reading it, which notices a
file that is missing, cut short or unreadable, and no changed bit.
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
from gft_lite.types import ModelError, RunError

RECORD = "state.json"
OPTIMIZER = "optimizer.pt"


@dataclass(frozen=True)
class Progress:
    """Where a run stands, beside its weights and its optimizer.

    step: optimizer steps taken.
    sizes: batch sizes that fit.
    trained_tokens: response tokens that went through the loss; None in an older checkpoint.
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
    """Fill an empty folder; the caller renames it (`runs.new_folder`)."""
    policy.save_adapter(folder / "adapter")
    scaler = accelerator.scaler
    torch.save(
        {
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
        },
        folder / OPTIMIZER,
    )
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
    record = {"format": 2, **asdict(progress), "files": hashes}
    text = json.dumps({**record, "sha256": _digest(record)}, indent=1)
    (folder / RECORD).write_text(text, encoding="utf-8")


def load_checkpoint(
    folder: Path, policy: Policy, optimizer: Any, accelerator: Accelerator
) -> Progress:
    """Put a checkpoint's state back.

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
    """The checkpoint to continue from, None where the run has none, and the newer ones that cannot
    be used.

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
        listed = "; ".join(f"{one.path.name}: {one.reason}" for one in skipped)
        raise RunError(
            f"{run.path}: no checkpoint can be used ({listed}); restore one from a copy, or delete "
            f"{run.checkpoints_dir} to begin again at step 0"
        )
    return None, skipped


def set_aside(skipped: Sequence[Skipped]) -> None:
    """Rename damaged checkpoints, so that they are neither used again nor counted."""
    for one in skipped:
        if one.path.exists() or one.path.is_symlink():
            target = one.path.with_name(f"damaged-{one.path.name}")
            if target.exists():
                target = one.path.with_name(f"damaged-{one.path.name}-{one.path.lstat().st_ino}")
            one.path.rename(target)


def fault_of(folder: Path) -> str | None:
    """Why a checkpoint cannot be used, in a few words; None where it is intact."""
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
    """A few words on what is wrong."""


def _record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _FaultError(f"it has no {RECORD}") from None
    except ValueError:
        raise _FaultError(f"{RECORD} is not valid JSON") from None
    if not isinstance(record, dict) or not isinstance(record.get("step"), int):
        raise _FaultError(f"{RECORD} is not the record of a checkpoint")
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
    """For checkpoints without hashes."""
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
    """The checkpoint that was written last, where it is not there."""
    written = [str(event["path"]) for event in run.events("checkpoint") if "path" in event]
    if not written or any(folder.name == written[-1] for folder in folders):
        return []
    last = run.checkpoints_dir / written[-1]
    if folders and step_of(last) < step_of(folders[-1]):
        return []
    return [Skipped(last, "it is missing (deleted, or the run ended while it was written)")]


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().split("\n")
    return lines[0][:160] or type(error).__name__
