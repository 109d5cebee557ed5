"""The policy, independent of the library that loaded its model.

A backend (hf.py, unsloth.py) is a function that returns a `LoadedModel`: a causal language model,
wrapped by PEFT if it has an adapter, and functions that switch it between training and sampling.

The reference policy is the base, by `disable_adapter()`. If a run starts from an adapter and
measures KL to it, a second frozen copy of that adapter is loaded and activated instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gft_lite.models.base import Generated, Sampling, TokenStats
from gft_lite.models.batching import ChatFormat, TokenBatch
from gft_lite.models.generation import generate_batch
from gft_lite.models.logps import chunked_logps
from gft_lite.runs.resources import shortage
from gft_lite.types import ModelError

ADAPTER = "default"
REFERENCE = "reference"


@dataclass(frozen=True)
class LoadedModel:
    """Result of a backend.

    dtype: of weights and activations; the adapter is float32.
    max_length: most tokens of a prompt with its response.
    to_train, to_sample: prepare the model, or a wrapper around it, for training or sampling.
    """

    model: Any
    device: torch.device
    dtype: torch.dtype
    max_length: int
    to_train: Callable[[Any], Any]
    to_sample: Callable[[Any], Any]


class LoraPolicy:
    """See `models.base.Policy`."""

    def __init__(
        self, loaded: LoadedModel, tokenizer: Any, *, name: str, reference_is_start: bool = False
    ) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.chat = ChatFormat(tokenizer)
        self.model = loaded.model
        self.device, self.dtype = loaded.device, loaded.dtype
        self.max_length = loaded.max_length
        self._loaded = loaded
        self._reference_is_start = reference_is_start
        self.sample_mode()

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, batch: int
    ) -> list[Generated]:
        """One answer a prompt, in order. Longest prompts go first, to waste little padding."""
        if prompts:
            self._check_length(max(map(len, prompts)) + sampling.max_new_tokens)
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        responses: dict[int, Generated] = {}
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            token_ids = generate_batch(
                self.model,
                [prompts[i] for i in rows],
                sampling,
                stop_ids=self.chat.stop_ids,
                pad_id=self.tokenizer.pad_token_id,
                device=self.device,
            )
            for i, ids in zip(rows, token_ids, strict=True):
                finished = bool(ids) and ids[-1] in self.chat.stop_ids
                responses[i] = Generated(tuple(ids), self.chat.text(ids), finished)
        return [responses[i] for i in range(len(prompts))]

    def response_states(self, batch: TokenBatch) -> Tensor:
        """(N, H) hidden states that predict the response tokens; all others are dropped."""
        self._check_length(batch.input_ids.shape[1])
        batch = batch.to(self.device)
        hidden = self._causal.base_model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
        ).last_hidden_state  # (B, L, H)
        # only response positions go through the head: (B, L, H) → (B, T, H) → (N, H)
        rows = torch.arange(hidden.shape[0], device=self.device).unsqueeze(-1)  # (B, 1)
        return hidden[rows, batch.positions][batch.mask]

    @property
    def vocab_size(self) -> int:
        """Width of the logits."""
        return int(self._causal.config.vocab_size)

    def logits(self, hidden: Tensor) -> Tensor:
        """(n, H) → (n, V): the head, with the scaling and capping some families apply."""
        config = self._causal.config
        head = self._causal.get_output_embeddings()
        # Cohere scales by logit_scale, Granite divides by logits_scaling, Gemma 2 caps by tanh
        logits = head(hidden.to(head.weight.dtype))  # (n, H) → (n, V)
        if scale := getattr(config, "logit_scale", None):
            logits = logits * scale
        if scaling := getattr(config, "logits_scaling", None):
            logits = logits / scaling
        if cap := getattr(config, "final_logit_softcapping", None):
            logits = cap * torch.tanh(logits / cap)
        return logits

    def token_logps(self, batch: TokenBatch, ref_states: Tensor | None = None) -> TokenStats:
        """Log-probs of the response tokens, entropy, and KL to the reference, from one forward."""
        batch = batch.to(self.device)
        states = self.response_states(batch)  # (N, H)
        targets = batch.flat(batch.targets)  # (B, T) → (N,)
        flat = chunked_logps(states, targets, self.logits, self.vocab_size, ref_states=ref_states)
        return TokenStats(  # (N,) → (B, T)
            logps=batch.padded(flat.logps),
            entropy=batch.padded(flat.entropy),
            ref_kl=None if flat.ref_kl is None else batch.padded(flat.ref_kl),
        )

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Inside, the model is the reference policy, without gradient."""
        with torch.no_grad():
            if self._reference_is_start:
                self.model.set_adapter(REFERENCE)
                try:
                    yield
                finally:
                    self.model.set_adapter(ADAPTER)
            elif hasattr(self.model, "disable_adapter"):
                with self.model.disable_adapter():
                    yield
            else:
                yield

    def train_mode(self) -> None:
        """Ready for forward and backward."""
        self._loaded.to_train(self.model)

    def sample_mode(self) -> None:
        """Ready for generate()."""
        self._loaded.to_sample(self.model)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Trainable parameters, sorted by name."""
        # sorted: the optimizer state of a checkpoint is assigned to parameters by position
        named = sorted(self.model.named_parameters())
        return (p for name, p in named if p.requires_grad and REFERENCE not in name)

    def save_adapter(self, folder: Path) -> None:
        """PEFT layout, safetensors, with the base named as the user named it."""
        self.model.peft_config[ADAPTER].base_model_name_or_path = self.name
        # save_embedding_layers=False: otherwise PEFT asks the hub whether the vocabulary changed
        self.model.save_pretrained(folder, selected_adapters=[ADAPTER], save_embedding_layers=False)

    def load_adapter_weights(self, folder: Path) -> None:
        """Put saved weights into the trainable adapter, in place.

        Raises:
            ModelError: the file is missing or does not fit this adapter.
        """
        fill_adapter(self.model, folder)

    def _check_length(self, tokens: int) -> None:
        """Refuse longer sequences, because some libraries truncate them silently."""
        if tokens > self.max_length:
            raise ModelError(
                f"a sequence of {tokens} tokens is longer than the {self.max_length} that "
                f"{self.name} can read here; lower data.max_prompt_tokens or group.max_new_tokens"
            )

    @property
    def _causal(self) -> Any:
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model


def fill_adapter(model: Any, folder: Path) -> None:
    """Put an adapter's saved weights into the model's trainable one.

    Raises:
        ModelError: the file is missing or does not fit.
    """
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    try:
        weights = load_file(folder / "adapter_model.safetensors")
        set_peft_model_state_dict(model, weights, adapter_name=ADAPTER)
    except Exception as error:
        if shortage(error):
            raise
        raise ModelError(f"{folder}: adapter weights cannot be loaded ({error})") from error


def keep_start_as_reference(model: Any, adapter: str) -> None:
    """Load a second, frozen copy of the starting adapter, which `reference()` activates."""
    model.load_adapter(adapter, adapter_name=REFERENCE, is_trainable=False)
    model.set_adapter(ADAPTER)


def shortest(*limits: int | None) -> int:
    """The smallest limit; None and 0 mean no limit."""
    return min((limit for limit in limits if limit), default=2**30)
