"""The choice of base and adapters, and the lists that depend on it and on the workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gft_lite.ui.app_state import AppState
from gft_lite.ui.compare.adapter_registry import (
    Adapter,
    AdapterRegistry,
    base_key,
    base_label,
    default_files,
    find_adapters,
    known_files,
    other_runs,
)
from gft_lite.ui.compare.controller import ColumnForm, FileForm, MixForm
from gft_lite.ui.form import QUIET, Form, Updates, Values, on_arrival
from gft_lite.ui.html import empty, remarks

SUGGESTED_ADAPTERS = 2
NO_ADAPTERS = empty(
    "No adapter to compare yet",
    "Train a run first: Start → Try it makes one in two minutes. Until then only the base model "
    "answers below.",
)


@dataclass(frozen=True)
class ModelPicker:
    """The components whose choices follow the workspace and the chosen base."""

    app_state: AppState
    columns: Form[ColumnForm]
    file: Form[FileForm]
    mix: Form[MixForm]
    note: gr.HTML

    @property
    def inputs(self) -> set[Any]:
        """The components of the three forms."""
        return self.columns.inputs | self.file.inputs | self.mix.inputs

    @property
    def outputs(self) -> set[Any]:
        """All components that `refresh` updates."""
        lists = {self.file["known"], self.file["retention"], self.mix["first"], self.mix["second"]}
        return self.columns.inputs | lists | {self.note}

    def bind(self) -> None:
        """Refresh the lists when the page or the tab opens, and when the base changes."""
        on_arrival(self.refresh, self.inputs, self.outputs)
        self.columns["base"].input(self.change_base, self.inputs, self.outputs, **QUIET)
        mixed = {self.mix["first"], self.mix["second"]}
        self.columns["adapters"].input(self.suggest_mix, self.columns.inputs, mixed, **QUIET)

    def refresh(self, values: Values) -> Updates:
        """The lists as they are now; a base without adapters is replaced by one that has some."""
        registry = find_adapters(self.app_state)
        base = self.columns.read(values).base
        if registry.adapters and (base is None or not registry.on(base)):
            base = base_key(registry.adapters[0].model)
        return self._lists(registry, base, values)

    def change_base(self, values: Values) -> Updates:
        """The lists for the chosen base."""
        return self._lists(find_adapters(self.app_state), self.columns.read(values).base, values)

    def suggest_mix(self, values: Values) -> Updates:
        """Suggest the first two chosen adapters for a mix."""
        chosen = self.columns.read(values)
        adapters = find_adapters(self.app_state).on(chosen.base)
        return self._mix_lists(adapters, chosen.adapters, MixForm(None, None, 0))

    def _lists(self, registry: AdapterRegistry, base: str | None, values: Values) -> Updates:
        """All lists; a choice stays if it is still in its list."""
        bases = registry.bases()
        base = base if base in bases else next(iter(bases))
        adapters = registry.on(base)
        keys = [adapter.key for adapter in adapters]
        chosen = [key for key in self.columns.read(values).adapters or () if key in keys]
        chosen = chosen or keys[:SUGGESTED_ADAPTERS]
        others = remarks(other_runs(registry, base))
        note = others if adapters else NO_ADAPTERS + others
        return {
            self.columns["base"]: gr.Dropdown(
                choices=[(base_label(model), key) for key, model in bases.items()], value=base
            ),
            self.columns["adapters"]: gr.CheckboxGroup(
                choices=[(adapter.label, adapter.key) for adapter in adapters],
                value=chosen,
                visible=bool(adapters),
            ),
            self.note: gr.HTML(note, visible=bool(note)),
            **self._file_lists(registry, adapters, self.file.read(values)),
            **self._mix_lists(adapters, chosen, self.mix.read(values)),
        }

    def _file_lists(
        self, registry: AdapterRegistry, adapters: tuple[Adapter, ...], chosen: FileForm
    ) -> Updates:
        files = known_files(self.app_state, registry)
        choices = [(label, path) for path, label in files.items()]
        known, retention = default_files(adapters)
        known = chosen.known if chosen.known in files else known
        retention = chosen.retention if chosen.retention in files else retention
        return {
            self.file["known"]: gr.Dropdown(
                choices=choices, value=known if known in files else None
            ),
            self.file["retention"]: gr.Dropdown(
                choices=[("None", ""), *choices],
                value=retention if retention in files else "",
            ),
        }

    def _mix_lists(
        self, adapters: tuple[Adapter, ...], suggested: Sequence[str], chosen: MixForm
    ) -> Updates:
        choices = [(adapter.name, adapter.key) for adapter in adapters]
        keys = [adapter.key for adapter in adapters]
        order = [*suggested, *(key for key in keys if key not in suggested), None, None]
        first = chosen.first if chosen.first in keys else order[0]
        second = chosen.second if chosen.second in keys else order[1]
        return {
            self.mix["first"]: gr.Dropdown(choices=choices, value=first),
            self.mix["second"]: gr.Dropdown(choices=choices, value=second),
        }
