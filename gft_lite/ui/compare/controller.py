"""Requests of the Compare tab to the model process, and the pages made from its events.

Every request is a generator of pages, the last of which stays. Fields are checked before anything
starts; every error becomes a page with a sentence.
"""

from __future__ import annotations

import functools
import secrets
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from gft_lite.types import ConfigError, DataError, GftError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.compare.adapter_registry import (
    MIX,
    Adapter,
    AdapterRegistry,
    base_key,
    chosen_file,
    find_adapters,
    reward_of,
)
from gft_lite.ui.compare.compare_view import Answers, scores_view
from gft_lite.ui.compare.model_client import Event, ModelProcess
from gft_lite.ui.errors import sentence
from gft_lite.ui.html import failure, working

Page = tuple[str, str | None]  # markup, and the path of a file to download

MAX_ADAPTERS = 4
MAX_PROMPT_CHARACTERS = 50_000
LOADING = "Loading the model …"


class RefusedError(GftError):
    """The model process has refused a request; the message is its sentence."""


@dataclass(frozen=True)
class ColumnForm:
    """The chosen base and adapters, by their keys."""

    base: str
    adapters: Sequence[str]


@dataclass(frozen=True)
class PromptForm:
    """A prompt and how it is answered. max_tokens: of an answer."""

    prompt: str
    expected: str
    reward: str
    max_tokens: float
    sampled: bool


@dataclass(frozen=True)
class FileForm:
    """How a file is scored.

    uploaded, known: the file; an uploaded one comes first. retention: the old skill's, or empty.
    prompts: number of prompts. k: samples per prompt. max_tokens: of an answer.
    """

    uploaded: str | None
    known: str | None
    retention: str | None
    reward: str
    prompts: float | None
    k: float
    max_tokens: float


@dataclass(frozen=True)
class MixForm:
    """Two adapters by their keys, and the share of the second one in percent."""

    first: str | None
    second: str | None
    share: float


@dataclass(frozen=True)
class Columns:
    """The chosen columns, looked up: base model and adapters."""

    registry: AdapterRegistry
    model: dict[str, Any]
    adapters: tuple[Adapter, ...]

    @property
    def folders(self) -> list[str]:
        """The folders of the adapters."""
        return [str(adapter.path) for adapter in self.adapters]


def yields_pages(request: Callable[..., Iterator[Page]]) -> Callable[..., Iterator[Page]]:
    """Turn the errors of a request into a last page."""

    @functools.wraps(request)
    def guarded(controller: CompareController, *forms: Any) -> Iterator[Page]:
        try:
            yield from request(controller, *forms)
        except Exception as error:
            yield failure(sentence(error)), None

    return guarded


