"""Forms of the page: named components whose values are read into a frozen dataclass.

A handler that is bound to a set of components receives one dict, component → value, and returns a
dict of the components that change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar, cast

import gradio as gr
from gradio.blocks import Block
from gradio.context import Context

Values = Mapping[Block, Any]
Updates = dict[Block, Any]
Record = TypeVar("Record")  # a dataclass

# Options of events that show no progress bar and are not part of the app's programming interface.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class Form(Generic[Record]):
    """Components by the names of a dataclass's fields.

    A field may also have several components by name; its value is then a dict, name → value.
    """

    record: type[Record]
    components: Mapping[str, Any]

    def __post_init__(self) -> None:
        names = {field.name for field in fields(cast(Any, self.record))}
        if names != set(self.components):
            raise TypeError(f"{self.record.__name__}: {names ^ set(self.components)} do not match")

    def __getitem__(self, name: str) -> Any:
        """The component of a field."""
        return self.components[name]

    @property
    def inputs(self) -> set[Block]:
        """All components, as the `inputs` of an event."""
        inputs: set[Block] = set()
        for component in self.components.values():
            inputs.update(component.values() if isinstance(component, Mapping) else [component])
        return inputs

    def read(self, values: Values) -> Record:
        """The values of the form's own components; others in `values` are ignored."""
        return self.record(
            **{
                name: {key: values[part] for key, part in component.items()}
                if isinstance(component, Mapping)
                else values[component]
                for name, component in self.components.items()
            }
        )


def on_arrival(handler: Callable[..., Any], inputs: set[Block], outputs: Any) -> None:
    """Call a handler when the page opens, and when the tab that is being built is selected."""
    page, tab = Context.root_block, Context.block
    arrivals = [page.load] if page else []
    arrivals += [tab.select] if isinstance(tab, gr.Tab) else []
    gr.on(arrivals, handler, inputs, outputs, **QUIET)
