"""Adapters with their provenance: where they are, where they come from, and how a run writes one.

Beside `adapter_model.safetensors` lies `gft_lite.json`: base (name, revision, hashes of config and
weights), chat template hash, data hash, the resolved configuration, the stages the adapter went
through, its final metrics, and the hash of the weights it speaks of. `models.validation` reads it
back.
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

# what adapters are told apart by and checked with where no data is at hand
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
    """The base an adapter was made for, held as its run held it (in 4 bits, say).

    Raises:
        ModelError: nothing says which base that is.
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
    """What is known of a run's adapter before it is measured; `save` adds the weights' hash.

    `inputs` are hashes of what the run was made from (`gft_lite.training.provenance`).
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
        "gft_lite": __version__,
        "format": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "base": base_record(model),
        "chat_template_sha256": template_sha256(tokenizer),
        "data": {"path": path, "sha256": data_sha256, "examples": examples},
        "config": config.to_dict(),
        "stages": stages,
        "metrics": {},
    }


def base_record(model: ModelConfig) -> dict[str, Any]:
    """Name, revision and hashes of a base."""
    found = identity_of(source_of(model.name), model.revision)
    return {"name": model.name, "revision": model.revision, **asdict(found)}


def bare_record(model: ModelConfig, tokenizer: Any, stages: Sequence[Mapping[str, Any]]) -> Record:
    """The record of an adapter that no run of ours made: mixed from others, or another tool's."""
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
    """Write adapter and record aside and rename them: a folder holds both or neither."""
    with new_folder(folder) as aside:
        policy.save_adapter(aside)
        write_record(aside, record)


def write_record(folder: Path, record: Record) -> None:
    """Write the record of the weights that are in the folder."""
    check_weights(folder)
    complete = {**record, "weights_sha256": file_sha256(folder / WEIGHTS)}
    text = json.dumps(complete, indent=1, ensure_ascii=False)
    write_atomic(folder / RECORD, text + "\n")


def add_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Put the final measurements into the record; nothing where there is no record."""
    if record := read_record(folder):
        write_record(folder, {**record, "metrics": dict(metrics)})


def _weights_of(adapter: str | None) -> str | None:
    if not adapter or not (Path(adapter) / WEIGHTS).is_file():
        return None
    return file_sha256(Path(adapter) / WEIGHTS)
