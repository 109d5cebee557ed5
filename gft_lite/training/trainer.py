"""The training loop: rollout → score → backward → step. It is the same for every method.

Everything random is a function of (seed, step): the order of prompts, the choice of demonstrations
and the sampling. So a run that is killed and resumed computes the same numbers as one that was not.

The loss of a step is Σ over its response tokens ÷ their count. Responses with advantage 0 are in
the count, but are not run through the model: their gradient is exactly zero, unless the method has
a KL term. So neither the micro-batch size nor that shortcut changes the gradient.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
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
from gft_lite.runs import RunDir, write_groups
from gft_lite.runs.atomic import new_folder, remove_folder, sync
from gft_lite.runs.events import (
    BestEvent,
    CheckpointEvent,
    EvalEvent,
    OutOfMemoryEvent,
    RewardErrorEvent,
    StepEvent,
    StoppedEvent,
)
from gft_lite.training.best_checkpoint import Best, BestCheckpoint
from gft_lite.training.checkpoints import Progress, load_checkpoint, write_checkpoint
from gft_lite.training.gradient import add_gradient
from gft_lite.training.memory_probe import probe_memory, should_probe
from gft_lite.training.metrics import (
    Metrics,
    StepObserver,
    demonstration_metrics,
    group_metrics,
    group_records,
    rollout_metrics,
    token_metrics,
)
from gft_lite.training.optimizer import learning_rate, make_optimizer
from gft_lite.training.rollout import Rollout, StepData
from gft_lite.training.runaway import RunawayWatch
from gft_lite.types import Example, TrainingError

Evaluator = Callable[[], Mapping[str, Any]]
MAX_BAD_STEPS = 20  # gradients in a row that are not finite: the run does not recover


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
        self.config, self.policy, self.run, self.events = config, policy, run, run.event_log
        self.method = METHODS[config.method.name]
        self.evaluator = evaluator
        self.batch_sizes = AdaptiveBatchSize(
            config.train.rollout_batch, config.train.micro_batch_tokens, self._record_out_of_memory
        )
        self.rollout = Rollout(
            config, policy, examples, scorer, self.method.needs_old, self.batch_sizes
        )
        self.accelerator = Accelerator(
            mixed_precision=mixed_precision(policy.device.type, policy.dtype),
            cpu=policy.device.type == "cpu",
        )
        self.parameters = list(policy.parameters())
        self.optimizer = self.accelerator.prepare(
            make_optimizer(self.parameters, config.train, policy.device)
        )
        self.step = 0  # optimizer steps taken
        self._trained_tokens = 0
        self._bad_steps = 0
        self._pending: list[StepData] = []  # data of the rollout that is not trained on yet
        self._checkpoint_due = False
        self._stopped = False
        self._runaway_watch = RunawayWatch()
        self._ran_away = False
        self._best = BestCheckpoint(run)
        self._peak_gib = 0.0
        if policy.device.type == "cuda":  # the peak of this run, not of an earlier one
            torch.cuda.reset_peak_memory_stats()

    # --- the loop ---

    def steps(self) -> Iterator[dict[str, Any]]:
        """Train to the last step, yielding every event after it is in the run directory."""
        train, eval_every = self.config.train, self.config.eval.every
        evaluates = self.evaluator is not None and eval_every > 0
        self._best.restore(self.step)

        # A step on the longest possible sequences: a lack of memory shows in the first minute.
        if should_probe(train.dry_step, self.policy.device):
            probe = probe_memory(self.config, self.policy, self.rollout.examples, self._gradient)
            self.optimizer.zero_grad()  # nothing is learned from it
            self.events.record(replace(probe, step=self.step, **self.batch_sizes.sizes()))
        # The curve starts with the untrained adapter.
        if evaluates and self.step == 0:
            self._evaluate()
        yield from self.events.drain()

        while not self.reason:
            # The user may stop a run between two steps.
            if self.run.stop_file.exists():
                self._stop()
                break

            # Rollout, gradient and update. The event is on disk before anything else happens.
            event = self.train_step()
            self.events.record(event)
            self.run.set_status("running", step=self.step, steps=train.steps)
            yield from self.events.drain()

            # A run that turns into noise is reported, and ended if the user asked for that.
            for runaway in self._runaway_watch.read(event):
                self.events.record(runaway)
                self._ran_away = train.stop_on_runaway

            # Evaluate before the checkpoint, so that a run that resumes from it has the evaluation.
            # The final evaluation replaces that of the last step, unless the step may be the best.
            is_last = bool(self.reason)
            if evaluates and (self._keeps_best if is_last else self.step % eval_every == 0):
                self._evaluate()

            # A checkpoint has no place for a half-used rollout, so it waits for its last step.
            if train.checkpoint_every and self.step % train.checkpoint_every == 0:
                self._checkpoint_due = True
            if is_last or (self._checkpoint_due and not self._pending):
                self._write_checkpoint()
            yield from self.events.drain()
        yield from self.events.drain()

    @property
    def reason(self) -> str:
        """Why no further step is taken: stopped, runaway, steps or max_tokens; empty before."""
        train = self.config.train
        if self._stopped:
            return "stopped"
        if self._ran_away:
            return "runaway"
        if self.step >= train.steps:
            return "steps"
        exhausted = train.max_tokens is not None and self._trained_tokens >= train.max_tokens
        return "max_tokens" if exhausted else ""

    def train_step(self) -> StepEvent:
        """One optimizer step: draw its data, update the adapter, measure."""
        start = time.perf_counter()
        # One rollout serves `updates_per_rollout` steps.
        if not self._pending:
            self._pending = self.rollout.draw(self.step)
        data = self._pending.pop(0)

        rate = learning_rate(self.step, self.config.train, self._trained_tokens)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        update_start = time.perf_counter()
        observer, update = self._update(data.sequences)
        train_seconds = time.perf_counter() - update_start
        self.step += 1
        self._trained_tokens += int(update["trained_tokens"])

        traces = observer.traces()
        store_every = self.config.train.log_groups_every
        if store_every and self.step % store_every == 0:
            records = group_records(data.built.groups, traces, self.policy.tokenizer)
            write_groups(self.run.groups_dir, self.step, records)
        self._peak_gib = max(self._peak_gib, held_gib(self.policy.device))
        seconds = time.perf_counter() - start
        return StepEvent(
            step=self.step,
            steps=self.config.train.steps,
            loss=observer.loss(),
            **group_metrics(data.built.groups),
            **demonstration_metrics(data.sequences),
            **token_metrics(traces, lambda source: self.method.tau(self.config.method, source)),
            **update,
            **rollout_metrics(data.built),
            learning_rate=rate,
            train_seconds=train_seconds,
            seconds=seconds,
            tokens_per_second=update["response_tokens"] / seconds,
            peak_memory_gib=self._peak_gib,
        )

    # --- update ---

    def _update(self, sequences: Sequence[TokenSequence]) -> tuple[StepObserver, Metrics]:
        """Gradient, clipping and optimizer. A step without any gradient changes nothing."""
        # Responses with advantage 0 have no gradient, unless a KL term pulls on them.
        has_kl = self.method.needs_ref_kl or self.method.needs_reference(self.config.method)
        active = [s for s in sequences if s.advantage != 0 or has_kl]
        observer = self._gradient(active, sequences)
        metrics: Metrics = {
            "response_tokens": sum(len(s.response_ids) for s in sequences),
            "trained_tokens": sum(len(s.response_ids) for s in active),
            "trained_responses": len(active),
        }
        if not active:
            self.optimizer.zero_grad()
            return observer, {**metrics, "grad_norm": 0.0, "skipped_update": 1}

        norm = self.accelerator.clip_grad_norm_(self.parameters, self.config.train.max_grad_norm)
        grad_norm = float(norm) if norm is not None else math.nan
        is_finite = math.isfinite(grad_norm)
        # A loss scaler skips such a step by itself, and needs to see it to adapt its scale.
        if is_finite or self.accelerator.scaler is not None:
            self.optimizer.step()
        self.optimizer.zero_grad()
        self._bad_steps = 0 if is_finite else self._bad_steps + 1
        if self._bad_steps >= MAX_BAD_STEPS:
            raise TrainingError(
                f"the gradient was not finite {MAX_BAD_STEPS} steps in a row; lower "
                "train.learning_rate or use model.dtype=float32"
            )
        metrics["grad_norm"] = grad_norm if is_finite else 0.0
        metrics["skipped_update"] = int(not is_finite)
        return observer, metrics

    def _gradient(
        self, active: Sequence[TokenSequence], counted: Sequence[TokenSequence]
    ) -> StepObserver:
        """Gradient of the active sequences, divided by the tokens of all counted sequences."""
        # Every micro-batch is divided by the tokens of the whole step: batching changes nothing.
        counts = {
            is_self: sum(len(s.response_ids) for s in counted if (s.source == "self") == is_self)
            for is_self in (False, True)
        }
        if not self.method.separate_means:
            counts = dict.fromkeys(counts, sum(counts.values()))
        self.policy.train_mode()

        def start() -> StepObserver:  # also after an out-of-memory error
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

        return self.batch_sizes.in_micro_batches(active, start, add)

    def _logs_kl(self, part: Sequence[TokenSequence]) -> bool:
        every = self.config.train.log_kl_every
        is_due = every and (self.step + 1) % every == 0
        return bool(is_due) and any(s.source == "self" for s in part)

    # --- evaluation, checkpoints and the end ---

    @property
    def _keeps_best(self) -> bool:
        return self.config.train.keep_best or self.config.train.stop_on_runaway

    def _evaluate(self) -> None:
        assert self.evaluator is not None
        event = EvalEvent(step=self.step, **self.evaluator())
        self.events.record(event)
        if self._keeps_best and (best := self._best.keep(event, self._fill_checkpoint)):
            self.events.record(BestEvent(step=best.step, greedy_accuracy=best.greedy_accuracy))

    def _write_checkpoint(self) -> None:
        target = self.run.checkpoints_dir / f"step-{self.step:06d}"
        with new_folder(target) as folder:
            self._fill_checkpoint(folder)
            # before the rename: a run that resumes from a checkpoint needs all of its events
            self.events.record(CheckpointEvent(step=self.step, path=target.name))
            sync(self.run.events_file)
        for old in self.run.checkpoints()[: -self.config.train.keep_checkpoints]:
            remove_folder(old)
        self._best.prune()
        self._checkpoint_due = False

    def _fill_checkpoint(self, folder: Path) -> None:
        progress = Progress(
            self.step, self.batch_sizes.sizes(), self._trained_tokens, bad_steps=self._bad_steps
        )
        write_checkpoint(folder, self.policy, self.optimizer, self.accelerator, progress)

    def _stop(self) -> None:
        """End early because the user asked; the resumed run draws a half-used rollout again."""
        self.run.stop_file.unlink(missing_ok=True)
        self._stopped = True
        if not self._pending and self.step:
            self._write_checkpoint()
        self.events.record(StoppedEvent(step=self.step))

    def restore(self, folder: Path) -> None:
        """Continue from a checkpoint."""
        progress = load_checkpoint(folder, self.policy, self.optimizer, self.accelerator)
        self.step, self._bad_steps = progress.step, progress.bad_steps
        self.batch_sizes.restore(progress.sizes)
        # What is not in the checkpoint follows from the events so far.
        steps = list(self.run.read(StepEvent))
        self._trained_tokens = progress.trained_tokens or sum(int(e.trained_tokens) for e in steps)
        runaways = [runaway for event in steps for runaway in self._runaway_watch.read(event)]
        self._ran_away = self.config.train.stop_on_runaway and bool(runaways)

    def load_best(self) -> Best | None:
        """Load the best adapter so far into the policy if the settings ask for it.

        Returns:
            The best step, or None if the policy keeps its last adapter.

        Raises:
            RunError: the files of the best adapter are missing or damaged.
        """
        if not (self.config.train.keep_best or self._ran_away):
            return None
        if (best := self._best.adapter()) is None:
            return None
        self.policy.load_adapter_weights(best[1])
        return best[0]

    # --- events that interrupt a step ---

    def _record_out_of_memory(self, event: OutOfMemoryEvent) -> None:
        self.events.record(replace(event, step=self.step + 1))

    def reward_failed(self, failure: Failure) -> None:
        """Record the first failure of a part of the reward; the response gets no reward."""
        self.run.log(f"The reward failed ({failure.part}):\n{failure.traceback}")
        self.events.record(
            RewardErrorEvent(
                step=self.step + 1,
                part=failure.part,
                message=failure.message,
                traceback=failure.traceback,
            )
        )
