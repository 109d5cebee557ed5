"""The training loop: rollout → score → backward → step. It knows no method by name.

Everything random is a function of (seed, step): the order of prompts, the choice of demonstrations
and the sampling. So a run that is killed and resumed computes the same numbers as one that was not.

The loss of a step is Σ over its response tokens ÷ their count, responses with advantage 0 included
in the count but not run through the model (their gradient is exactly zero, unless the method has a
KL term). So neither the micro-batch size nor that shortcut changes the gradient.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from gft_lite.config import RunConfig
from gft_lite.memory.adaptive_batch import AdaptiveBatchSize, held_gib
from gft_lite.methods import METHODS
from gft_lite.models import Policy
from gft_lite.models.batching import TokenSequence
from gft_lite.models.precision import mixed_precision
from gft_lite.rewards import Failure, Scorer
from gft_lite.runs import RunDir
from gft_lite.runs.atomic import new_folder, remove_folder, sync
from gft_lite.training.best_checkpoint import Best, BestCheckpoint
from gft_lite.training.checkpoints import Progress, load_checkpoint, write_checkpoint
from gft_lite.training.gradient import add_gradient
from gft_lite.training.memory_probe import dry_step, wanted
from gft_lite.training.metrics import (
    StepObserver,
    demonstration_figures,
    group_metrics,
    group_records,
    rollout_metrics,
    token_metrics,
)
from gft_lite.training.optimizer import learning_rate, make_optimizer
from gft_lite.training.rollout import Rollout, StepData
from gft_lite.training.runaway import RunawayWatch
from gft_lite.types import Example, TrainingError

Event = dict[str, Any]
Evaluator = Callable[[], Mapping[str, Any]]
MAX_BAD_STEPS = 20  # non-finite gradients in a row: the run cannot be saved by going on


class Trainer:
    """Trains one adapter on one list of examples."""

    def __init__(
        self,
        config: RunConfig,
        policy: Policy,
        examples: Sequence[Example],
        scorer: Scorer | None,
        run: RunDir,
        evaluator: Evaluator | None = None,
    ) -> None:
        self.config, self.policy, self.run = config, policy, run
        self.method = METHODS[config.method.name]
        self.fitting = AdaptiveBatchSize(
            config.train.rollout_batch, config.train.micro_batch_tokens, self._tell
        )
        self.rollout = Rollout(
            config, policy, examples, scorer, self.method.needs_old, self.fitting
        )
        self.evaluator = evaluator
        self.accelerator = Accelerator(
            mixed_precision=mixed_precision(policy.device.type, policy.dtype),
            cpu=policy.device.type == "cpu",
        )
        self.parameters = list(policy.parameters())
        self.optimizer = self.accelerator.prepare(
            make_optimizer(self.parameters, config.train, policy.device)
        )
        self.step = 0
        self._bad_steps = 0
        self._checkpoint_due = False
        self._pending: list[StepData] = []
        self._peak_gib = 0.0
        self._trained_tokens = 0
        if policy.device.type == "cuda":  # the peak of this run, not of one before it
            torch.cuda.reset_peak_memory_stats()
        self._told: list[Event] = []
        self._watch = RunawayWatch()
        self._ran_away = False
        self._best = BestCheckpoint(run)

    # --- the loop ---

    def steps(self) -> Iterator[Event]:
        """Train to the last step, yielding every event after it is in the run directory.

        A step is evaluated before its checkpoint is written: a run that resumes from a checkpoint
        has the evaluation of that step, and its best so far, already.
        """
        train, every = self.config.train, self.config.eval.every
        self._best.restore(self.step)
        if wanted(train.dry_step, self.policy.device):
            dry = dry_step(self.config, self.policy, self.rollout.examples, self._gradient)
            self.optimizer.zero_grad()
            yield from self._say({"step": self.step, **dry, **self.fitting.sizes()})
        if self.evaluator and every and self.step == 0:
            yield from self._evaluate(self.evaluator)
        while not self._done():
            if self.run.stop_file.exists():
                yield from self._stop()
                return
            event = self._one_step()
            yield from self._say(event)
            for sign in self._watch.read(event):
                self._ran_away = train.stop_on_runaway
                yield self._emit(sign)
            last = self._done()
            # the final evaluation stands for the last step's, unless that step is a candidate
            if self.evaluator and every and (self._keeps_best if last else self.step % every == 0):
                yield from self._evaluate(self.evaluator)
            if train.checkpoint_every and self.step % train.checkpoint_every == 0:
                self._checkpoint_due = True  # waits for the end of the rollout
            if (self._checkpoint_due and not self._pending) or last:
                yield self._checkpoint()

    @property
    def reason(self) -> str:
        """Why the run is at its end: runaway, steps or max_tokens; empty before that."""
        train = self.config.train
        if self._ran_away:
            return "runaway"
        if self.step >= train.steps:
            return "steps"
        spent = train.max_tokens is not None and self._trained_tokens >= train.max_tokens
        return "max_tokens" if spent else ""

    def take_best(self) -> Best | None:
        """Put the best adapter so far into the policy, if the settings want it; returns its step.

        Raises:
            RunError: its files are gone.
        """
        wanted = self.config.train.keep_best or self._ran_away
        best = self._best.adapter() if wanted else None
        if best is None:
            return None
        self.policy.load_adapter_weights(best[1])
        return best[0]

    def _done(self) -> bool:
        return bool(self.reason)

    @property
    def _keeps_best(self) -> bool:
        return self.config.train.keep_best or self.config.train.stop_on_runaway

    def _evaluate(self, evaluator: Evaluator) -> Iterator[Event]:
        yield self._emit({"type": "eval", "step": self.step, **evaluator()})
        if self._keeps_best and self._best.keep(self.step, self._fill):
            best = self._best.best
            accuracy = best.greedy_accuracy if best else None
            yield self._emit({"type": "best", "step": self.step, "greedy_accuracy": accuracy})

    def _one_step(self) -> Event:
        started = time.perf_counter()
        if not self._pending:
            self._pending = self.rollout.draw(self.step)
        data = self._pending.pop(0)
        built = data.built
        rate = learning_rate(self.step, self.config.train, self._trained_tokens)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        update_started = time.perf_counter()
        observer, update = self._update(data.sequences)
        train_seconds = time.perf_counter() - update_started
        self.step += 1
        self._trained_tokens += int(update["trained_tokens"])
        traces = observer.traces()
        store = self.config.train.log_groups_every
        if store and self.step % store == 0:
            records = group_records(built.groups, traces, self.policy.tokenizer)
            self.run.write_groups(self.step, records)
        seconds = time.perf_counter() - started
        return {
            "type": "step",
            "step": self.step,
            "steps": self.config.train.steps,
            "loss": observer.loss(),
            **group_metrics(built.groups),
            **demonstration_figures(data.sequences),
            **token_metrics(traces, lambda s: self.method.tau(self.config.method, s)),
            **update,
            **rollout_metrics(built),
            "learning_rate": rate,
            "train_seconds": train_seconds,
            "seconds": seconds,
            "tokens_per_second": update["response_tokens"] / seconds,
            "peak_memory_gib": self._peak_memory(),
        }

    # --- update ---

    def _update(self, sequences: Sequence[TokenSequence]) -> tuple[StepObserver, dict[str, float]]:
        """One optimizer step."""
        tokens = sum(len(s.response_ids) for s in sequences)
        always = self.method.needs_ref_kl or self.method.needs_reference(self.config.method)
        active = [s for s in sequences if s.advantage != 0 or always]
        observer = self._gradient(active, sequences)
        result = {
            "response_tokens": tokens,
            "trained_tokens": sum(len(s.response_ids) for s in active),
            "trained_responses": len(active),
        }
        if not active:
            self.optimizer.zero_grad()
            return observer, {**result, "grad_norm": 0.0, "skipped_update": 1}
        norm = self.accelerator.clip_grad_norm_(self.parameters, self.config.train.max_grad_norm)
        grad_norm = float(norm) if norm is not None else math.nan
        finite = math.isfinite(grad_norm)
        if finite or self.accelerator.scaler is not None:
            self.optimizer.step()  # a loss scaler skips, and adapts, by itself
        self.optimizer.zero_grad()
        self._bad_steps = 0 if finite else self._bad_steps + 1
        if self._bad_steps >= MAX_BAD_STEPS:
            raise TrainingError(
                f"the gradient was not finite {MAX_BAD_STEPS} steps in a row; lower "
                "train.learning_rate or use model.dtype=float32"
            )
        return observer, {
            **result,
            "grad_norm": grad_norm if finite else 0.0,
            "skipped_update": int(not finite),
        }

    def _gradient(
        self, active: Sequence[TokenSequence], counted: Sequence[TokenSequence]
    ) -> StepObserver:
        """The gradient of some sequences over the tokens of all that count, in batches that fit."""
        counts = {
            own: sum(len(s.response_ids) for s in counted if (s.source == "self") == own)
            for own in (False, True)
        }
        if not self.method.separate_means:
            counts = dict.fromkeys(counts, sum(counts.values()))
        self.policy.train_mode()

        def start() -> StepObserver:
            self.optimizer.zero_grad()
            return StepObserver()

        def add(part: Sequence[TokenSequence], observer: StepObserver) -> None:
            add_gradient(
                part,
                counts,
                observer,
                policy=self.policy,
                accelerator=self.accelerator,
                method=self.method,
                options=self.config.method,
                progress=self.step / max(1, self.config.train.steps - 1),
                log_kl=self._logs_kl(part),
            )

        return self.fitting.in_micro_batches(active, start, add)

    def _logs_kl(self, part: Sequence[TokenSequence]) -> bool:
        every = self.config.train.log_kl_every
        due = every and (self.step + 1) % every == 0
        return bool(due) and any(s.source == "self" for s in part)

    # --- bookkeeping ---

    def _emit(self, event: Event) -> Event:
        self.run.append(event)
        self.run.set_status("running", step=self.step, steps=self.config.train.steps)
        return event

    def _tell(self, event: Event) -> None:
        """Written down at once: the step may yet fail."""
        self._told.append(self._emit({**event, "step": self.step + 1}))

    def reward_failed(self, failure: Failure) -> None:
        """Record the first failure of a part of the reward; the response earns nothing."""
        self.run.log(f"The reward failed ({failure.part}):\n{failure.traceback}")
        self._tell(
            {
                "type": "reward_error",
                "part": failure.part,
                "message": failure.message,
                "traceback": failure.traceback,
            }
        )

    def _say(self, event: Event) -> Iterator[Event]:
        """What was told meanwhile, and then this."""
        told, self._told = self._told, []
        yield from told
        yield self._emit(event)

    def _checkpoint(self) -> Event:
        folder = self.run.checkpoints_dir / f"step-{self.step:06d}"
        with new_folder(folder) as aside:
            self._fill(aside)
            # before the rename: a checkpoint without its events would miss them when resumed
            event = self._emit({"type": "checkpoint", "step": self.step, "path": folder.name})
            sync(self.run.events_file)
        for old in self.run.checkpoints()[: -self.config.train.keep_checkpoints]:
            remove_folder(old)
        self._best.prune()
        self._checkpoint_due = False
        return event

    def _fill(self, folder: Path) -> None:
        """Write a checkpoint into an empty folder."""
        progress = Progress(
            self.step, self.fitting.sizes(), self._trained_tokens, bad_steps=self._bad_steps
        )
        write_checkpoint(folder, self.policy, self.optimizer, self.accelerator, progress)

    def _stop(self) -> Iterator[Event]:
        """End early at the user's wish; pending groups are drawn again by the resumed run."""
        self.run.stop_file.unlink(missing_ok=True)
        if not self._pending and self.step:
            yield self._checkpoint()
        yield self._emit({"type": "stopped", "step": self.step})

    def restore(self, folder: Path) -> None:
        """Continue from a checkpoint."""
        progress = load_checkpoint(folder, self.policy, self.optimizer, self.accelerator)
        self.step, self._bad_steps = progress.step, progress.bad_steps
        steps = list(self.run.events("step"))
        self._trained_tokens = progress.trained_tokens or sum(
            int(e["trained_tokens"]) for e in steps
        )
        signs = [sign for event in steps for sign in self._watch.read(event)]
        self._ran_away = self.config.train.stop_on_runaway and bool(signs)
        self.fitting.restore(progress.sizes)

    def _peak_memory(self) -> float:
        self._peak_gib = max(self._peak_gib, held_gib(self.policy.device))
        return self._peak_gib
