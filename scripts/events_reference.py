"""Write docs/events.md from the event classes: `python scripts/events_reference.py [--check]`."""

from __future__ import annotations

import ast
import inspect
import sys

from generated_page import main

from gft_lite.runs import events

HEAD = """# Events

Written by `scripts/events_reference.py` from [runs/events.py](../gft_lite/runs/events.py); a test
compares the two.

A run writes one event a line to `events.jsonl` in its folder. `train_iter` yields the same events
as dictionaries, and `train(..., on_event=f)` calls `f` with each of them
([python-api.md](python-api.md)). A field that was not measured is absent. A run of another version
may lack fields or have more of them. Every event has:

"""


def reference() -> str:
    """The page: one table per event."""
    parts = [
        HEAD,
        _table([(name, kind, meaning) for name, (kind, meaning) in events.ENVELOPE.items()]),
    ]
    documented = fields_of_events()
    for name, event in events.EVENTS.items():
        summary = inspect.getdoc(event) or ""
        parts += [f"\n## {name}\n\n{summary}\n\n", _table(documented[event.__name__])]
    return "".join(parts)


def fields_of_events() -> dict[str, list[tuple[str, str, str]]]:
    """Class → (field, type, docstring) of each field; an empty docstring if there is none."""
    documented = {}
    for node in ast.parse(inspect.getsource(events)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        rows = []
        for field, following in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                kind = ast.unparse(field.annotation).removesuffix(" | None")
                if kind.startswith("ClassVar"):
                    continue
                rows.append((field.target.id, _type_name(kind), _docstring(following)))
        documented[node.name] = rows
    return documented


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).split())
    return ""


def _type_name(annotation: str) -> str:
    names = {"int": "integer", "float": "number", "str": "text", "bool": "true or false"}
    if annotation.startswith("dict"):
        return "object"
    return "list of texts" if annotation.startswith("list") else names[annotation]


def _table(rows: list[tuple[str, str, str]]) -> str:
    lines = ["| field | type | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main("events.md", "events_reference.py", __doc__ or "", reference))
