"""From text to token batches: chat template, response mask, padding, micro-batches.

No other module tokenizes. Padding is on the right and positions are contiguous, so the causal mask
alone gives real tokens the same result as with an attention mask. Masks are computed from lengths,
never from `ids != pad`, because the pad token may be the eos token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gft_lite.types import Message, ModelError, Response, Source

PLAIN_SEPARATOR = "\n\n"  # between turns, for models without a chat template


@dataclass(frozen=True)
class TokenSequence:
    """One prompt with one response, as token ids.

    key: (group, response) within the step, to assign measurements to responses.
    old_logps: log-probs in nats under the policy that sampled the response, if the method needs
        them.
    """

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    source: Source = "expert"
    advantage: float = 1.0
    key: tuple[int, int] = (0, 0)
    old_logps: tuple[float, ...] | None = None

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


@dataclass(frozen=True)
class TokenBatch:
    """Right-padded sequences; B rows, L tokens at most, T response tokens at most.

    input_ids, attention_mask: (B, L). positions: (B, T), index into L of the token that *predicts*
    response token t. targets: (B, T) response ids. mask: (B, T) bool, true at response tokens.
    advantages: (B,). own: (B,) bool, true at self responses. old_logps: (B, T), or None if a
    sequence has none.
    """

    sequences: tuple[TokenSequence, ...]
    input_ids: Tensor
    attention_mask: Tensor
    positions: Tensor
    targets: Tensor
    mask: Tensor
    advantages: Tensor
    own: Tensor
    old_logps: Tensor | None = None

    def to(self, device: torch.device | str) -> TokenBatch:
        """The same batch on another device."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return TokenBatch(
            sequences=self.sequences,
            input_ids=moved(self.input_ids),
            attention_mask=moved(self.attention_mask),
            positions=moved(self.positions),
            targets=moved(self.targets),
            mask=moved(self.mask),
            advantages=moved(self.advantages),
            own=moved(self.own),
            old_logps=None if self.old_logps is None else moved(self.old_logps),
        )

    def flat(self, values: Tensor) -> Tensor:
        """(B, T), or a shape that broadcasts to it → (N,) values at the response tokens."""
        return values.expand(self.mask.shape)[self.mask]

    def padded(self, flat: Tensor) -> Tensor:
        """(N,) → (B, T) with zeros outside the mask: the inverse of `flat`."""
        return flat.new_zeros(self.mask.shape).masked_scatter(self.mask, flat)


class ChatFormat:
    """How a tokenizer writes a conversation: prompt ids, response ids, and where a turn ends.

    A response is its text followed by the template's own end-of-turn token, for demonstrations and
    self responses alike; self responses keep the very ids that were sampled.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.end_id: int = _end_of_turn(tokenizer)
        eos = tokenizer.eos_token_id
        self.stop_ids: tuple[int, ...] = tuple(
            dict.fromkeys(i for i in (self.end_id, eos) if i is not None)
        )

    def prompt_text(self, prompt: Sequence[Message]) -> str:
        """The text before the response.

        If the template accepts no system turn, it is put before the first user turn.

        Raises:
            ModelError: the chat template refuses the turns.
        """
        turns = [{"role": m.role, "content": m.content} for m in prompt]
        if not self.tokenizer.chat_template:
            return PLAIN_SEPARATOR.join(m.content for m in prompt) + PLAIN_SEPARATOR
        try:
            return self._template(turns)
        except Exception as refusal:  # a template may raise any exception
            if turns[0]["role"] != "system" or len(turns) < 2:
                raise ModelError(_refused(turns, refusal)) from refusal
        merged = {
            "role": turns[1]["role"],
            "content": turns[0]["content"] + PLAIN_SEPARATOR + turns[1]["content"],
        }
        try:
            return self._template([merged, *turns[2:]])
        except Exception as refusal:
            raise ModelError(_refused(turns, refusal)) from refusal

    def prompt_ids(self, prompt: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of the prompt, ready for an answer."""
        special = not self.tokenizer.chat_template
        return tuple(
            self.tokenizer(self.prompt_text(prompt), add_special_tokens=special)["input_ids"]
        )

    def response_ids(self, response: Response) -> tuple[int, ...]:
        """Token ids of a response: sampled ids as they are, text tokenised and ended."""
        if response.token_ids is not None:
            return response.token_ids
        ids = self.tokenizer(response.text, add_special_tokens=False)["input_ids"]
        return (*ids, self.end_id)

    def text(self, ids: Sequence[int]) -> str:
        """Text of sampled ids, without special tokens."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True).strip()

    def _template(self, turns: list[dict[str, str]]) -> str:
        return self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


def _refused(turns: list[dict[str, str]], refusal: Exception) -> str:
    roles = ", ".join(turn["role"] for turn in turns)
    return (
        f"the model's chat template refuses a prompt with the turns {roles} ({refusal}); it begins "
        f"{turns[0]['content'][:60]!r}: change these turns in the data, or choose another model"
    )


def _end_of_turn(tokenizer: Any) -> int:
    """The token that ends an assistant turn in the chat template, else the tokenizer's eos."""
    if tokenizer.chat_template:
        marker = "\u241f"  # a character that no template contains
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": marker}]
        text = tokenizer.apply_chat_template(turns, tokenize=False)
        after = text.rpartition(marker)[2]
        ids = tokenizer(after, add_special_tokens=False)["input_ids"]
        special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        # a plain token, such as a newline, also occurs inside a response and cannot end it
        if ids and ids[0] in special:
            return int(ids[0])
    return int(tokenizer.eos_token_id)


