"""The schema of a run: every field, its default and what it is for, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationInfo, field_validator, model_validator

from gft_lite.assets import PREFIX
from gft_lite.config.methods import GftMethod, MethodConfig, MethodSection
from gft_lite.config.section import Section, merge_choice, merge_mappings
from gft_lite.types import ConfigError

EMBEDDED_MODEL = "tiny"
MOST = 10**9  # steps, rows, tokens: more than any run
UNSAFE_BREAKS = frozenset("\x85\u2028\u2029")  # PyYAML writes them bare and reads a space


class ModelConfig(Section):
    """Which model, and how it is held in memory."""

    name: str = EMBEDDED_MODEL
    """Hub name or local folder; `tiny` is the embedded demo model."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    backend: Literal["auto", "hf", "unsloth"] = "auto"
    """`auto` takes Unsloth on a CUDA GPU if it is installed, otherwise plain transformers."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of weights and activations; `auto`: bfloat16 if the GPU supports it, float32 on a CPU."""
    load_in_4bit: bool = False
    """NF4 base weights with double quantisation (bitsandbytes)."""
    adapter: str | None = None
    """Folder of a LoRA adapter to continue from."""
    reference: Literal["base", "start"] = "base"
    """The policy that KL is measured to: the base model, or the adapter the run starts from."""
    gradient_checkpointing: bool = False
    """Recompute activations in backward: less memory, about a third more time."""
    trust_remote_code: bool = False
    """Run Python code that comes with a model. Only you can know whether that is safe."""


class LoraConfig(Section):
    """The adapter that is trained."""

    r: int = Field(16, ge=1, le=1024)
    """Rank."""
    alpha: float = Field(32.0, gt=0, le=1e4)
    """Scale: the update is multiplied by alpha / r."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the adapter's input. Zero keeps log-probs of rollout and training equal."""
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """`all-linear`, or a list of the names of the modules that get an adapter."""


class DataConfig(Section):
    """The training file and how it is read."""

    path: str | None = None
    """File, hub name, or `embedded:NAME`. Needed unless the embedded model is used."""
    format: str = "auto"
    """Format name, or `auto` to recognise it."""
    columns: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """Canonical field → column of the file, where recognition needs help."""
    split: str = "train"
    """Split of a hub data set or a folder; a hub name may say its own (openai/gsm8k:main:test)."""
    limit: int | None = Field(None, ge=1, le=MOST)
    """Use only the first so many rows."""
    skip_bad_rows: bool = False
    """Drop rows that cannot be used (they are listed) instead of refusing the file."""
    system_prompt: str | None = None
    """System turn put before every prompt that has none."""
    max_prompt_tokens: int = Field(1024, ge=8, le=2**20)
    """A longer prompt is refused (or dropped with `skip_bad_rows`), never cut silently."""
    eval_path: str | None = None
    """Held-out file for evaluation during and after training."""
    retention_path: str | None = None
    """File of an old skill: what is kept of it is measured beside the target."""

    @classmethod
    def merge(cls, lower: Any, upper: Any) -> Any:
        """Held-out files of the embedded data go if another training file replaces the embedded."""
        replaced = isinstance(upper, Mapping) and not str(upper.get("path", PREFIX)).startswith(
            PREFIX
        )
        if replaced and isinstance(lower, Mapping):
            lower = {key: v for key, v in lower.items() if not str(v).startswith(PREFIX)}
        return super().merge(lower, upper)


class GroupConfig(Section):
    """What one group is made of and how self responses are drawn (method.md §2)."""

    expert: int = Field(1, ge=0, le=1024)
    """Expert demonstrations a prompt, at most."""
    teacher: int = Field(0, ge=0, le=1024)
    """Teacher responses a prompt, at most."""
    choose: Literal["random", "likely"] = "random"
    """Which demonstrations are taken where a prompt has more: any of them, anew at every visit, or
    those the reference policy finds most likely a token (GRAPE, arXiv 2502.04194)."""
    self_: int = Field(4, ge=0, le=1024, alias="self")
    """Answers sampled from the current policy."""
    temperature: float = Field(1.0, gt=0, le=100)
    """Sampling temperature of self responses."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus sampling; 1 is off."""
    top_k: int = Field(0, ge=0, le=2**20)
    """Top-k sampling; 0 is off."""
    max_new_tokens: int = Field(512, ge=1, le=2**20)
    """Longest response in tokens; longer demonstrations are dropped from the group and counted."""
    degenerate: Literal["skip", "resample", "imitate", "imitate_any"] = "skip"
    """What to do where all rewards of a group are equal: leave it out (its gradient is exactly
    zero), draw the self responses again, or imitate the expert with advantage 1: one that earned
    something (`imitate`), or any (`imitate_any`)."""
    resample_tries: int = Field(2, ge=1, le=1000)
    """How often `resample` draws again before it leaves the group out."""
    anchor_expert: bool = False
    """Give the expert the best reward of the group instead of what it earned."""


