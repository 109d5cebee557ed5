"""What the Export tab writes: exports through the model process, cards, reports, all into exports/.

Names are made from the run's own, which the workspace made. What is handed to a browser lies below
the exports folder.
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
from gft_lite.report.html import facts
from gft_lite.report.numbers import figure, percent
from gft_lite.runs import RunDir
from gft_lite.types import ConfigError, RunError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.compare.adapter_registry import Adapter, base_label, find_adapters, parts_of
from gft_lite.ui.compare.compare_view import working
from gft_lite.ui.compare.controller import RefusedError, capital
from gft_lite.ui.compare.downloads import handed_out
from gft_lite.ui.compare.model_client import Event, ModelProcess
from gft_lite.ui.errors import sentence
from gft_lite.ui.html import card, failure, styled

CONVERTER = "convert_hf_to_gguf.py"
NO_GGUF = (
    "GGUF files are made by llama.cpp’s converter, which is not on this machine. Get llama.cpp "
    "(github.com/ggml-org/llama.cpp), install its requirements, set LLAMA_CPP_DIR to its folder, "
    "and start gft-lite again. The merged model needs none of it, and Ollama reads that too."
)
DTYPES = ("bfloat16", "float16", "float32")
PROGRESS = {
    "waiting": "Another export is being written; yours is next …",
    "starting": "Writing it, and checking that it answers as the trained model does …",
    "checked": "The check has passed. Packing …",
    "stopped": "Stopped; nothing was kept.",
}


@dataclass(frozen=True)
class Kind:
    """One kind of export: its name for a list, and what it is for."""

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


def offered() -> list[tuple[str, str]]:
    """Kinds that can be written on this machine, for a list."""
    can = list(KINDS) if has_converter() else ["adapter", "merged"]
    return [(f"{KINDS[kind].label} · {KINDS[kind].about}", kind) for kind in can]


def has_converter() -> bool:
    """Whether llama.cpp is here, as `gft_lite.export.gguf` looks for it."""
    named = os.environ.get("LLAMA_CPP_DIR")
    return (Path(named) / CONVERTER).is_file() if named else bool(shutil.which(CONVERTER))


@dataclass(frozen=True)
class Written:
    """The page, and at the end the file to download and the model card inside it."""

    html: str
    file: str | None = None
    card: str | None = None


class Exports:
    """What can be written for the adapters of a workspace."""

    def __init__(self, app_state: AppState, process: ModelProcess) -> None:
        self.app_state = app_state
        self.process = process

    def find(self, key: str | None) -> Adapter:
        """The adapter a browser means. RunError where there is none."""
        if not key:
            raise RunError("choose a run first")
        return find_adapters(self.app_state).find(key)

    def write(self, key: str | None, kind: str, dtype: str) -> Iterator[Written]:
        """An export, as it is written."""
        try:
            yield from self._write(self.find(key), kind, dtype)
        except Exception as error:
            yield Written(failure(sentence(error)))

    def card(self, key: str | None) -> str:
        """The model card that an export would carry."""
        adapter = self.find(key)
        model = adapter.model.model_dump(mode="json")
        said = ""
        for event in self.process.ask("card", path=str(adapter.path), model=model):
            if event["say"] == "refused":
                raise RefusedError(capital(event["message"]))
            said = event.get("text", said)
        return said

    def report(self, key: str | None) -> str:
        """The report of a run, as a file."""
        adapter = self.find(key)
        if adapter.config is None:
            raise RunError(f"{adapter.name} is a mix, not a run: compare it to see its figures")
        folder = self.app_state.workspace.new(self.app_state.workspace.exports_dir, "report")
        page = write_run_report(RunDir(adapter.path), folder / f"{adapter.name}-report.html")
        return handed_out(self.app_state.workspace, page)

    def _write(self, adapter: Adapter, kind: str, dtype: str) -> Iterator[Written]:
        if kind not in KINDS or dtype not in DTYPES:
            raise ConfigError("choose what to write from the list")
        if kind.startswith("gguf") and not has_converter():
            raise ConfigError(NO_GGUF)
        name = f"{adapter.name}-{kind}"
        folder = self.app_state.workspace.new(self.app_state.workspace.exports_dir, name)
        out, written = folder / name, False
        ask = {"path": str(adapter.path), "kind": kind, "out": str(out), "dtype": dtype}
        yield Written(working(PROGRESS["starting"]))
        try:
            with closing(self.process.ask("export", **ask)) as events:
                for event in events:
                    if event["say"] == "refused":
                        raise RefusedError(capital(event["message"]))
                    if event["say"] == "exported":
                        written, file = True, None
                        if event["packed"]:
                            file = handed_out(
                                self.app_state.workspace, out.with_name(f"{name}.zip")
                            )
                        yield Written(_exported(out, event), file, event["card"])
                    elif event["say"] in PROGRESS:
                        yield Written(working(PROGRESS[event["say"]]))
        finally:
            if not written:
                shutil.rmtree(folder, ignore_errors=True)


def about(adapter: Adapter) -> str:
    """What an adapter is, in facts."""
    record = adapter.record
    stages = record.get("stages") or []
    last = stages[-1] if stages else {}
    pairs = [
        ("Base model", base_label(adapter.model)),
        ("Trained", " → ".join(str(stage.get("method", "?")) for stage in stages)),
        ("Steps", str(last["steps"]) if last.get("steps") else ""),
        ("Made of", parts_of(record) if last.get("parts") else ""),
        ("Data", Path(str(record["data"]["path"])).name if record.get("data") else ""),
        ("Weights", str(record.get("weights_sha256") or "")[:12]),
        *_measured(record.get("metrics") or {}),
    ]
    return styled(facts([(name, value) for name, value in pairs if value]))


def _measured(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Final figures of the run, where it measured some."""
    found = []
    for label, name in (("Held out, greedy", "target"), ("Old skill, greedy", "old_skill")):
        figures = metrics.get(name)
        if isinstance(figures, dict) and figures.get("greedy_accuracy") is not None:
            share = percent(figures["greedy_accuracy"])
            found.append((label, f"{share} of {figures.get('n', '?')} prompts"))
    return found


def _exported(out: Path, event: Event) -> str:
    size = event["size_bytes"]
    said = f"{size / 2**20:,.1f} MiB" if size < 2**30 else f"{size / 2**30:,.1f} GiB"
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
        lines.append(f"That is too large for a browser: take it from the workspace, {place}.")
    return styled(card(f"Ready: {out.name}, {said}", lines))
