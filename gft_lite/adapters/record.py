"""Adapter folders and the record of their provenance.

The record, `gft_lite.json` beside `adapter_model.safetensors`, holds: base (name, revision, hashes
of config and weights), chat template hash, stages the adapter was trained in, final metrics, and
the hash of the weights it describes. For the adapter of a run it also holds the data hash and the
resolved configuration. `models.validation.read_record` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gft_lite import __version__
from gft_lite.assets import resolve
from gft_lite.config import ModelConfig, RunConfig
from gft_lite.models import Policy
from gft_lite.models.fingerprint import RECORD, WEIGHTS, identity_of, template_sha256
from gft_lite.models.load import source_of
from gft_lite.models.validation import check_weights, read_record
from gft_lite.runs import RunDir
from gft_lite.runs.atomic import file_sha256, new_folder, write_atomic
from gft_lite.types import ModelError

Record = dict[str, Any]

# to compare and check adapters without data
FIXED_PROMPTS = (
    "What is 17 + 25?",
    "Name three colours.",
    "Ann has 4 pens and buys 3 more. How many pens does Ann have now?",
    "Write one sentence about rain.",
    "Is 91 a prime number? Answer yes or no.",
    "Translate 'good morning' into French.",
)


def adapter_folder(path: Path) -> Path:
    """An adapter folder, or the adapter of a run or checkpoint folder.

    Raises:
        ModelError: neither.
    """
    for folder in (path, path / "adapter"):
        if (folder / "adapter_config.json").is_file():
            return folder
    if RunDir(path).config_file.is_file():
        raise ModelError(
            f"{path} is a run without an adapter yet; wait for it, continue it with "
            f"`gft-lite resume {path}`, or name one of its checkpoints"
        )
    raise ModelError(
        f"{path} is not an adapter folder (it has no adapter_config.json), no run and no checkpoint"
    )


def run_of(path: Path) -> RunDir | None:
    """The run that an adapter, a checkpoint or a run folder belongs to, or None."""
    for folder in (path, *list(path.resolve().parents)[:3]):
        run = RunDir(folder)
        if run.config_file.is_file() and run.status_file.is_file():
            return run
    return None


def model_of(path: Path) -> ModelConfig:
    """The base an adapter was trained on, with the settings of its run (for example 4 bits).

    Raises:
        ModelError: the base is not recorded.
    """
    if run := run_of(path):
        return run.config().model.model_copy(update={"adapter": None})
    folder = adapter_folder(path)
    if record := read_record(folder):
        base = record["base"]
        return ModelConfig(name=base["name"], revision=base.get("revision"))
    name = json.loads((folder / "adapter_config.json").read_text("utf-8")).get(
        "base_model_name_or_path"
    )
    if not name:
        raise ModelError(f"{folder} does not say which base it belongs to; name it with --model")
    return ModelConfig(name=name)


def record_of(
    config: RunConfig,
    tokenizer: Any,
    *,
    steps: int,
    examples: int,
    inputs: Mapping[str, Any] | None = None,
) -> Record:
    """The record of a run's adapter, without metrics; `save` adds the hash of the weights.

    Args:
        config: of the run.
        tokenizer: its chat template is hashed.
        steps: steps that the adapter was trained for.
        examples: number of training examples.
        inputs: hashes of the inputs of the run (`gft_lite.training.provenance`).
    """
    model = config.model
    stages: list[dict[str, Any]] = []
    if model.adapter:
        before = read_record(Path(model.adapter)) or {}
        stages += before.get("stages", [{"method": "unknown", "adapter": model.adapter}])
    path = config.data.path or ""
    file = Path(resolve(path))
    data_sha256 = file_sha256(file) if file.is_file() else None
    stages.append(
        {
            "method": config.method.name,
            "steps": steps,
            "learning_rate": config.train.learning_rate,
            "seed": config.train.seed,
            "data": path,
            "data_sha256": data_sha256,
            "reference": model.reference,
            "started_from": _weights_of(model.adapter),
            "inputs": dict(inputs or {}),
        }
    )
    return {
        **bare_record(model, tokenizer, stages),
        "data": {"path": path, "sha256": data_sha256, "examples": examples},
        "config": config.to_dict(),
    }


def base_record(model: ModelConfig) -> dict[str, Any]:
    """Name, revision and hashes of a base."""
    hashes = asdict(identity_of(source_of(model.name), model.revision))
    return {"name": model.name, "revision": model.revision, **hashes}


def bare_record(model: ModelConfig, tokenizer: Any, stages: Sequence[Mapping[str, Any]]) -> Record:
    """The record of an adapter without a run: a mix, or the adapter of another tool."""
    return {
        "gft_lite": __version__,
        "format": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "base": base_record(model),
        "chat_template_sha256": template_sha256(tokenizer),
        "stages": list(stages),
        "metrics": {},
    }


def save(policy: Policy, folder: Path, record: Record) -> None:
    """Write adapter and record; the folder appears complete or not at all."""
    with new_folder(folder) as aside:
        policy.save_adapter(aside)
        write_record(aside, record)


def write_record(folder: Path, record: Record) -> None:
    """Write the record of the weights in the folder, with their hash."""
    check_weights(folder)
    complete = {**record, "weights_sha256": file_sha256(folder / WEIGHTS)}
    text = json.dumps(complete, indent=1, ensure_ascii=False)
    write_atomic(folder / RECORD, text + "\n")


def add_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Put the final metrics into the record; does nothing without a record."""
    if record := read_record(folder):
        write_record(folder, {**record, "metrics": dict(metrics)})


def _weights_of(adapter: str | None) -> str | None:
    if not adapter or not (Path(adapter) / WEIGHTS).is_file():
        return None
    return file_sha256(Path(adapter) / WEIGHTS)
