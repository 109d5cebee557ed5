"""The training loop: rollout → score → backward → step. It knows no method by name.

Everything random is a function of (seed, step): the order of prompts, the choice of demonstrations
and the sampling. So a run that is killed and resumed computes the same numbers as one that was not.

The loss of a step is Σ over its response tokens ÷ their count, responses with advantage 0 included
in the count but not run through the model (their gradient is exactly zero, unless the method has a
KL term). So neither the micro-batch size nor that shortcut changes the gradient.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from gft_lite.batching import TokenSequence, collate, micro_batches
from gft_lite.checkpoints import load_checkpoint, save_checkpoint
from gft_lite.config import RunConfig
from gft_lite.methods import METHODS, LossInputs
from gft_lite.methods.kl import k3
from gft_lite.models import Policy
from gft_lite.models.logps import one_pass
from gft_lite.observe import StepObserver, group_figures, group_records, token_figures
from gft_lite.optimizer import learning_rate, make_optimizer
from gft_lite.rewards import Scorer
from gft_lite.rollout import Rollout, StepData
from gft_lite.runs import RunDir
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
        self.rollout = Rollout(config, policy, examples, scorer, self.method.needs_old)
        self.evaluator = evaluator
        self.accelerator = Accelerator(
            mixed_precision=_precision(policy), cpu=policy.device.type == "cpu"
        )
        self.parameters = list(policy.parameters())
        self.optimizer = self.accelerator.prepare(
            make_optimizer(self.parameters, config.train, policy.device)
        )
        self.step = 0
        self._bad_steps = 0
        self._pending: list[StepData] = []
        self._peak_gib = 0.0

    # --- the loop ---

    def steps(self) -> Iterator[Event]:
        """Train to the last step, yielding every event after it is in the run directory."""
        train, every = self.config.train, self.config.eval.every
        while self.step < train.steps:
            if self.run.stop_file.exists():
                yield from self._stop()
                return
            yield self._emit(self._one_step())
            due = train.checkpoint_every and self.step % train.checkpoint_every == 0
            if (due and not self._pending) or self.step == train.steps:
                yield self._checkpoint()
            if self.evaluator and every and self.step % every == 0 and self.step < train.steps:
                yield self._emit({"type": "eval", "step": self.step, **self.evaluator()})

    def _one_step(self) -> Event:
        started = time.perf_counter()
        if not self._pending:
            self._pending = self.rollout.draw(self.step)
        data = self._pending.pop(0)
        built = data.built
        rate = learning_rate(self.step, self.config.train)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        update_started = time.perf_counter()
        observer, update = self._update(data.sequences)
        train_seconds = time.perf_counter() - update_started
        self.step += 1
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
            **group_figures(built.groups),
            **token_figures(traces, self.method.tau(self.config.method)),
            **update,
            "groups": len(built.groups),
            "degenerate_groups": built.counts.degenerate,
            "resampled_groups": built.counts.resampled,
            "imitated_groups": built.counts.imitated,
            "demonstrations_too_long": built.counts.too_long,
            "learning_rate": rate,
            "rollout_seconds": built.rollout_seconds,
            "scoring_seconds": built.scoring_seconds,
            "train_seconds": train_seconds,
            "seconds": seconds,
            "tokens_per_second": update["response_tokens"] / seconds,
            "peak_memory_gib": self._peak_memory(),
        }

    # --- update ---

    def _update(self, sequences: Sequence[TokenSequence]) -> tuple[StepObserver, dict[str, float]]:
        """One optimizer step."""
        counts = {own: _tokens(sequences, own=own) for own in (False, True)}
        tokens = counts[False] + counts[True]
        if not self.method.separate_means:
            counts = dict.fromkeys(counts, tokens)
        always = self.method.needs_ref_kl or self.method.needs_reference(self.config.method)
        active = [s for s in sequences if s.advantage != 0 or always]
        observer = StepObserver()
        self.policy.train_mode()
        for part in micro_batches(active, self.config.train.micro_batch_tokens):
            self._backward(part, counts, observer)
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

    def _backward(
        self,
        part: Sequence[TokenSequence],
        counts: Mapping[bool, int],
        observer: StepObserver,
    ) -> None:
        """Add one micro-batch's share of the gradient.

        The method is differentiated with respect to the log-probs alone (`one_pass`); what flows
        into the model is that slope. So the weight each token got is known, and stored, for every
        method.

        Args:
            part: the micro-batch.
            counts: number of tokens to divide by, of self answers (True) and of demonstrations.
            observer: told what was measured.
        """
        method, policy = self.method, self.policy
        with_reference = method.needs_reference(self.config.method)
        batch = collate(part, policy.tokenizer.pad_token_id).to(policy.device)
        ref_logps = ref_states = None
        if with_reference or method.needs_ref_kl or self._logs_kl(part):
            with policy.reference(), self.accelerator.autocast():
                if method.needs_ref_kl:
                    ref_states = policy.response_states(batch)
                else:
                    ref_logps = policy.token_logps(batch).logps
        with self.accelerator.autocast():
            states = policy.response_states(batch)
        own = batch.own.unsqueeze(-1)
        share = batch.flat(1 / torch.where(own, counts[True], counts[False]))
        scaler = self.accelerator.scaler
        known = {
            "advantages": batch.advantages.unsqueeze(-1),
            "own": own,
            "ref_logps": ref_logps if with_reference else None,
            "old_logps": batch.old_logps,
        }
        flat = {name: batch.flat(values) for name, values in known.items() if values is not None}

        def loss(rows: slice, logps: Tensor, ref_kl: Tensor | None) -> Tensor:
            inputs = {name: values[rows] for name, values in flat.items()}
            progress = self.step / max(1, self.config.train.steps - 1)
            inputs_of_rows = LossInputs(logps, ref_kl=ref_kl, progress=progress, **inputs)
            return method.loss(self.config.method, inputs_of_rows)

        found = one_pass(
            states,
            batch.flat(batch.targets),
            policy.logits,
            policy.vocab_size,
            loss,
            share if scaler is None else scaler.scale(share),
            ref_states=ref_states,
        )
        states.backward(found.hidden_grad)
        logps = batch.padded(found.logps)
        observer.add(
            batch,
            logps=logps,
            entropy=batch.padded(found.entropy),
            slope=batch.padded(found.slope),
            loss=(found.loss * share).sum(),
            kl=k3(logps, ref_logps) if ref_logps is not None else None,
        )

    def _logs_kl(self, part: Sequence[TokenSequence]) -> bool:
        every = self.config.train.log_kl_every
        due = every and (self.step + 1) % every == 0
        return bool(due) and any(s.source == "self" for s in part)

    # --- bookkeeping ---

    def _emit(self, event: Event) -> Event:
        self.run.append(event)
        self.run.set_status("running", step=self.step, steps=self.config.train.steps)
        return event

    def _checkpoint(self) -> Event:
        folder = self.run.checkpoints_dir / f"step-{self.step:06d}"
        save_checkpoint(folder, self.policy, self.optimizer, self.accelerator, self.step)
        for old in self.run.checkpoints()[: -self.config.train.keep_checkpoints]:
            shutil.rmtree(old)
        return self._emit({"type": "checkpoint", "step": self.step, "path": folder.name})

    def _stop(self) -> Iterator[Event]:
        """End early at the user's wish; pending groups are drawn again by the resumed run."""
        self.run.stop_file.unlink(missing_ok=True)
        if not self._pending and self.step:
            yield self._checkpoint()
        yield self._emit({"type": "stopped", "step": self.step})

    def restore(self, folder: Path) -> None:
        """Continue from a checkpoint."""
        self.step = load_checkpoint(folder, self.policy, self.optimizer, self.accelerator)

    def _peak_memory(self) -> float:
        """GiB: GPU memory torch held at most, or this process's resident set on a CPU."""
        if self.policy.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 2**30
        import psutil

        self._peak_gib = max(self._peak_gib, psutil.Process().memory_info().rss / 2**30)
        return self._peak_gib


def _precision(policy: Policy) -> str:
    if policy.device.type == "cpu":
        return "no"
    return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(policy.dtype, "no")


def _tokens(sequences: Sequence[TokenSequence], *, own: bool) -> int:
    return sum(len(s.response_ids) for s in sequences if (s.source == "self") == own)
