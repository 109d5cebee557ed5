"""What the Compare tab asks the model process, and how its events become the page.

Every function here is a generator of pages, the last of which stays. What was typed or chosen is
checked before anything starts; whatever is wrong becomes a sentence in the place of the answer.
"""

from __future__ import annotations

import functools
import secrets
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from gft_lite.report.html import notes
from gft_lite.types import ConfigError, DataError, GftError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.compare.adapter_registry import (
    MIX,
    Adapter,
    AdapterRegistry,
    base_key,
    find_adapters,
)
from gft_lite.ui.compare.compare_files import chosen_file, reward_of
from gft_lite.ui.compare.compare_view import Answers, figures, working
from gft_lite.ui.compare.downloads import handed_out
from gft_lite.ui.compare.model_client import Event, ModelProcess
from gft_lite.ui.errors import sentence
from gft_lite.ui.html import failure, styled

Page = tuple[str, str | None]  # markup, and the file to download where there is one

MOST_ADAPTERS = 4
LOADING = "Loading the model …"
LONGEST_PROMPT = 50_000  # characters


class RefusedError(GftError):
    """A sentence of the model process."""


@dataclass(frozen=True)
class Choice:
    """The columns that were chosen, looked up."""

    stock: AdapterRegistry
    model: dict[str, Any]
    adapters: tuple[Adapter, ...]

    @property
    def folders(self) -> list[str]:
        """As the model process is told."""
        return [str(adapter.path) for adapter in self.adapters]


@dataclass(frozen=True)
class FileSettings:
    """How a file is scored, as the page holds it."""

    uploaded: str | None
    known: str | None
    retention: str | None
    reward: str
    prompts: float | None
    k: float
    longest: float

    def request(self, app_state: AppState, choice: Choice) -> dict[str, Any]:
        """The fields of a request. InputError where a choice is none."""
        if not self.prompts or self.prompts < 1:
            raise ConfigError("say how many prompts to score: a number above 0")
        old = chosen_file(app_state, choice.stock, None, self.retention) if self.retention else None
        return {
            "data": chosen_file(app_state, choice.stock, self.uploaded, self.known),
            "retention": old,
            "reward": reward_of(self.reward, choice.adapters),
            "limit": int(self.prompts),
            "k": int(self.k),
            "max_new_tokens": int(self.longest),
        }


def page_of(ask: Callable[..., Iterator[Page]]) -> Callable[..., Iterator[Page]]:
    """A generator of pages whose errors become a page too."""

    @functools.wraps(ask)
    def guarded(controller: CompareController, *args: Any) -> Iterator[Page]:
        try:
            yield from ask(controller, *args)
        except Exception as error:
            yield failure(sentence(error)), None

    return guarded


