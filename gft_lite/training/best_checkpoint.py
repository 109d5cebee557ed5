"""The best checkpoint of a run by held-out accuracy, kept beside the ordinary ones.

`best/step-000040` has the form of any checkpoint. The best step follows from the evaluations in
events.jsonl alone, so a resumed run, whose later events are dropped, restores the best it had.
Older bests are kept as long as the run can be resumed from a checkpoint that precedes newer ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gft_lite.runs import RunDir, step_of
from gft_lite.runs.atomic import new_folder, remove_folder
from gft_lite.runs.events import EvalEvent
from gft_lite.training.checkpoints import fault_of
from gft_lite.types import RunError


@dataclass(frozen=True)
class Best:
    """The best evaluated step so far; `examples` counts the held-out prompts of the evaluation."""

    step: int
    greedy_accuracy: float
    examples: int


class BestCheckpoint:
    """Keeps the checkpoint of the step with the best greedy accuracy; of equals, the earliest.

    The earliest, because training on without a gain costs old skills, and because a run that
    turns into noise with an accuracy of 0 throughout must not keep its noise.
    """

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._folder = run.path / "best"
        self._best: Best | None = None

    def restore(self, step: int) -> None:
        """Continue from a step: read the evaluations so far and drop the bests of later steps."""
        self._best = None
        for event in self._run.read(EvalEvent):
            self._update(event)
        for folder in self._folder.glob("step-*"):
            if step_of(folder) > step:
                remove_folder(folder)

    def keep(self, event: EvalEvent, write: Callable[[Path], None]) -> Best | None:
        """Save the checkpoint of the step just evaluated if it is the best, and return it.

        Args:
            event: the evaluation.
            write: writes a checkpoint into an empty folder.
        """
        if not self._update(event):
            return None
        with new_folder(self._checkpoint(event.step)) as folder:
            write(folder)
        return self._best

    def prune(self) -> None:
        """Delete the bests that no resumed run can need: those before the best of the oldest
        checkpoint."""
        oldest = min(map(step_of, self._run.checkpoints()), default=-1)
        saved = sorted(self._folder.glob("step-*"))
        obsolete = [folder for folder in saved if step_of(folder) <= oldest][:-1]
        for folder in obsolete:
            remove_folder(folder)

    def adapter(self) -> tuple[Best, Path] | None:
        """The best step and the folder of its adapter; None if nothing was evaluated.

        Raises:
            RunError: the folder is missing or damaged.
        """
        if self._best is None:
            return None
        folder = self._checkpoint(self._best.step)
        if fault := fault_of(folder):
            raise RunError(
                f"{folder} holds the run's best adapter and cannot be used: {fault}. Restore it, "
                "or set train.keep_best=false and train.stop_on_runaway=false in config.yaml and "
                "resume with --accept-changes to keep the last adapter"
            )
        return self._best, folder / "adapter"

    def _update(self, event: EvalEvent) -> bool:
        """Whether the evaluation is better than all before it."""
        target = event.target
        if event.final or not target:
            return False
        if self._best and target["greedy_accuracy"] <= self._best.greedy_accuracy:
            return False
        self._best = Best(event.step, target["greedy_accuracy"], target["n"])
        return True

    def _checkpoint(self, step: int) -> Path:
        return self._folder / f"step-{step:06d}"
