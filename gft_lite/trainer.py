"""The training loop: rollout → score → backward → step. It knows no method by name.

Everything random is a function of (seed, step): the order of prompts, the choice of demonstrations
and the sampling. So a run that is killed and resumed computes the same numbers as one that was not.

The loss of a step is Σ over its response tokens ÷ their count, responses with advantage 0 included
in the count but not run through the model (their gradient is exactly zero, unless the method has a
KL term). So neither the micro-batch size nor that shortcut changes the gradient.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator

from gft_lite.batching import TokenSequence, collate, micro_batches
from gft_lite.config import RunConfig, TrainConfig
from gft_lite.groups import BuiltGroups, build_groups
from gft_lite.methods import METHODS, LossInputs
from gft_lite.methods.kl import k3
from gft_lite.models import Policy, Sampling
from gft_lite.observe import StepObserver, group_figures, group_records, token_figures
from gft_lite.rewards import Scorer
from gft_lite.runs import RunDir, step_of
from gft_lite.types import Example, Group, Response, TrainingError

Event = dict[str, Any]
Evaluator = Callable[[], Mapping[str, Any]]
MAX_BAD_STEPS = 20  # non-finite gradients in a row: the run cannot be saved by going on


class _Pending(NamedTuple):
    """What one optimizer step of a rollout trains on."""

    built: BuiltGroups
    sequences: list[TokenSequence]


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
        self.config, self.policy, self.run, self.scorer = config, policy, run, scorer
        self.method = METHODS[config.method.name]
        self.examples = list(examples)
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
        self._pending: list[_Pending] = []
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
            self._pending = self._rollout()
        built, sequences = self._pending.pop(0)
        rate = learning_rate(self.step, self.config.train)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        update_started = time.perf_counter()
        observer, update = self._update(sequences)
        train_seconds = time.perf_counter() - update_started
        self.step += 1
        traces = observer.traces()
        store = self.config.train.log_groups_every
        if store and self.step % store == 0 and self.accelerator.is_main_process:
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

    # --- rollout ---

    def _rollout(self) -> list[_Pending]:
        """Groups and token sequences for the next `updates_per_rollout` steps."""
        train = self.config.train
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        drawn = [
            self._draw(step)[rank::world]
            for step in range(self.step, min(self.step + train.updates_per_rollout, train.steps))
        ]
        torch.manual_seed(_seed(train.seed, self.step, "sampling", rank))
        self.policy.sample_mode()
        built = build_groups(
            [example for examples in drawn for example in examples],
            self.config.group,
            sources=self.config.method.sources,
            scorer=self.scorer,
            sampler=self._sample,
            fits=self._fits,
            rng=random.Random(_seed(train.seed, self.step, "demonstrations", rank)),
        )
        parts, start = [], 0
        for i, examples in enumerate(drawn):
            groups = built.groups[start : start + len(examples)]
            start += len(examples)
            sequences = self._sequences(groups)
            if self.method.needs_old and len(drawn) > 1:
                sequences = self._with_old_logps(sequences)
            # seconds and counts of the rollout belong to its first step
            part = replace(built, groups=groups) if i == 0 else BuiltGroups(groups)
            parts.append(_Pending(part, sequences))
        return parts

    @torch.no_grad()
    def _with_old_logps(self, sequences: list[TokenSequence]) -> list[TokenSequence]:
        """Remember what the sampling policy thought, before the first update changes it."""
        by_key = {s.key: s for s in sequences}
        for part in micro_batches(sequences, self.config.train.micro_batch_tokens):
            batch = collate(part, self.policy.tokenizer.pad_token_id)
            rows = self.policy.token_logps(batch).logps.cpu().tolist()
            for s, row in zip(part, rows, strict=True):
                by_key[s.key] = replace(s, old_logps=tuple(row[: len(s.response_ids)]))
        return list(by_key.values())

    def _draw(self, step: int) -> list[Example]:
        """The prompts of one step: an endless sequence of seeded permutations, cut in pieces."""
        train, count = self.config.train, len(self.examples)
        first = step * train.prompts_per_step
        chosen = []
        for position in range(first, first + train.prompts_per_step):
            epoch, place = divmod(position, count)
            chosen.append(self.examples[_permutation(train.seed, epoch, count)[place]])
        return chosen

    def _sample(self, examples: Sequence[Example], n: int) -> list[list[Response]]:
        group, chat = self.config.group, self.policy.chat
        prompts = [chat.prompt_ids(e.prompt) for e in examples for _ in range(n)]
        sampling = Sampling(group.max_new_tokens, group.temperature, group.top_p, group.top_k)
        answers = self.policy.generate(prompts, sampling, self.config.train.rollout_batch)
        responses = [Response(a.text, "self", a.token_ids, a.finished) for a in answers]
        return [responses[i : i + n] for i in range(0, len(responses), n)]

    def _fits(self, text: str) -> bool:
        ids = self.policy.chat.response_ids(Response(text, "expert"))
        return len(ids) <= self.config.group.max_new_tokens

    # --- update ---

    def _update(self, sequences: Sequence[TokenSequence]) -> tuple[StepObserver, dict[str, float]]:
        """One optimizer step."""
        tokens = self._sum(sum(len(s.response_ids) for s in sequences))
        with_reference = self.method.needs_reference(self.config.method)
        active = [s for s in sequences if s.advantage != 0 or with_reference]
        observer = StepObserver()
        self.policy.train_mode()
        for part in micro_batches(active, self.config.train.micro_batch_tokens):
            self._backward(part, tokens, observer, with_reference)
        result = {
            "response_tokens": tokens,
            "trained_tokens": sum(len(s.response_ids) for s in active),
            "trained_responses": len(active),
        }
        if not self._sum(len(active)):
            self.optimizer.zero_grad()
            return observer, {**result, "grad_norm": 0.0, "skipped_update": 1}
        self._share_gradients()
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
        tokens: float,
        observer: StepObserver,
        with_reference: bool,
    ) -> None:
        """Add one micro-batch's share of the gradient.

        The method is differentiated with respect to the log-probs alone; what flows into the model
        is that slope. So the weight each token got is known, and stored, for every method.
        """
        batch = collate(part, self.policy.tokenizer.pad_token_id).to(self.policy.device)
        wants_kl = with_reference or self._logs_kl(part)
        ref_logps = None
        if wants_kl:
            with self.policy.reference():
                ref_logps = self.policy.token_logps(batch).logps
        with self.accelerator.autocast():
            stats = self.policy.token_logps(batch)
        leaf = stats.logps.detach().requires_grad_()
        per_token = self.method.loss(
            self.config.method,
            LossInputs(
                logps=leaf,
                advantages=batch.advantages.unsqueeze(-1),
                ref_logps=ref_logps if with_reference else None,
                old_logps=batch.old_logps,
            ),
        )
        loss = (per_token * batch.mask).sum()
        (slope,) = torch.autograd.grad(loss, leaf)
        self.accelerator.backward((stats.logps * slope).sum() / tokens)
        observer.add(
            batch,
            logps=stats.logps,
            entropy=stats.entropy,
            slope=slope,
            loss=loss / tokens,
            kl=k3(leaf.detach(), ref_logps) if ref_logps is not None else None,
        )

    def _logs_kl(self, part: Sequence[TokenSequence]) -> bool:
        every = self.config.train.log_kl_every
        due = every and (self.step + 1) % every == 0
        return bool(due) and any(s.source == "self" for s in part)

    def _sequences(self, groups: Sequence[Group]) -> list[TokenSequence]:
        chat = self.policy.chat
        out = []
        for i, group in enumerate(groups):
            prompt = chat.prompt_ids(group.example.prompt)
            for j, response in enumerate(group.responses):
                ids = chat.response_ids(response)
                advantage = group.advantages[j]
                out.append(TokenSequence(prompt, ids, response.source, advantage, (i, j)))
        return out

    # --- several processes: each has its own prompts; gradients and token counts are summed ---

    def _sum(self, value: float) -> float:
        if self.accelerator.num_processes == 1:
            return value
        tensor = torch.tensor(float(value), device=self.policy.device)
        return float(self.accelerator.reduce(tensor, "sum"))

    def _share_gradients(self) -> None:
        if self.accelerator.num_processes == 1:
            return
        for parameter in self.parameters:
            grad = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            parameter.grad = self.accelerator.reduce(grad, "sum")

    # --- bookkeeping ---

    def _emit(self, event: Event) -> Event:
        if self.accelerator.is_main_process:
            self.run.append(event)
            self.run.set_status("running", step=self.step, steps=self.config.train.steps)
        return event

    def _checkpoint(self) -> Event:
        folder = self.run.checkpoints_dir / f"step-{self.step:06d}"
        if self.accelerator.is_main_process:
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
        self.policy.load_adapter_weights(folder / "adapter")
        state = torch.load(folder / "optimizer.pt", weights_only=True, map_location="cpu")
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step = step_of(folder)

    def _peak_memory(self) -> float:
        """GiB: GPU memory torch held at most, or this process's resident set on a CPU."""
        if self.policy.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 2**30
        import psutil

        self._peak_gib = max(self._peak_gib, psutil.Process().memory_info().rss / 2**30)
        return self._peak_gib


