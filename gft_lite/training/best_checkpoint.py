"""The best checkpoint of a run by held-out accuracy, kept beside the ordinary ones.

`best/step-000040` is written like any checkpoint. Which step is best follows from the evaluations
in events.jsonl alone, so a resumed run, whose later events are dropped, restores the best it had.
Bests that an ordinary checkpoint may still need for that are kept with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gft_lite.runs import RunDir, step_of
from gft_lite.runs.atomic import new_folder, remove_folder
from gft_lite.training.checkpoints import fault_of
from gft_lite.types import RunError


@dataclass(frozen=True)
class Best:
    """The best evaluated step so far; `examples` held-out prompts decided."""

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

    @property
    def best(self) -> Best | None:
        """From the evaluations of the run so far; None before the first."""
        found: Best | None = None
        for event in self._run.events("eval"):
            target = event.get("target")
            if event.get("final") or not target:
                continue
            if found is None or target["greedy_accuracy"] > found.greedy_accuracy:
                found = Best(event["step"], target["greedy_accuracy"], target["n"])
        return found

    def keep(self, step: int, fill: Callable[[Path], None]) -> bool:
        """Save the checkpoint of the step just evaluated if that is the best; returns whether.

        `fill` writes a checkpoint into an empty folder.
        """
        best = self.best
        if best is None or best.step != step:
            return False
        with new_folder(self._checkpoint(step)) as aside:
            fill(aside)
        return True

    def prune(self) -> None:
        """Delete what no resumed run can need: bests before the one of the oldest checkpoint."""
        oldest = min(map(step_of, self._run.checkpoints()), default=-1)
        saved = sorted(self._folder.glob("step-*"))
        needless = [folder for folder in saved if step_of(folder) <= oldest][:-1]
        for folder in needless:
            remove_folder(folder)

    def restore(self, step: int) -> None:
        """Go on from a step: bests of later steps will be written again."""
        for folder in self._folder.glob("step-*"):
            if step_of(folder) > step:
                remove_folder(folder)

    def adapter(self) -> tuple[Best, Path] | None:
        """The best step and the folder of its adapter; None if nothing was evaluated.

        Raises:
            RunError: the folder is gone or damaged.
        """
        best = self.best
        if best is None:
            return None
        folder = self._checkpoint(best.step)
        if fault := fault_of(folder):
            raise RunError(
                f"{folder} holds the run's best adapter and cannot be used: {fault}. Restore it, "
                "or set train.keep_best=false and train.stop_on_runaway=false in config.yaml and "
                "resume with --accept-changes to keep the last adapter"
            )
        return best, folder / "adapter"

    def _checkpoint(self, step: int) -> Path:
        return self._folder / f"step-{step:06d}"
