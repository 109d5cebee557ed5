"""The plain backend: transformers + PEFT (+ bitsandbytes NF4), on any device.

Oddities kept here, numbered:
1. On AVX512-BF16 CPUs bitsandbytes repacks 4-bit weights in the first forward without gradient, and
   later backwards lose the gradient through those layers: the repacking is switched off after load.
2. `prepare_model_for_kbit_training` is not used: it would upcast embeddings and head to float32.
3. A model's own generation config carries sampling defaults; it is replaced by a bare one.
4. `disable_adapter()` gives the base. Where a run starts from an adapter and measures KL to it,
   that adapter is kept a second time, frozen, and switched to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gft_lite.batching import ChatFormat, TokenBatch
from gft_lite.config import LoraConfig, ModelConfig
from gft_lite.models.base import Generated, Sampling, TokenStats
from gft_lite.models.folded import folded
from gft_lite.models.logps import chunked_logps
from gft_lite.models.named import check_complete
from gft_lite.types import ModelError

ADAPTER = "default"
REFERENCE = "reference"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class HfPolicy:
    """See `models.base.Policy`."""

    def __init__(
        self,
        config: ModelConfig,
        lora: LoraConfig | None,
        tokenizer: Any,
        source: str,
        *,
        seed: int = 0,
    ) -> None:
        self.name = config.name
        self.tokenizer = tokenizer
        self.chat = ChatFormat(tokenizer)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = _dtype(config.dtype, self.device)
        base = _load_base(config, source, self.dtype, self.device)
        self.max_length = int(getattr(base.config, "max_position_embeddings", None) or 2**30)
        self._reference_is_start = config.reference == "start"
        self.model = _with_adapter(base, config, lora, seed)
        self.model.eval()

    # --- what the rest of the program calls ---

    @torch.no_grad()
    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, batch: int
    ) -> list[Generated]:
        """One answer a prompt, in order. Longest prompts go first, to waste little padding."""
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        answers: dict[int, Generated] = {}
        with folded(self.model):
            for start in range(0, len(order), batch):
                chosen = order[start : start + batch]
                drawn = self._generate([prompts[i] for i in chosen], sampling)
                for i, ids in zip(chosen, drawn, strict=True):
                    finished = bool(ids) and ids[-1] in self.chat.stop_ids
                    answers[i] = Generated(tuple(ids), self.chat.text(ids), finished)
        return [answers[i] for i in range(len(prompts))]

    def response_states(self, batch: TokenBatch) -> Tensor:
        """(N, H) hidden states that predict the response tokens; all others are dropped."""
        if batch.input_ids.shape[1] > self.max_length:
            raise ModelError(
                f"a sequence of {batch.input_ids.shape[1]} tokens is longer than the "
                f"{self.max_length} that {self.name} can read; lower data.max_prompt_tokens or "
                "group.max_new_tokens"
            )
        batch = batch.to(self.device)
        causal = self._causal
        hidden = causal.base_model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
        ).last_hidden_state  # (B, L, H)
        rows = torch.arange(hidden.shape[0], device=self.device).unsqueeze(-1)
        return hidden[rows, batch.positions][batch.mask]

    @property
    def vocab_size(self) -> int:
        """Width of the logits."""
        return int(self._causal.config.vocab_size)

    def logits(self, hidden: Tensor) -> Tensor:
        """(n, H) → (n, V): the head, with the scaling and capping some families apply."""
        config = self._causal.config
        head = self._causal.get_output_embeddings()
        logits = head(hidden.to(head.weight.dtype))
        if scale := getattr(config, "logit_scale", None):
            logits = logits * scale
        if scaling := getattr(config, "logits_scaling", None):
            logits = logits / scaling
        if cap := getattr(config, "final_logit_softcapping", None):
            logits = cap * torch.tanh(logits / cap)
        return logits

    def token_logps(self, batch: TokenBatch, ref_states: Tensor | None = None) -> TokenStats:
        """Log-probs of the response tokens, and what else can be read off the same logits."""
        batch = batch.to(self.device)
        states = self.response_states(batch)
        targets = batch.flat(batch.targets)
        found = chunked_logps(states, targets, self.logits, self.vocab_size, ref_states=ref_states)
        return TokenStats(*(None if flat is None else batch.padded(flat) for flat in found))

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
        self.model.train()

    def sample_mode(self) -> None:
        """Ready for generate()."""
        self.model.eval()

    def parameters(self) -> Iterator[nn.Parameter]:
        """Trainable parameters, sorted by name."""
        named = sorted(self.model.named_parameters())
        return (p for name, p in named if p.requires_grad and REFERENCE not in name)

    def save_adapter(self, folder: Path) -> None:
        """PEFT layout, safetensors, with the base named as the user named it."""
        self.model.peft_config[ADAPTER].base_model_name_or_path = self.name
        # without this PEFT asks the hub whether the vocabulary was changed
        self.model.save_pretrained(folder, selected_adapters=[ADAPTER], save_embedding_layers=False)

    def load_adapter_weights(self, folder: Path) -> None:
        """Put saved weights into the trainable adapter, in place.

        Raises:
            ModelError: the file is missing or does not fit this adapter.
        """
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        try:
            weights = load_file(folder / "adapter_model.safetensors")
            set_peft_model_state_dict(self.model, weights, adapter_name=ADAPTER)
        except Exception as error:
            raise ModelError(f"{folder}: adapter weights cannot be loaded ({error})") from error

    # --- inside ---

    @property
    def _causal(self) -> Any:
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    def _generate(self, prompts: list[Sequence[int]], sampling: Sampling) -> list[list[int]]:
        """Left-padded generation; what comes back ends at the first stop token."""
        from transformers import GenerationConfig

        width = max(len(p) for p in prompts)
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        drawn = sampling.temperature > 0
        how = {"temperature": sampling.temperature, "top_p": sampling.top_p} if drawn else {}
        out = self.model.generate(
            input_ids=ids.to(self.device),
            attention_mask=mask.to(self.device),
            generation_config=GenerationConfig(
                do_sample=drawn,
                top_k=sampling.top_k if drawn else None,
                max_new_tokens=sampling.max_new_tokens,
                pad_token_id=pad,
                eos_token_id=list(self.chat.stop_ids),
                **how,
            ),
        )
        stops = set(self.chat.stop_ids)
        return [_until_stop(row, stops) for row in out[:, width:].tolist()]


def _until_stop(ids: list[int], stops: set[int]) -> list[int]:
    for i, token in enumerate(ids):
        if token in stops:
            return ids[: i + 1]
    return ids


def _dtype(wanted: str, device: torch.device) -> torch.dtype:
    if wanted != "auto":
        return DTYPES[wanted]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _load_base(config: ModelConfig, source: str, dtype: torch.dtype, device: torch.device) -> Any:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, GenerationConfig

    quantization = None
    if config.load_in_4bit:
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    base = AutoModelForCausalLM.from_pretrained(
        source,
        revision=config.revision,
        dtype=dtype,
        quantization_config=quantization,
        device_map={"": device} if quantization else None,
        use_safetensors=True,
        trust_remote_code=config.trust_remote_code,
    )
    if quantization is None:
        base.to(device)
    for module in base.modules():  # oddity 1
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    base.generation_config = GenerationConfig()  # oddity 3
    base.requires_grad_(False)
    if config.gradient_checkpointing:
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        base.enable_input_require_grads()
    return base


def _with_adapter(base: Any, config: ModelConfig, lora: LoraConfig | None, seed: int) -> Any:
    """Base → PEFT model: a fresh adapter, a continued one, or none where nothing is trained."""
    import peft

    if config.adapter:
        model = peft.PeftModel.from_pretrained(
            base, config.adapter, adapter_name=ADAPTER, is_trainable=lora is not None
        )
        check_complete(model, ADAPTER, Path(config.adapter))
        if config.reference == "start":
            model.load_adapter(config.adapter, adapter_name=REFERENCE, is_trainable=False)
            model.set_adapter(ADAPTER)
    elif lora is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
            model = peft.get_peft_model(
                base,
                peft.LoraConfig(
                    r=lora.r,
                    lora_alpha=lora.alpha,
                    lora_dropout=lora.dropout,
                    target_modules=targets,
                    bias="none",
                    task_type="CAUSAL_LM",
                ),
            )
    else:
        return base
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model