class CompareController:
    """The questions of one app, all put to one model process."""

    def __init__(self, app_state: AppState, process: ModelProcess) -> None:
        self.app_state = app_state
        self.process = process

    def choose(self, base: str, keys: Sequence[str]) -> Choice:
        """Base and adapters that a browser means.

        Raises:
            InputError: too many, gone, or of different bases.
        """
        found = find_adapters(self.app_state)
        if len(keys) > MOST_ADAPTERS:
            raise ConfigError(f"{len(keys)} adapters are chosen; compare up to {MOST_ADAPTERS}")
        adapters = tuple(found.find(key) for key in keys)
        bases = found.bases()
        if base not in bases:
            raise ConfigError("choose a base from the list")
        for adapter in adapters:
            if base_key(adapter.model) != base:
                raise ConfigError(
                    f"{adapter.name} was trained on {base_key(adapter.model)}, not on {base}; only "
                    "adapters of one base can stand side by side"
                )
        model = adapters[0].model if adapters else bases[base]
        return Choice(found, model.model_dump(mode="json"), adapters)

    @page_of
    def answer(
        self,
        base: str,
        keys: Sequence[str],
        prompt: str,
        expected: str,
        reward: str,
        longest: float,
        drawn: bool,
    ) -> Iterator[Page]:
        """Answers to a typed prompt."""
        if not prompt or not prompt.strip():
            raise DataError("type a prompt first")
        if len(prompt) > LONGEST_PROMPT:
            raise DataError(
                f"the prompt has {len(prompt):,} characters, of {LONGEST_PROMPT:,} at most"
            )
        choice = self.choose(base, keys)
        wanted = (expected or "").strip()
        request = {
            "model": choice.model,
            "adapters": choice.folders,
            "prompt": prompt,
            "answer": wanted or None,
            "reward": reward_of(reward, choice.adapters) if wanted else None,
            "max_new_tokens": int(longest),
            "temperature": 1.0 if drawn else 0.0,
            "seed": secrets.randbelow(2**31),
        }
        answers = Answers()
        yield working(LOADING), None
        with closing(self._events("chat", **request)) as events:
            for event in events:
                answers.take(event)
                yield answers.html() if answers.columns else _waiting(event), None

    @page_of
    def score(self, base: str, keys: Sequence[str], settings: FileSettings) -> Iterator[Page]:
        """Figures over a file."""
        choice = self.choose(base, keys)
        yield from self._score(
            choice.model, choice.folders, settings.request(self.app_state, choice)
        )

    @page_of
    def try_mix(
        self, base: str, first: str, second: str, share: float, settings: FileSettings
    ) -> Iterator[Page]:
        """Figures of two adapters and their mix, which is not kept."""
        choice, parts = self._mix(base, first, second, share)
        request = settings.request(self.app_state, choice)
        aside = self.app_state.workspace.new(self.app_state.workspace.tmp_dir, "trial")
        out = aside / f"mix {100 - share:.0f} to {share:.0f}"
        try:
            yield working("Mixing the two adapters …"), None
            if self._done("mix", model=choice.model, parts=parts, out=str(out)):
                folders = [*choice.folders, str(out)]
                yield from self._score(choice.model, folders, request)
            else:
                yield working("Stopped."), None
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    @page_of
    def save_mix(self, base: str, first: str, second: str, share: float) -> Iterator[Page]:
        """Keep a mix as an adapter of the workspace."""
        choice, parts = self._mix(base, first, second, share)
        out = self.app_state.workspace.new(self.app_state.workspace.exports_dir, MIX)
        yield working("Mixing the two adapters …"), None
        kept = False
        try:
            kept = self._done("mix", model=choice.model, parts=parts, out=str(out))
        finally:
            if not kept:
                shutil.rmtree(out, ignore_errors=True)
        said = f"Saved as {out.name}. It can be compared here, and exported in Export."
        yield working(said if kept else "Stopped; nothing was saved."), None

    def _mix(
        self, base: str, first: str, second: str, share: float
    ) -> tuple[Choice, list[tuple[str, float]]]:
        if not first or not second:
            raise ConfigError("choose two adapters to mix")
        if first == second:
            raise ConfigError("choose two different adapters: a mix of one with itself is itself")
        choice = self.choose(base, [first, second])
        weights = [1 - share / 100, share / 100]
        return choice, list(zip(choice.folders, weights, strict=True))

    def _score(
        self, model: dict[str, Any], folders: list[str], request: dict[str, Any]
    ) -> Iterator[Page]:
        page = self.app_state.workspace.new(self.app_state.workspace.exports_dir, "comparison")
        file = page / "comparison.html"
        dropped: list[str] = []
        asked = self._events("score", model=model, adapters=folders, page=str(file), **request)
        yield working(LOADING), None
        try:
            with closing(asked) as events:
                for event in events:
                    match event["say"]:
                        case "part":
                            done, of = event["done"], event["of"]
                            said = f"Answering and scoring: part {done} of {of} is done."
                            yield working(said, done / of), None
                        case "dropped":
                            some = event["rows"][0]
                            said = f"{event['count']:,} rows were left out, such as: {some}"
                            dropped.append(said)
                        case "scored":
                            page_file = handed_out(self.app_state.workspace, file)
                            yield styled(notes(dropped)) + figures(event), page_file
                        case "stopped":
                            yield working("Stopped. Nothing was measured."), None
                        case "waiting":
                            yield _waiting(event), None
        finally:
            if not file.is_file():
                shutil.rmtree(page, ignore_errors=True)

    def _done(self, do: str, **request: Any) -> bool:
        """Ask, and say whether it was done rather than stopped."""
        return [event["say"] for event in self._events(do, **request)][-1] == "done"

    def _events(self, do: str, **request: Any) -> Generator[Event, None, None]:
        """Events of a question. RefusedError where it is refused."""
        for event in self.process.ask(do, **request):
            if event["say"] == "refused":
                raise RefusedError(capital(event["message"]))
            yield event


def capital(said: str) -> str:
    """A sentence as it stands on a page."""
    return said[:1].upper() + said[1:]


def _waiting(event: Event) -> str:
    if event["say"] == "waiting":
        return working("Another window is asking; yours is next …")
    if event["say"] == "stopped":
        return working("Stopped.")
    return working(LOADING)