class TrainConfig(Section):
    """Optimisation and bookkeeping. One step is one optimizer step."""

    steps: int = Field(100, ge=1, le=MOST)
    """Optimizer steps."""
    max_tokens: int | None = Field(None, ge=1, le=10**13)
    """Token budget: training ends with the step in which this many response tokens have gone
    through the loss, if `steps` is not reached before. A decaying schedule reaches zero at
    whichever end comes first."""
    prompts_per_step: int = Field(8, ge=1, le=2**16)
    """Prompts in one optimizer step, each with its group."""
    updates_per_rollout: int = Field(1, ge=1, le=1024)
    """Optimizer steps taken on one rollout, which then draws prompts for all of them."""
    learning_rate: float = Field(1.0e-4, gt=0, le=1)
    """Peak learning rate of the adapter."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """Shape of the learning rate after warm-up; linear and cosine end at zero."""
    warmup_steps: int = Field(0, ge=0, le=MOST)
    """Steps of linear warm-up."""
    optimizer: Literal["auto", "adamw", "adamw_8bit", "paged_adamw_8bit"] = "auto"
    """`auto`: AdamW on CPU, 8-bit paged AdamW on CUDA."""
    weight_decay: float = Field(0.01, ge=0, le=100)
    """Decoupled weight decay."""
    max_grad_norm: float = Field(1.0, gt=0, le=1e6)
    """Gradient norm is clipped to this."""
    micro_batch_tokens: int = Field(16384, ge=16, le=MOST)
    """Most tokens, padding included, in one forward pass. Changes memory, not gradients."""
    rollout_batch: int = Field(64, ge=1, le=2**16)
    """Most answers sampled at once. Changes memory, and which answers are drawn, not their kind."""
    dry_step: Literal["auto"] | bool = "auto"
    """Before the first step, run the longest example forward and backward without learning from it,
    so that memory runs out in the first minute or not at all: true, false, or auto (on a GPU)."""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Seeds the adapter, the order of prompts and the sampling."""
    checkpoint_every: int = Field(50, ge=0, le=MOST)
    """Steps between checkpoints; 0: only at the end."""
    keep_checkpoints: int = Field(2, ge=1, le=MOST)
    """Older checkpoints are deleted."""
    log_kl_every: int = Field(1, ge=0, le=MOST)
    """Steps between measurements of the KL to the reference on self responses; each costs one more
    forward pass over them. 0 is never."""
    log_groups_every: int = Field(1, ge=0, le=MOST)
    """Steps between stored groups (texts, rewards, per-token weights); 0 is never."""
    keep_best: bool = False
    """The run's adapter is that of the evaluated step (step 0 included) with the best greedy
    accuracy on `eval.quick_examples` held-out prompts; of equal steps, the earliest. Needs
    `data.eval_path` and `eval.every`. The final accuracy is then measured in part on the prompts
    that chose the step: use another file for an unbiased figure."""
    stop_on_runaway: bool = False
    """End the run when its self responses run away (see docs/troubleshooting.md). The state is
    `finished`, the reason `runaway`, and the adapter is the one that `keep_best` would choose, with
    the same needs."""


class EvalConfig(Section):
    """How accuracy is measured, during the run and after it."""

    every: int = Field(0, ge=0, le=MOST)
    """Steps between evaluations on `data.eval_path` (greedy accuracy, entropy of self responses);
    0: only at the end."""
    examples: int = Field(200, ge=1, le=MOST)
    """Held-out examples used at the end, from the top of the file."""
    quick_examples: int = Field(50, ge=1, le=MOST)
    """Held-out examples used during training, for the curve."""
    k: int = Field(8, ge=1, le=2**16)
    """Sampled answers a prompt for mean@k and pass@k."""
    temperature: float = Field(1.0, gt=0, le=100)
    """Temperature of those samples; the paper uses 0.5."""
    batch: int = Field(128, ge=1, le=2**16)
    """Answers generated at once."""