def collate(sequences: Sequence[TokenSequence], pad_id: int) -> TokenBatch:
    """Pad sequences into one batch. Every sequence must have a prompt and a response."""
    length = max(len(s) for s in sequences)
    responses = max(len(s.response_ids) for s in sequences)
    rows = len(sequences)
    input_ids = torch.full((rows, length), pad_id, dtype=torch.long)
    attention_mask = torch.zeros((rows, length), dtype=torch.long)
    positions = torch.zeros((rows, responses), dtype=torch.long)
    targets = torch.zeros((rows, responses), dtype=torch.long)
    mask = torch.zeros((rows, responses), dtype=torch.bool)
    # one response without old log-probs makes the ratio undefined for the whole batch
    has_old = all(s.old_logps is not None for s in sequences)
    old_logps = torch.zeros((rows, responses)) if has_old else None
    for row, s in enumerate(sequences):
        n, start, t = len(s), len(s.prompt_ids), len(s.response_ids)
        input_ids[row, :n] = torch.tensor(s.prompt_ids + s.response_ids)
        attention_mask[row, :n] = 1
        # the token at position p − 1 predicts the token at position p
        positions[row, :t] = torch.arange(start - 1, start - 1 + t)
        targets[row, :t] = torch.tensor(s.response_ids)
        mask[row, :t] = True
        if old_logps is not None and s.old_logps is not None:
            old_logps[row, :t] = torch.tensor(s.old_logps)
    return TokenBatch(
        sequences=tuple(sequences),
        input_ids=input_ids,
        attention_mask=attention_mask,
        positions=positions,
        targets=targets,
        mask=mask,
        advantages=torch.tensor([s.advantage for s in sequences]),
        old_logps=old_logps,
        own=torch.tensor([s.source == "self" for s in sequences]),
    )


def micro_batches(
    sequences: Sequence[TokenSequence], max_tokens: int
) -> Iterator[list[TokenSequence]]:
    """Split sequences, longest first, so that rows × longest row stays within `max_tokens`.

    A sequence longer than the budget gets a batch of its own. Longest first means that a batch too
    large for memory shows at once.
    """
    # sorted by length, so batch[0] is the longest row and decides the padded width
    batch: list[TokenSequence] = []
    for sequence in sorted(sequences, key=len, reverse=True):
        if batch and (len(batch) + 1) * len(batch[0]) > max_tokens:
            yield batch
            batch = []
        batch.append(sequence)
    if batch:
        yield batch
