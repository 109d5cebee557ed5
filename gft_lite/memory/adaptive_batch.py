"""Smaller batches after an out-of-memory error: the batch is halved and the work repeated.

Training: the gradients of the step are discarded and computed again in smaller micro-batches. They
are the same, because the trainer divides by the tokens of the whole step.
Sampling: the rollout is drawn again from the same random state in smaller batches. The samples
differ from those of the larger batch (a batch shares its random numbers) but match a run that
started at the smaller size. If only training fails, the samples are kept.

Sizes never grow again within a run, and checkpoints store them for the resumed run. Evaluation,
comparison and distillation use the same functions.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from gft_lite.config import RunConfig
from gft_lite.memory import GIB, too_large
from gft_lite.models import Generated, Policy, Sampling
from gft_lite.models.batching import TokenSequence, micro_batches
from gft_lite.runs.events import OutOfMemoryEvent
from gft_lite.types import ModelError, TrainingError

State = TypeVar("State")
TOKENS_AT_ONCE = 16384  # micro-batch without gradient, if no setting names a size
SIGNS = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory")

log = logging.getLogger("gft_lite")


def _fewer_answers(before: int, after: int) -> None:
    log.warning("out of memory: sampling %d answers at once, not %d", after, before)


def _fewer_tokens(before: int, after: int) -> None:
    log.warning("out of memory: reading %d tokens at once, not %d", after, before)


@dataclass
class AdaptiveBatchSize:
    """The batch sizes of a run or a command, which shrink after an out-of-memory error.

    tell: called with an event after every change; without it the change is logged.
    """

    rollout_batch: int
    micro_batch_tokens: int = TOKENS_AT_ONCE
    tell: Callable[[OutOfMemoryEvent], None] | None = None

    def generate(
        self, policy: Policy, prompts: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[Generated]:
        """`policy.generate`, in batches that fit.

        Raises:
            TrainingError: not even one answer fits.
        """

        def smaller(before: int, after: int) -> None:
            self.rollout_batch = after
            if self.tell:
                self.tell(_event("rollout", "train.rollout_batch", before, after))
            else:
                _fewer_answers(before, after)

        return generate_in_batches(policy, prompts, sampling, self.rollout_batch, smaller)

    def in_micro_batches(
        self,
        sequences: Sequence[TokenSequence],
        start: Callable[[], State],
        each: Callable[[list[TokenSequence], State], None],
    ) -> State:
        """As the function of that name, in micro-batches that fit."""

        def smaller(before: int, after: int) -> None:
            self.micro_batch_tokens = after
            if self.tell:
                self.tell(_event("training", "train.micro_batch_tokens", before, after))
            else:
                _fewer_tokens(before, after)

        return in_micro_batches(sequences, start, each, self.micro_batch_tokens, smaller)

    def sizes(self) -> dict[str, int]:
        """For a checkpoint."""
        return {
            "rollout_batch": self.rollout_batch,
            "micro_batch_tokens": self.micro_batch_tokens,
        }

    def restore(self, sizes: Mapping[str, int]) -> None:
        """Go on with the sizes of a checkpoint."""
        self.rollout_batch = sizes.get("rollout_batch", self.rollout_batch)
        self.micro_batch_tokens = sizes.get("micro_batch_tokens", self.micro_batch_tokens)


def in_micro_batches(
    sequences: Sequence[TokenSequence],
    start: Callable[[], State],
    each: Callable[[list[TokenSequence], State], None],
    tokens: int = TOKENS_AT_ONCE,
    smaller: Callable[[int, int], None] = _fewer_tokens,
) -> State:
    """Call `each` on every micro-batch; start again with smaller ones if one does not fit.

    Args:
        sequences: what is split.
        start: discards the results of an earlier attempt and returns the state `each` adds to.
        each: works on one micro-batch.
        tokens: most of them in a micro-batch, padding included.
        smaller: called with (tokens before, tokens now); logs the change by default.

    Raises:
        TrainingError: a single sequence does not fit.
    """
    while True:
        part: list[TokenSequence] = []
        random = _random_state()
        state = start()
        try:
            for part in micro_batches(sequences, tokens):
                each(part, state)
            return state
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        del state
        start()  # frees the results of the attempt before the cache is emptied
        _free(random)
        longest = max(map(len, part), default=0)
        if len(part) < 2:
            raise TrainingError(
                f"one sequence of {longest} tokens does not fit into memory, even alone; "
                f"{_remedies('model.gradient_checkpointing=true')}"
            )
        # half of the batch that failed, which may be smaller than the limit
        after = max(longest, min(tokens, len(part) * longest) // 2)
        smaller(tokens, after)
        tokens = after


def generate_in_batches(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    batch: int,
    smaller: Callable[[int, int], None] = _fewer_answers,
) -> list[Generated]:
    """`policy.generate`, with half the batch after every out-of-memory error.

    Args:
        policy, prompts, sampling, batch: see `Policy.generate`.
        smaller: called with (batch before, batch now); logs the change by default.

    Raises:
        TrainingError: not even one answer fits.
    """
    size = max(1, min(batch, len(prompts)))
    while True:
        random = _random_state()
        try:
            return policy.generate(prompts, sampling, size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        _free(random)
        if size == 1:
            longest = max(map(len, prompts)) + sampling.max_new_tokens
            raise TrainingError(
                f"one answer of up to {longest} tokens, prompt included, does not fit into memory; "
                f"{_remedies()}"
            )
        smaller(size, size // 2)
        size //= 2


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: torch's own error, or the plain one of a library below it."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def held_gib(device: torch.device) -> float:
    """GiB: peak of torch's tensors on a GPU, or the current memory of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / GIB
    import psutil

    return psutil.Process().memory_info().rss / GIB


def check_card(config: RunConfig) -> None:
    """Refuse a run that cannot fit the GPU of this machine whatever the batches; before it loads.

    Raises:
        ModelError: says what to change.
    """
    if not torch.cuda.is_available():
        return
    card_gib = torch.cuda.get_device_properties(0).total_memory / GIB
    if sentence := too_large(config, card_gib):
        raise ModelError(sentence)


def _event(phase: str, setting: str, before: int, after: int) -> OutOfMemoryEvent:
    return OutOfMemoryEvent(
        phase=phase,
        setting=setting,
        before=before,
        after=after,
        message=f"out of memory in {phase}: {setting} is {after} from here on, not {before}; "
        "the step is repeated",
    )


def _remedies(*more: str) -> str:
    changes = ", ".join(f"--set {change}" for change in ("model.load_in_4bit=true", *more))
    return (
        f"lower group.max_new_tokens or data.max_prompt_tokens, try {changes} (of `eval` and "
        "`compare`: --max-new-tokens, --load-in-4bit), or take a smaller model (`gft-lite estimate "
        "--gpu-gib N` says which)"
    )


def _random_state() -> tuple[torch.Tensor, list[torch.Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if _on_cuda() else []


def _free(random: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    """Free memory and restore the random state.

    Call it outside the `except` block: the frames of the caught error keep its tensors alive.
    """
    gc.collect()
    torch.set_rng_state(random[0])
    if _on_cuda():
        torch.cuda.empty_cache()
        torch.cuda.set_rng_state_all(random[1])


def _on_cuda() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_initialized()
