"""One export from start to end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gft_lite.adapters import adapter_folder, model_of
from gft_lite.config import EMBEDDED_MODEL, ModelConfig
from gft_lite.export.card import licence_of, model_card
from gft_lite.export.gguf import LORA_SCRIPT, MODEL_SCRIPT, GgufType, find_converter
from gft_lite.export.hub import upload
from gft_lite.export.job import Dtype, Job, Kind, base_for_others, gate_prompts
from gft_lite.export.parity import Parity
from gft_lite.export.write import to_gguf, write_adapter, write_merged_model
from gft_lite.models.fingerprint import RECORD
from gft_lite.models.load import source_of
from gft_lite.models.validation import check_adapter
from gft_lite.runs import claim_empty
from gft_lite.runs.atomic import new_folder


@dataclass(frozen=True)
class Export:
    """What was written. gates: the parity checks, by what was compared with the live model."""

    out: Path
    kind: Kind
    gates: dict[str, Parity] = field(default_factory=dict)
    pushed_to: str | None = None


def export(
    path: Path,
    kind: Kind,
    out: Path,
    *,
    model: ModelConfig | None = None,
    dtype: Dtype = "bfloat16",
    gguf_type: GgufType = "f16",
    llama_cpp: Path | None = None,
    push: str | None = None,
) -> Export:
    """Write an export, and check that it behaves as the adapter does.

    Args:
        path: run, checkpoint or adapter folder.
        kind: what to write.
        out: new or empty folder.
        model: the base; None takes the one that the run or the adapter's record names.
        dtype: of merged weights. An adapter keeps its own.
        gguf_type: number format of a GGUF file.
        llama_cpp: folder with llama.cpp's converters.
        push: hub repository (owner/name) to upload to afterwards, private if it is new.

    Raises:
        InputError: the adapter, its base or the folder cannot be used, or a tool is missing.
        ParityError: the export differs from the live model; nothing is kept.
    """
    adapter = adapter_folder(path)
    model = model or model_of(path)
    source = source_of(model.name)
    check_adapter(adapter, model.name, source, model.revision)
    script = None
    if kind in ("gguf", "gguf-adapter"):
        script = find_converter(MODEL_SCRIPT if kind == "gguf" else LORA_SCRIPT, llama_cpp)
    job = Job(kind, adapter, model, source, dtype, gate_prompts(path), out)
    with _aside(out) as aside:
        if kind in ("adapter", "gguf-adapter"):
            gates = write_adapter(job, aside)
        else:
            gates = write_merged_model(job, aside)
        if script:
            to_gguf(job, aside, script, gguf_type)
        _write_card(job, aside, gates)
    if push:
        upload(out, push)
    return Export(out, kind, gates, push)


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name on success and is deleted on failure."""
    claim_empty(out)
    try:
        with new_folder(out.resolve()) as aside:
            yield aside
    except BaseException:
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        raise


def _write_card(job: Job, aside: Path, gates: dict[str, Parity]) -> None:
    record = json.loads((aside / RECORD).read_text("utf-8"))
    licence = licence_of(job.source, job.model.name, job.model.revision)
    embedded = job.model.name == EMBEDDED_MODEL
    base = "THIS_FOLDER/base" if embedded else base_for_others(job.model, job.out)
    card = model_card(record, job.kind, gates, base=base, licence=licence)
    (aside / "README.md").write_text(card, encoding="utf-8")
