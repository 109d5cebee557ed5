"""Adapters made, written and described: mix, export, model card."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from gft_lite.adapters import adapter_folder
from gft_lite.adapters.mix import Part
from gft_lite.adapters.mix import mix as write_mix
from gft_lite.config import ModelConfig
from gft_lite.export import export as write_export
from gft_lite.export.card import licence_of, model_card
from gft_lite.export.job import Dtype, Kind, base_for_others, without_folders
from gft_lite.model_server.model_cache import ModelCache, Say
from gft_lite.models.load import source_of
from gft_lite.models.validation import read_record
from gft_lite.types import ModelError

ZIP_BYTES = 4 * 2**30  # more is not handed through a browser
FOLDER = "THIS_FOLDER"


def mix(
    cache: ModelCache, say: Say, *, model: dict[str, Any], parts: list[tuple[str, float]], out: str
) -> None:
    """Write Σ weight·adapter as one adapter."""
    cache.drop()
    listed = [Part(Path(path), weight) for path, weight in parts]
    write_mix(ModelConfig(**model), listed, Path(out))
    say("mixed", out=out)


def export(
    cache: ModelCache, say: Say, *, path: str, kind: Kind, out: str, dtype: Dtype = "bfloat16"
) -> None:
    """Write an export, once it provably does what the adapter does, and a zip beside it."""
    cache.drop()
    done = write_export(Path(path), kind, Path(out), dtype=dtype)
    say("checked")
    size = sum(file.stat().st_size for file in done.out.rglob("*") if file.is_file())
    if packed := size <= ZIP_BYTES:
        shutil.make_archive(out, "zip", done.out.parent, done.out.name)
    say(
        "exported",
        packed=packed,
        size_bytes=size,
        card=(done.out / "README.md").read_text("utf-8"),
        checks=[
            {
                "what": what,
                "prompts": gate.prompts,
                "tokens": gate.tokens,
                "same_answers": gate.same_answers,
                "max_logp_difference": gate.max_logp_difference,
            }
            for what, gate in done.gates.items()
        ],
    )


def card(
    cache: ModelCache, say: Say, *, path: str, model: dict[str, Any], kind: Kind = "adapter"
) -> None:
    """The card that an export would carry, before its checks have run."""
    folder, config = adapter_folder(Path(path)), ModelConfig(**model)
    record = read_record(folder)
    if record is None:
        raise ModelError(
            "nothing is recorded about this adapter; its model card is written by the export"
        )
    base = base_for_others(config, Path(FOLDER))
    name = f"{FOLDER}/base" if Path(base).is_absolute() else base
    licence = licence_of(source_of(config.name), config.name, config.revision)
    say("card", text=model_card(without_folders(record), kind, {}, base=name, licence=licence))