class RunConfig(Section):
    """Everything that decides a run."""

    model: ModelConfig = ModelConfig()
    lora: LoraConfig = LoraConfig()
    data: DataConfig = Field(DataConfig(), validate_default=True)
    group: GroupConfig = GroupConfig()
    reward: str | dict[str, Any] = "math"
    """Reward name, or a mapping with options or named parts (see docs/rewards.md)."""
    method: MethodConfig = GftMethod()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    stages: tuple[dict[str, Any], ...] | None = None
    """A pipeline: method names, or mappings of differences over the rest of this file, one a stage.
    Each stage continues the adapter of the one before (docs/decisions/0011-pipelines.md)."""

    @classmethod
    def merge(cls, lower: Any, upper: Any) -> Any:
        """Every section is merged by its own rule."""
        if not (isinstance(lower, Mapping) and isinstance(upper, Mapping)):
            return upper
        rules = {
            "data": DataConfig.merge,
            "method": MethodSection.merge,
            "reward": merge_choice,
            "stages": cls._merge_stages,
        }
        merged = {key: rules.get(key, merge_mappings)(lower.get(key), upper[key]) for key in upper}
        return {**lower, **merged}

    @classmethod
    def _merge_stages(cls, lower: Any, upper: Any) -> Any:
        """`stages.2.train.steps=5` changes the second of the stages below."""
        if not isinstance(upper, Mapping):
            return upper
        stages = list(lower) if isinstance(lower, (list, tuple)) else []
        for number, change in upper.items():
            if not (str(number).isdecimal() and 1 <= int(number) <= len(stages)):
                numbers = f"they are numbered 1 to {len(stages)}"
                raise ConfigError(
                    f"stages.{number}: there is no such stage; "
                    + (numbers if stages else "no stages are listed")
                )
            stage = stages[int(number) - 1]
            stage = {"method": stage} if isinstance(stage, str) else stage
            stages[int(number) - 1] = cls.merge(stage, change)
        return stages

    @field_validator("reward", mode="before")
    @classmethod
    def _reward(cls, value: Any) -> Any:
        """A mapping with a name and no options is the name."""
        return value["name"] if isinstance(value, Mapping) and value.keys() == {"name"} else value

    @field_validator("data")
    @classmethod
    def _data(cls, data: DataConfig, info: ValidationInfo) -> DataConfig:
        """The embedded model trains on the embedded data unless a file is named."""
        model = info.data.get("model")  # None if that section is wrong
        if data.path is None and model is not None and model.name == EMBEDDED_MODEL:
            return data.model_copy(update={"path": f"{PREFIX}target_train"})
        return data

    @field_validator("stages", mode="before")
    @classmethod
    def _stages(cls, value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not value:
            raise ValueError(
                "stages: give a list of at least one stage, as in `stages: [sft, gft]`, or leave "
                f"it out (got {value!r})"
            )
        listed = [{"method": stage} if isinstance(stage, str) else stage for stage in value]
        for number, stage in enumerate(listed, 1):
            if not isinstance(stage, dict):
                raise ValueError(
                    f"stages.{number}: give a method name or sections like `train:` (got {stage!r})"
                )
        return listed

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if not self.stages:  # each stage is checked as the run it is
            self._check_run()
        return self

    def _check_run(self) -> None:
        if self.train.warmup_steps > self.train.steps:
            raise ValueError("train.warmup_steps is larger than train.steps")
        if self.model.reference == "start" and not self.model.adapter:
            raise ValueError("model.reference is 'start' but model.adapter names no adapter")
        for name in ("keep_best", "stop_on_runaway"):
            if getattr(self.train, name) and not (self.data.eval_path and self.eval.every):
                missing = "eval.every" if self.data.eval_path else "data.eval_path"
                todo = "a number of steps" if self.data.eval_path else "a held-out file"
                raise ValueError(
                    f"train.{name} keeps the adapter with the best held-out accuracy, so it needs "
                    f"evaluations during training: set {missing} to {todo}, or leave "
                    f"train.{name} out"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain data in the words of the YAML file."""
        return self.model_dump(mode="json", by_alias=True)

    def to_yaml(self) -> str:
        """The resolved configuration as YAML."""
        text = yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)
        if UNSAFE_BREAKS.isdisjoint(text):
            return text
        return yaml.safe_dump(self.to_dict(), sort_keys=False)
