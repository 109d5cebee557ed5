"""Writes each kind of export and runs the parity gate on it."""

from __future__ import annotations

import gc
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from gft_lite.adapters import write_record
from gft_lite.config import EMBEDDED_MODEL
from gft_lite.export import ollama
from gft_lite.export.gguf import GgufType, convert_adapter, convert_model
from gft_lite.export.job import Job, base_for_others, record_for_others
from gft_lite.export.parity import TOLERANCE, Parity, ParityError, Trace, against, trace
from gft_lite.models import Policy, load_policy
from gft_lite.models.fingerprint import RECORD, WEIGHTS, local_folder
from gft_lite.models.merge import copy_base, copy_tokenizer, write_merged
from gft_lite.models.validation import read_json
from gft_lite.types import ModelError

GATE_TOKENS = 64
RELOADED, MERGED, FOUR_BIT = "reloaded adapter", "merged model", "merged model against 4-bit"


def write_adapter(job: Job, aside: Path) -> dict[str, Parity]:
    """PEFT's layout. The base is named so that other tools find it (docs/decisions/0006)."""
    live = load_policy(job.model_with_adapter(four_bit=job.model.load_in_4bit), None)
    first = trace(live, job.prompts, max_new_tokens=GATE_TOKENS)
    shutil.copyfile(job.adapter / WEIGHTS, aside / WEIGHTS)
    copy_tokenizer(live, aside, job.source, job.model.revision)
    record = record_for_others(job, live)
    _free(live)
    base = base_for_others(job.model, job.out)
    reload_from = job.model.name
    if job.model.name == EMBEDDED_MODEL:
        copy_base(job.source, aside / "base")
        reload_from = str(aside / "base")
    config = read_json(job.adapter / "adapter_config.json")
    config |= {"base_model_name_or_path": base, "revision": job.model.revision}
    text = json.dumps({**config, "inference_mode": True}, indent=2, sort_keys=True)
    (aside / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
    write_record(aside, record)
    base_with_adapter = job.model_with_adapter(four_bit=job.model.load_in_4bit)
    again = load_policy(
        base_with_adapter.model_copy(update={"name": reload_from, "adapter": str(aside)}), None
    )
    tolerance = TOLERANCE[job.compute]
    parity = _gate(first, again, job, RELOADED, tolerance)
    _free(again)
    return {RELOADED: parity}


def write_merged_model(job: Job, aside: Path) -> dict[str, Parity]:
    """The base with the adapter folded in."""
    four_bit: Trace | None = None
    if job.model.load_in_4bit:
        quantised = load_policy(job.model_with_adapter(four_bit=True), None)
        four_bit = trace(quantised, job.prompts, max_new_tokens=GATE_TOKENS)
        _free(quantised)
    live: Any = load_policy(job.model_with_adapter(four_bit=False), None)
    first = trace(live, job.prompts, max_new_tokens=GATE_TOKENS)
    record = {**record_for_others(job, live), "merged": job.dtype}
    write_merged(live, aside, getattr(torch, job.dtype), job.source, job.model.revision)
    stops = live.chat.stop_ids
    (aside / "Modelfile").write_text(ollama.modelfile(live.tokenizer, ".", stops), "utf-8")
    (aside / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    _free(live)
    plain = {"name": str(aside), "revision": None, "adapter": None}
    merged = load_policy(job.model_with_adapter(four_bit=False).model_copy(update=plain), None)
    gates = {MERGED: _gate(first, merged, job, MERGED, TOLERANCE[job.dtype])}
    if four_bit:
        gates[FOUR_BIT] = against(
            four_bit, merged, job.prompts, tolerance=float("inf"), max_new_tokens=GATE_TOKENS
        )
    _free(merged)
    return gates


def to_gguf(job: Job, aside: Path, script: Path, kind: GgufType) -> None:
    """Replace the checked model or adapter by its conversion."""
    made = aside.with_name(f"{aside.name}.gguf")
    weights = f"{'adapter' if job.kind == 'gguf-adapter' else 'model'}-{kind}.gguf"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    try:
        if job.kind == "gguf-adapter":
            base = local_folder(job.source, job.model.revision)
            if base is None:
                raise ModelError(f"the files of {job.model.name} are not on this machine")
            convert_adapter(script, aside, base, made / weights, kind)
        else:
            convert_model(script, aside, made / weights, kind)
            text = (aside / "Modelfile").read_text(encoding="utf-8")
            text = text.replace("FROM .\n", f"FROM ./{weights}\n")
            (made / "Modelfile").write_text(text, encoding="utf-8")
        shutil.copyfile(aside / RECORD, made / RECORD)
        shutil.rmtree(aside)
        made.rename(aside)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _gate(first: Trace, other: Policy, job: Job, what: str, tolerance: float) -> Parity:
    parity = against(first, other, job.prompts, tolerance=tolerance, max_new_tokens=GATE_TOKENS)
    if parity.failure:
        raise ParityError(
            f"the {what} does not behave as the live model does: {parity.failure}. Nothing was "
            f"kept in {job.out}"
        )
    return parity


def _free(policy: Any) -> None:
    """Give a model's memory back before the next one loads."""
    policy.model = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
