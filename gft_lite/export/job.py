"""The inputs of an export, resolved before a model loads: adapter, base, prompts, record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from gft_lite.adapters import (
    FIXED_PROMPTS,
    Record,
    adapter_folder,
    bare_record,
    record_of,
    run_of,
)
from gft_lite.assets import resolve
from gft_lite.config import EMBEDDED_MODEL, ModelConfig, RunConfig, config_from_dict
from gft_lite.data import load_examples
from gft_lite.models import Policy
from gft_lite.models.validation import read_record
from gft_lite.runs import step_of
from gft_lite.types import InputError, Message

Kind = Literal["adapter", "merged", "gguf", "gguf-adapter"]
Dtype = Literal["float32", "bfloat16", "float16"]
GATE_PROMPTS = 50


@dataclass(frozen=True)
class Job:
    """One export, resolved before a model loads. `prompts` are those of the parity gate."""

    kind: Kind
    adapter: Path
    model: ModelConfig
    source: str
    dtype: Dtype
    prompts: list[tuple[Message, ...]]
    out: Path

    @property
    def compute(self) -> Dtype:
        """Number format in which the gate computes."""
        return self.dtype if torch.cuda.is_available() else "float32"

    def model_with_adapter(self, *, four_bit: bool) -> ModelConfig:
        """The base with the adapter, in the gate's number format, loaded by plain transformers."""
        changes = {"adapter": str(self.adapter), "dtype": self.compute, "load_in_4bit": four_bit}
        return self.model.model_copy(update={**changes, "reference": "base", "backend": "hf"})


def gate_prompts(path: Path, count: int = GATE_PROMPTS) -> list[tuple[Message, ...]]:
    """Prompts for the gate: those of the run's held-out set if it still exists, else fixed ones."""
    config = _config_of(path)
    data = config.data if config else None
    for file in (data.eval_path, data.path) if data else ():
        try:
            loaded = load_examples(resolve(file or ""), limit=count, skip_bad_rows=True)
        except InputError:
            continue
        return [e.prompt for e in loaded.examples]
    return [(Message("user", text),) for text in FIXED_PROMPTS]


def base_for_others(model: ModelConfig, out: Path) -> str:
    """Name or folder under which other tools find the base of an exported adapter."""
    if model.name == EMBEDDED_MODEL:
        return str(out.resolve() / "base")
    return str(Path(model.name).resolve()) if Path(model.name).is_dir() else model.name


def record_for_others(job: Job, policy: Policy) -> Record:
    """The adapter's record for others: without the folders of this machine."""
    record = read_record(job.adapter)
    run = run_of(job.adapter)
    if record is None and run is not None:
        config = run.config()
        steps = run.status()["step"]
        if job.adapter.parent.name.startswith("step-"):
            steps = step_of(job.adapter.parent)
        started = next(run.events("started"), {})
        count = started.get("examples", 0)
        record = record_of(config, policy.tokenizer, steps=steps, examples=count)
    if record is None:
        record = bare_record(job.model, policy.tokenizer, [{"method": "unknown"}])
    return without_folders(record)


def without_folders(value: Any) -> Any:
    """The same plain data, with absolute paths reduced to their last part."""
    if isinstance(value, dict):
        return {key: without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_folders(inner) for inner in value]
    if isinstance(value, str) and "\n" not in value and Path(value).is_absolute():
        return Path(value).name
    return value


def _config_of(path: Path) -> RunConfig | None:
    if run := run_of(path):
        return run.config()
    record = read_record(adapter_folder(path)) or {}
    return config_from_dict(record["config"]) if "config" in record else None
