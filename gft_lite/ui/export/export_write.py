"""Writes exports, model cards and reports into the workspace's exports folder.

Names come from the run's name, which the workspace made. Only files of the exports folder are given
to a browser.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gft_lite.report import write_run_report
from gft_lite.report.html import Markup, render
from gft_lite.report.numbers import figure, percent
from gft_lite.runs import RunDir
from gft_lite.types import ConfigError, RunError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.compare.adapter_registry import Adapter, base_label, find_adapters, parts_of
from gft_lite.ui.compare.controller import events_of
from gft_lite.ui.compare.model_client import Event, ModelProcess
from gft_lite.ui.errors import sentence
from gft_lite.ui.html import failure, working

CONVERTER = "convert_hf_to_gguf.py"
NO_GGUF = (
    "GGUF files need the converter of llama.cpp, which is not on this machine. Get llama.cpp "
    "(github.com/ggml-org/llama.cpp), install its requirements, set LLAMA_CPP_DIR to its folder, "
    "and start gft-lite again. The merged model does not need it, and Ollama reads it too."
)
DTYPES = ("bfloat16", "float16", "float32")
PROGRESS = {
    "waiting": "Another export is being written; yours is next …",
    "starting": "Writing it, and checking that it answers like the trained model …",
    "checked": "The check has passed. Packing …",
    "stopped": "Stopped; nothing was kept.",
}


@dataclass(frozen=True)
class Kind:
    """One kind of export: its name, and what it is for."""

    label: str
    about: str


KINDS = {
    "adapter": Kind(
        "Adapter", "a few megabytes, used beside its base: PEFT, vLLM, further training"
    ),
    "merged": Kind("Merged model", "base and adapter in one: Transformers, vLLM, Ollama"),
    "gguf": Kind("GGUF model", "one file for llama.cpp and Ollama"),
    "gguf-adapter": Kind("GGUF adapter", "a small file beside a GGUF of the base"),
}


def kind_choices() -> list[tuple[str, str]]:
    """(label, kind) of the exports that this machine can write."""
    kinds = list(KINDS) if has_converter() else ["adapter", "merged"]
    return [(f"{KINDS[kind].label} · {KINDS[kind].about}", kind) for kind in kinds]


def has_converter() -> bool:
    """Whether llama.cpp is installed, as `gft_lite.export.gguf` looks for it."""
    folder = os.environ.get("LLAMA_CPP_DIR")
    return (Path(folder) / CONVERTER).is_file() if folder else bool(shutil.which(CONVERTER))


@dataclass(frozen=True)
class ExportPage:
    """Markup; at the end also the file to download and the model card inside it."""

    html: str
    file: str | None = None
    card: str | None = None


class Exports:
    """The exports of a workspace's adapters."""

    def __init__(self, app_state: AppState, process: ModelProcess) -> None:
        self.app_state = app_state
        self.process = process

    def find(self, key: str | None) -> Adapter:
        """The adapter with a key. RunError if there is none."""
        if not key:
            raise RunError("choose a run first")
        return find_adapters(self.app_state).find(key)

    def write(self, key: str | None, kind: str, dtype: str) -> Iterator[ExportPage]:
        """Write an export; yields its progress and, last, the file. Errors become a page."""
        try:
            yield from self._write(self.find(key), kind, dtype)
        except Exception as error:
            yield ExportPage(failure(sentence(error)))

    def card(self, key: str | None) -> str:
        """The model card that an export would have."""
        adapter = self.find(key)
        request = {"path": str(adapter.path), "model": adapter.model.model_dump(mode="json")}
        events = list(events_of(self.process, "card", request))
        return next((event["text"] for event in events if "text" in event), "")

    def report(self, key: str | None) -> str:
        """The path of a run's report for the browser.

        Raises:
            RunError: it is a mix, which has no report.
        """
        adapter = self.find(key)
        if adapter.config is None:
            raise RunError(f"{adapter.name} is a mix, not a run: see its scores in Compare")
        workspace = self.app_state.workspace
        folder = workspace.new(workspace.exports_dir, "report")
        page = write_run_report(RunDir(adapter.path), folder / f"{adapter.name}-report.html")
        return workspace.hand_out(page)

    def _write(self, adapter: Adapter, kind: str, dtype: str) -> Iterator[ExportPage]:
        if kind not in KINDS or dtype not in DTYPES:
            raise ConfigError("choose what to write from the list")
        if kind.startswith("gguf") and not has_converter():
            raise ConfigError(NO_GGUF)
        workspace = self.app_state.workspace
        name = f"{adapter.name}-{kind}"
        folder = workspace.new(workspace.exports_dir, name)
        out, is_written = folder / name, False
        request = {"path": str(adapter.path), "kind": kind, "out": str(out), "dtype": dtype}
        yield ExportPage(working(PROGRESS["starting"]))
        try:
            with closing(events_of(self.process, "export", request)) as events:
                for event in events:
                    if event["say"] == "exported":
                        is_written, file = True, None
                        if event["packed"]:
                            file = workspace.hand_out(out.with_name(f"{name}.zip"))
                        yield ExportPage(exported_view(out, event), file, event["card"])
                    elif event["say"] in PROGRESS:
                        yield ExportPage(working(PROGRESS[event["say"]]))
        finally:
            if not is_written:
                shutil.rmtree(folder, ignore_errors=True)


def adapter_facts(adapter: Adapter) -> Markup:
    """Base, training, data and scores of an adapter."""
    record = adapter.record
    stages = record.get("stages") or []
    last = stages[-1] if stages else {}
    facts = [
        ("Base model", base_label(adapter.model)),
        ("Trained", " → ".join(str(stage.get("method", "?")) for stage in stages)),
        ("Steps", str(last["steps"]) if last.get("steps") else ""),
        ("Made of", parts_of(record) if last.get("parts") else ""),
        ("Data", Path(str(record["data"]["path"])).name if record.get("data") else ""),
        ("Weights", str(record.get("weights_sha256") or "")[:12]),
        *_scores(record.get("metrics") or {}),
    ]
    return render("ui/adapter.html", facts=[(name, value) for name, value in facts if value])


def _scores(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The final scores of the run, if it measured some."""
    scores = []
    for label, name in (("Held out, greedy", "target"), ("Old skill, greedy", "old_skill")):
        figures = metrics.get(name)
        if isinstance(figures, dict) and figures.get("greedy_accuracy") is not None:
            share = percent(figures["greedy_accuracy"])
            scores.append((label, f"{share} of {figures.get('n', '?')} prompts"))
    return scores


def exported_view(out: Path, event: Event) -> Markup:
    """The result of an export: its checks, its size and its place."""
    size_bytes = event["size_bytes"]
    if size_bytes < 2**30:
        size = f"{size_bytes / 2**20:,.1f} MiB"
    else:
        size = f"{size_bytes / 2**30:,.1f} GiB"
    lines = [
        f"{check['what'].capitalize()}: {check['same_answers']} of {check['prompts']} greedy "
        f"answers are those of the trained model; log-probabilities of {check['tokens']:,} tokens "
        f"differ by {figure(check['max_logp_difference'])} nats at most."
        for check in event["checks"]
    ]
    place = f"exports/{out.parent.name}"
    if event["packed"]:
        lines.append(f"It stays in the workspace, in {place}.")
    else:
        lines.append(f"It is too large to download here: take it from the workspace, {place}.")
    return render("ui/exported.html", title=f"Ready: {out.name}, {size}", lines=lines)