class CompareController:
    """The requests of one app, all to one model process."""

    def __init__(self, app_state: AppState, process: ModelProcess) -> None:
        self.app_state = app_state
        self.process = process

    def columns(self, form: ColumnForm) -> Columns:
        """Look up base and adapters.

        Raises:
            InputError: there are too many, one is gone, or their bases differ.
        """
        registry = find_adapters(self.app_state)
        if len(form.adapters) > MAX_ADAPTERS:
            raise ConfigError(
                f"{len(form.adapters)} adapters are chosen; compare up to {MAX_ADAPTERS}"
            )
        adapters = tuple(registry.find(key) for key in form.adapters)
        bases = registry.bases()
        if form.base not in bases:
            raise ConfigError("choose a base from the list")
        for adapter in adapters:
            if base_key(adapter.model) != form.base:
                raise ConfigError(
                    f"{adapter.name} was trained on {base_key(adapter.model)}, not on {form.base}; "
                    "only adapters of one base can be compared"
                )
        model = adapters[0].model if adapters else bases[form.base]
        return Columns(registry, model.model_dump(mode="json"), adapters)

    @yields_pages
    def answer(self, chosen: ColumnForm, form: PromptForm) -> Iterator[Page]:
        """Answers to a prompt."""
        if not form.prompt or not form.prompt.strip():
            raise DataError("type a prompt first")
        if len(form.prompt) > MAX_PROMPT_CHARACTERS:
            raise DataError(
                f"the prompt has {len(form.prompt):,} characters; at most "
                f"{MAX_PROMPT_CHARACTERS:,} are allowed"
            )
        columns = self.columns(chosen)
        expected = (form.expected or "").strip()
        request = {
            "model": columns.model,
            "adapters": columns.folders,
            "prompt": form.prompt,
            "answer": expected or None,
            "reward": reward_of(form.reward, columns.adapters) if expected else None,
            "max_new_tokens": int(form.max_tokens),
            "temperature": 1.0 if form.sampled else 0.0,
            "seed": secrets.randbelow(2**31),
        }
        answers = Answers()
        yield working(LOADING), None
        with closing(self._events("chat", request)) as events:
            for event in events:
                answers.take(event)
                yield answers.html() if answers.columns else _waiting(event), None

    @yields_pages
    def score(self, chosen: ColumnForm, form: FileForm) -> Iterator[Page]:
        """Scores on a file."""
        columns = self.columns(chosen)
        yield from self._score(columns, columns.folders, self._file_request(form, columns))

    @yields_pages
    def try_mix(self, chosen: ColumnForm, mix: MixForm, form: FileForm) -> Iterator[Page]:
        """Scores of two adapters and their mix, which is not kept."""
        columns, parts = self._mix(chosen, mix)
        request = self._file_request(form, columns)
        workspace = self.app_state.workspace
        folder = workspace.new(workspace.tmp_dir, "trial")
        out = folder / f"mix {100 - mix.share:.0f} to {mix.share:.0f}"
        try:
            yield working("Mixing the two adapters …"), None
            if self._write_mix(columns, parts, str(out)):
                yield from self._score(columns, [*columns.folders, str(out)], request)
            else:
                yield working("Stopped."), None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @yields_pages
    def save_mix(self, chosen: ColumnForm, mix: MixForm) -> Iterator[Page]:
        """Save a mix as an adapter of the workspace."""
        columns, parts = self._mix(chosen, mix)
        workspace = self.app_state.workspace
        out = workspace.new(workspace.exports_dir, MIX)
        yield working("Mixing the two adapters …"), None
        saved = False
        try:
            saved = self._write_mix(columns, parts, str(out))
        finally:
            if not saved:
                shutil.rmtree(out, ignore_errors=True)
        message = f"Saved as {out.name}. Compare it here, or write it in Export."
        yield working(message if saved else "Stopped; nothing was saved."), None

    def _mix(self, chosen: ColumnForm, mix: MixForm) -> tuple[Columns, list[tuple[str, float]]]:
        """(the two adapters as columns, (folder, weight) of each)"""
        if not mix.first or not mix.second:
            raise ConfigError("choose two adapters to mix")
        if mix.first == mix.second:
            raise ConfigError("choose two different adapters: a mix of one with itself is itself")
        columns = self.columns(ColumnForm(chosen.base, [mix.first, mix.second]))
        weights = [1 - mix.share / 100, mix.share / 100]
        return columns, list(zip(columns.folders, weights, strict=True))

    def _file_request(self, form: FileForm, columns: Columns) -> dict[str, Any]:
        """The fields of a request to score. InputError if a choice is wrong."""
        if not form.prompts or form.prompts < 1:
            raise ConfigError("give the number of prompts to score, above 0")
        registry, retention = columns.registry, None
        if form.retention:
            retention = chosen_file(self.app_state, registry, None, form.retention)
        return {
            "data": chosen_file(self.app_state, registry, form.uploaded, form.known),
            "retention": retention,
            "reward": reward_of(form.reward, columns.adapters),
            "limit": int(form.prompts),
            "k": int(form.k),
            "max_new_tokens": int(form.max_tokens),
        }

    def _score(
        self, columns: Columns, folders: list[str], request: Mapping[str, Any]
    ) -> Iterator[Page]:
        workspace = self.app_state.workspace
        folder = workspace.new(workspace.exports_dir, "comparison")
        file = folder / "comparison.html"
        target = {"model": columns.model, "adapters": folders, "page": str(file)}
        left_out: list[str] = []
        yield working(LOADING), None
        try:
            with closing(self._events("score", {**target, **request})) as events:
                for event in events:
                    match event["say"]:
                        case "part":
                            part, parts = event["done"], event["of"]
                            progress = f"Answering and scoring: part {part} of {parts} is done."
                            yield working(progress, part / parts), None
                        case "dropped":
                            left_out.append(
                                f"{event['count']:,} rows were left out, such as: "
                                f"{event['rows'][0]}"
                            )
                        case "scored":
                            yield scores_view(event, left_out), workspace.hand_out(file)
                        case "stopped":
                            yield working("Stopped. Nothing was measured."), None
                        case "waiting":
                            yield _waiting(event), None
        finally:
            if not file.is_file():
                shutil.rmtree(folder, ignore_errors=True)

    def _write_mix(self, columns: Columns, parts: list[tuple[str, float]], out: str) -> bool:
        """Write a mix; False if it was stopped."""
        request = {"model": columns.model, "parts": parts, "out": out}
        return [event["say"] for event in self._events("mix", request)][-1] == "done"

    def _events(self, task: str, request: Mapping[str, Any]) -> Generator[Event, None, None]:
        return events_of(self.process, task, request)


def events_of(
    process: ModelProcess, task: str, request: Mapping[str, Any]
) -> Generator[Event, None, None]:
    """The events of a request.

    Raises:
        RefusedError: the model process refuses it.
    """
    for event in process.ask(task, **request):
        if event["say"] == "refused":
            message = event["message"]
            raise RefusedError(message[:1].upper() + message[1:])
        yield event


def _waiting(event: Event) -> str:
    if event["say"] == "waiting":
        return working("Another window is being answered; yours is next …")
    if event["say"] == "stopped":
        return working("Stopped.")
    return working(LOADING)