def save_checkpoint(
    folder: Path, policy: Policy, optimizer: Any, accelerator: Accelerator, step: int
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
    (aside / "state.json").write_text(json.dumps({"step": step}), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def make_optimizer(
    parameters: list[torch.nn.Parameter], train: TrainConfig, device: torch.device
) -> torch.optim.Optimizer:
    """AdamW, or one of bitsandbytes' 8-bit versions of it."""
    kind = train.optimizer
    if kind == "auto":
        kind = "paged_adamw_8bit" if device.type == "cuda" else "adamw"
    options: dict[str, Any] = {"lr": train.learning_rate, "weight_decay": train.weight_decay}
    if kind == "adamw":
        return torch.optim.AdamW(parameters, **options)
    import bitsandbytes

    chosen = {
        "adamw_8bit": bitsandbytes.optim.AdamW8bit,
        "paged_adamw_8bit": bitsandbytes.optim.PagedAdamW8bit,
    }[kind]
    return chosen(parameters, **options)


def learning_rate(step: int, train: TrainConfig) -> float:
    """The rate of a 0-based step: linear warm-up, then constant, linear or cosine to zero."""
    if step < train.warmup_steps:
        return train.learning_rate * (step + 1) / train.warmup_steps
    done = (step - train.warmup_steps) / max(1, train.steps - train.warmup_steps)
    factor = {
        "constant": 1.0,
        "linear": 1 - done,
        "cosine": (1 + math.cos(math.pi * done)) / 2,
    }[train.schedule]
    return train.learning_rate * factor


def _precision(policy: Policy) -> str:
    if policy.device.type == "cpu":
        return "no"
    return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(policy.dtype, "no")


def _seed(*parts: object) -> int:
    return random.Random("/".join(map(str, parts))).getrandbits(48)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> list[int]:
    order = list(range(count))
    random.Random(_seed(seed, epoch, "order")).shuffle(order)
    return order
