r"""Where a field comes from: a column, several joined, several as a list, or a template.

    prompt=question                    one column
    answer=reward_model.ground_truth   a field inside an object
    prompt=instruction+input           joined with a blank line, empty ones left out
    teachers=r1_answer,qwen_answer     a list of responses, empty ones left out
    prompt={instruction}\n{input}      a template; {{ and }} are braces, \n a new line

A file's column whose name contains such a sign is taken at its word. Numbered columns (teacher_1,
teacher_2, …) become the list they mean without being named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gft_lite.data.formats.cells import number_text
from gft_lite.data.rows import Fields, RowError, kind_of

How = Literal["column", "join", "list", "template"]
ColumnSpec = str | Sequence[str]

JOINT = "\n\n"
PLACE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")
ESCAPES = {r"\n": "\n", r"\t": "\t"}

NUMBERED = re.compile(r"([A-Za-z][A-Za-z_ ]*?)[ _-]?(\d{1,3})")
LIST_FIELDS = {
    "expert": "expert",
    "teacher": "teachers",
    "teachers": "teachers",
    "model_answer": "teachers",
    "response": "response",
    "completion": "completion",
    "output": "output",
    "rejected": "rejected",
}
OTHER_NAMES = {
    "experts": "expert",
    "expert_responses": "expert",
    "teacher_responses": "teachers",
    "model_answers": "teachers",
}


@dataclass(frozen=True)
class Origin:
    """Where a field comes from: as it was said, and the columns that takes."""

    said: str
    how: How
    columns: tuple[str, ...]


def read_origin(said: ColumnSpec, columns: Sequence[str]) -> Origin:
    """What the right side of `field=…` means for a file with these columns."""
    if not isinstance(said, str):
        return Origin(",".join(said), "list", tuple(said))
    if said in columns:
        return Origin(said, "column", (said,))
    names = [match.group(1) for match in PLACE.finditer(said) if match.group(1)]
    if names:
        return Origin(said, "template", tuple(dict.fromkeys(names)))
    for sign, how in (("+", "join"), (",", "list")):
        if sign in said:
            parts = tuple(part.strip() for part in said.split(sign))
            return Origin(said, "join" if how == "join" else "list", parts)
    return Origin(said, "column", (said,))


def numbered(columns: Sequence[str], taken: Sequence[str] = ()) -> dict[str, Origin]:
    """Fields that several numbered columns make up, or that stand under another name."""
    found: dict[str, list[tuple[int, str]]] = {}
    for column in columns:
        if column in taken:
            continue
        match = NUMBERED.fullmatch(column)
        field = LIST_FIELDS.get(match.group(1).strip("_ ").lower()) if match else None
        if match and field:
            found.setdefault(field, []).append((int(match.group(2)), column))
    origins = {}
    for field, parts in found.items():
        named = [field] if field in columns and field not in taken else []
        names = (*named, *(column for _, column in sorted(parts)))
        origins[field] = Origin(",".join(names), "list", names)
    for name, field in OTHER_NAMES.items():
        if name in columns and name not in taken and field not in (*columns, *origins):
            origins[field] = Origin(name, "column", (name,))
    return origins


def renamed(fields: Fields, origins: Mapping[str, Origin]) -> Fields:
    """The fields under the format's names; a column that was named is nothing else any more."""
    if not origins:
        return fields
    used = {column for origin in origins.values() for column in origin.columns}
    kept = {name: value for name, value in fields.items() if name not in used}
    return kept | {field: _value(fields, origin) for field, origin in origins.items()}


def _value(fields: Fields, origin: Origin) -> object:
    if origin.how == "column":
        return cell(fields, origin.columns[0])
    if origin.how == "list":
        values = [cell(fields, column) for column in origin.columns]
        flat = [
            entry
            for value in values
            for entry in (value if isinstance(value, (list, tuple)) else (value,))
        ]
        return [entry for entry in flat if entry is not None and entry != ""] or None
    texts = {column: _piece(fields, column) for column in origin.columns}
    if not any(texts.values()):
        return None
    if origin.how == "join":
        return JOINT.join(text for text in texts.values() if text)
    return PLACE.sub(lambda match: _filled(match, texts), _unescaped(origin.said)).strip()


def cell(fields: Fields, column: str) -> object:
    """The value of a column, or of `object.field` where no column has that name."""
    if column in fields or "." not in column:
        return fields.get(column)
    value: object = fields
    for name in column.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _piece(fields: Fields, column: str) -> str:
    value = cell(fields, column)
    if value is None or isinstance(value, str):
        return (value or "").strip()
    text = number_text(value)
    if text is None:
        raise RowError(column, f"is {kind_of(value)}; only text and numbers can be joined", value)
    return text


def _filled(match: re.Match[str], texts: Mapping[str, str]) -> str:
    name = match.group(1)
    return texts[name] if name else match.group(0)[0]


def _unescaped(template: str) -> str:
    return re.sub(r"\\[nt]", lambda match: ESCAPES[match.group(0)], template)
