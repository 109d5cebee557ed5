"""Who answers: base and adapters, and the lists that depend on what the workspace holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gft_lite.ui.app_state import AppState
from gft_lite.ui.compare.adapter_registry import (
    AdapterRegistry,
    base_key,
    base_label,
    elsewhere,
    find_adapters,
)
from gft_lite.ui.compare.compare_files import known_files, usual_files
from gft_lite.ui.compare.compare_view import quiet
from gft_lite.ui.html import empty

CHOSEN_AT_FIRST = 2
NOTHING_YET = empty(
    "No adapter to compare yet",
    "Train a run first: Start → Try it makes one in two minutes. Until then the base model alone "
    "can be asked below.",
)


@dataclass(frozen=True)
class ModelPicker:
    """The choice of columns, and what follows from it; `outputs` is what `seen` returns."""

    app_state: AppState
    base: gr.Dropdown
    adapters: gr.CheckboxGroup
    note: gr.HTML
    known: gr.Dropdown
    retention: gr.Dropdown
    first: gr.Dropdown
    second: gr.Dropdown

    @property
    def outputs(self) -> list[Any]:
        """Everything that depends on the workspace."""
        return [
            self.base,
            self.adapters,
            self.note,
            self.known,
            self.retention,
            self.first,
            self.second,
        ]

    @property
    def inputs(self) -> list[Any]:
        """What is chosen now: the arguments of `seen` and `rebased`."""
        return [x for x in self.outputs if x is not self.note]

    def seen(self, base: str | None, keys: Sequence[str], *others: str | None) -> list[Any]:
        """The lists as they are now; a base without adapters gives way to one that has some."""
        found = find_adapters(self.app_state)
        if found.adapters and (base is None or not found.on(base)):
            base = base_key(found.adapters[0].model)
        return self._lists(found, base, keys, *others)

    def rebased(self, base: str, keys: Sequence[str], *others: str | None) -> list[Any]:
        """The lists for a base that was chosen."""
        return self._lists(find_adapters(self.app_state), base, keys, *others)

    def parts(self, base: str, keys: Sequence[str]) -> list[Any]:
        """The two adapters to mix, as far as they are chosen the first of those."""
        return self._parts(find_adapters(self.app_state).on(base), keys, None, None)

    def _lists(
        self, found: AdapterRegistry, base: str | None, keys: Sequence[str], *others: str | None
    ) -> list[Any]:
        """What was chosen stays where it is still there."""
        bases = found.bases()
        base = base if base in bases else next(iter(bases))
        offered = found.on(base)
        known = [adapter.key for adapter in offered]
        kept = [key for key in keys or () if key in known] or known[:CHOSEN_AT_FIRST]
        return [
            gr.Dropdown(choices=[(base_label(m), k) for k, m in bases.items()], value=base),
            gr.CheckboxGroup(
                choices=[(a.label, a.key) for a in offered], value=kept, visible=bool(offered)
            ),
            gr.HTML(_note(found, base), visible=bool(_note(found, base))),
            *self._files(found, offered, *others[:2]),
            *self._parts(offered, kept, *others[2:]),
        ]

    def _files(self, found: AdapterRegistry, offered: Any, *chosen: str | None) -> list[Any]:
        files = known_files(self.app_state, found)
        usual = usual_files(offered)
        choices = [(label, path) for path, label in files.items()]
        values = [
            now if now in files else want if want in files else None
            for now, want in zip(chosen, usual, strict=True)
        ]
        none = [("None", "")]
        return [
            gr.Dropdown(choices=choices, value=values[0]),
            gr.Dropdown(choices=none + choices, value=values[1] or ""),
        ]

    def _parts(self, offered: Any, kept: Sequence[str], *chosen: str | None) -> list[Any]:
        choices = [(a.name, a.key) for a in offered]
        keys = [key for _, key in choices]
        wanted = [*kept, *(key for key in keys if key not in kept), None, None]
        values = [
            now if now in keys else want for now, want in zip(chosen, wanted[:2], strict=True)
        ]
        return [gr.Dropdown(choices=choices, value=value) for value in values]


def _note(found: AdapterRegistry, base: str) -> str:
    said = quiet(elsewhere(found, base))
    return said if found.on(base) else NOTHING_YET + said
