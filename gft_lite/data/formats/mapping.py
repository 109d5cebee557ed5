r"""Where a field comes from: a column, a list of columns, or a template of columns.

    prompt: question                       one column
    answer: reward_model.ground_truth      a field inside an object
    teachers: [r1_answer, qwen_answer]     a list of responses; empty cells are left out
    prompt: '{instruction}\n{input}'       a template; {{ and }} are braces, \n is a new line

A name of an existing column is always that column, whatever characters it contains. Numbered
columns (teacher_1, teacher_2, …) form a list without being named. The older forms `a,b` (a list)
and `a+b` (joined with a blank line) are converted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gft_lite.data.formats.cells import number_text
from gft_lite.data.rows import Fields, RowError, kind_of

ColumnSpec = str | Sequence[str]

PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")
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
class FieldSource:
    """Where a field comes from.

    Attributes:
        spec: the specification, for messages.
        columns: the columns that it uses.
        is_list: the field is the list of the values of `columns`.
        template: the text to fill in; "" if there is none.
        is_joined: the older form `a+b`: an empty cell leaves no blank line, as in no template.
        current_form: for a specification in an older form, how it is written now.
    """

    spec: str
    columns: tuple[str, ...]
    is_list: bool = False
    template: str = ""
    is_joined: bool = False
    current_form: str = ""


def parse_source(spec: ColumnSpec, columns: Sequence[str]) -> FieldSource:
    """Read the specification of one field for a file with these columns."""
    if not isinstance(spec, str):
        return FieldSource(",".join(spec), tuple(spec), is_list=True)
    if spec in columns:
        return FieldSource(spec, (spec,))
    placeholders = [match.group(1) for match in PLACEHOLDER.finditer(spec) if match.group(1)]
    if placeholders:
        return FieldSource(spec, tuple(dict.fromkeys(placeholders)), template=spec)
    for sign in "+,":
        if sign in spec:
            return _converted_form(spec, sign)
    return FieldSource(spec, (spec,))


def _converted_form(spec: str, sign: str) -> FieldSource:
    """A specification in one of the older forms `a,b` and `a+b`."""
    names = tuple(name.strip() for name in spec.split(sign))
    if sign == ",":
        return FieldSource(spec, names, is_list=True, current_form=f"[{', '.join(names)}]")
    template = r"\n\n".join(f"{{{name}}}" for name in names)
    return FieldSource(spec, names, template=template, is_joined=True, current_form=f"'{template}'")


def numbered_sources(columns: Sequence[str], mapped: Sequence[str] = ()) -> dict[str, FieldSource]:
    """Fields that numbered columns form, and fields under another name.

    Args:
        columns: the columns of a file.
        mapped: columns that a mapping uses already.
    """
    parts: dict[str, list[tuple[int, str]]] = {}
    for column in columns:
        if column in mapped:
            continue
        match = NUMBERED.fullmatch(column)
        field = LIST_FIELDS.get(match.group(1).strip("_ ").lower()) if match else None
        if match and field:
            parts.setdefault(field, []).append((int(match.group(2)), column))
    sources = {}
    for field, numbered in parts.items():
        unnumbered = [field] if field in columns and field not in mapped else []
        names = (*unnumbered, *(column for _, column in sorted(numbered)))
        sources[field] = FieldSource(",".join(names), names, is_list=True)
    for name, field in OTHER_NAMES.items():
        if name in columns and name not in mapped and field not in (*columns, *sources):
            sources[field] = FieldSource(name, (name,))
    return sources


def apply_mapping(fields: Fields, sources: Mapping[str, FieldSource]) -> Fields:
    """The row under the field names of its format; a mapped column has no other meaning.

    Raises:
        RowError: a value cannot be put into a template.
    """
    if not sources:
        return fields
    used = {column for source in sources.values() for column in source.columns}
    unmapped = {name: value for name, value in fields.items() if name not in used}
    return unmapped | {field: _value(fields, source) for field, source in sources.items()}


def _value(fields: Fields, source: FieldSource) -> object:
    if source.is_list:
        values: list[object] = []
        for column in source.columns:
            value = _cell(fields, column)
            values += value if isinstance(value, (list, tuple)) else [value]
        return [value for value in values if value is not None and value != ""] or None
    if not source.template:
        return _cell(fields, source.columns[0])
    texts = {column: _cell_text(fields, column) for column in source.columns}
    if not any(texts.values()):
        return None
    if source.is_joined:
        return "\n\n".join(text for text in texts.values() if text)

    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        return texts[name] if name else match.group(0)[0]  # {{ and }} are single braces

    template = re.sub(r"\\[nt]", lambda match: ESCAPES[match.group(0)], source.template)
    return PLACEHOLDER.sub(fill, template).strip()


def _cell(fields: Fields, column: str) -> object:
    """The value of a column, or of `object.field` if no column has that name."""
    if column in fields or "." not in column:
        return fields.get(column)
    value: object = fields
    for name in column.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _cell_text(fields: Fields, column: str) -> str:
    value = _cell(fields, column)
    if value is None or isinstance(value, str):
        return (value or "").strip()
    text = number_text(value)
    if text is None:
        raise RowError(column, f"is {kind_of(value)}; only text and numbers can be joined", value)
    return text
