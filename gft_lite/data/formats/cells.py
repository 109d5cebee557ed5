"""Cells to text: each function takes a row and a column, and returns text or raises RowError.

Text is not stripped or normalised; only final answers lose outer white space. An absent cell and
null are the same. A cell with turns or teachers as JSON text, as in a CSV file, is decoded.
"""

from __future__ import annotations

import json
import math
import re
from typing import Literal

from gft_lite.data.rows import Fields, RowError, kind_of
from gft_lite.types import Message

Role = Literal["system", "user", "assistant", "tool"]

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
EXACT_FLOAT = 2.0**53


def first_present(row: Fields, columns: tuple[str, ...]) -> str:
    """The first of these columns that has a value; the first column if none has."""
    return next((name for name in columns if row.get(name) is not None), columns[0])


def checked(value: object, column: str, part: str = "") -> str:
    """The value as usable text: a string, not blank, without NUL, encodable as UTF-8.

    `part` names the part of the cell for messages, such as "turn 2 (user)".
    """
    part = f"{part} " if part else ""
    if value is None:
        raise RowError(column, f"{part}is missing or empty")
    if not isinstance(value, str):
        raise RowError(column, f"{part}is {kind_of(value)}, text is needed", value)
    if not value.strip():
        raise RowError(column, f"{part}is empty", value)
    if "\x00" in value:
        raise RowError(column, f"{part}holds a NUL character; remove it", value)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        reason = f"{part}holds half of a character (a lone surrogate); remove it"
        raise RowError(column, reason, value[max(0, error.start - 16) :]) from None
    return value


def text(row: Fields, column: str) -> str:
    """The text of a required column."""
    return checked(row.get(column), column)


def optional_text(row: Fields, column: str) -> str:
    """The text of a column; "" if it is absent, null or blank."""
    value = row.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    return checked(value, column)


def texts(row: Fields, column: str) -> tuple[str, ...]:
    """The texts of a column that holds none, one, or a list of them."""
    value = row.get(column)
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        return tuple(checked(v, column, f"entry {n}") for n, v in enumerate(value, start=1))
    return (checked(value, column),)


def listed_texts(row: Fields, column: str) -> tuple[str, ...]:
    """As `texts`; a JSON list written as text is decoded."""
    value = row.get(column)
    if isinstance(value, str) and re.match(r"\s*\[\s*[\"']", value):
        items = _json(value)
        if not isinstance(items, list):
            raise RowError(column, 'looks like a list but is not JSON; write ["…", "…"]', value)
        return texts({column: items}, column)
    return texts(row, column)


def answer(row: Fields, column: str) -> str | None:
    """A final answer as text; a number becomes its text, 72.0 the text "72"."""
    value = row.get(column)
    if value is None:
        return None
    return number_text(value) or checked(value, column).strip()


def number_text(value: object) -> str | None:
    """A number as text, 72.0 as "72"; None for anything else."""
    if isinstance(value, float) and math.isfinite(value):
        whole = value.is_integer() and abs(value) < EXACT_FLOAT
        return str(int(value)) if whole else repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def record(row: Fields, column: str) -> Fields:
    """A nested object, or JSON text of one; {} if it is absent."""
    value = row.get(column)
    if isinstance(value, str):
        value = _json(value)
    if value is None and row.get(column) is None:
        return {}
    if not isinstance(value, dict):
        raise RowError(column, "is not an object with named fields", row.get(column))
    return value


def prompt(row: Fields, column: str) -> tuple[Message, ...]:
    """A prompt: text becomes one user turn, a list is read as turns."""
    value = row.get(column)
    if is_turns(value):
        return turns(row, column)
    if isinstance(value, (list, tuple)):
        raise RowError(column, "is a list but not of turns with role and content", value)
    return (Message("user", checked(value, column)),)


def is_turns(value: object) -> bool:
    """True for a list, or JSON text of one, whose first entry looks like a chat turn."""
    if isinstance(value, str):
        if not re.match(r"\s*\[\s*\{", value):
            return False
        value = _json(value)
    if not isinstance(value, (list, tuple)) or not value or not isinstance(value[0], dict):
        return False
    return ("role" in value[0] and "content" in value[0]) or (
        "from" in value[0] and "value" in value[0]
    )


def turns(row: Fields, column: str) -> tuple[Message, ...]:
    """Chat turns with role/content or from/value; an empty system turn is left out."""
    value = row.get(column)
    if value is None:
        raise RowError(column, "is missing or empty")
    items = _json(value) if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        raise RowError(column, "is not a list of turns with role and content", value)
    if not items:
        raise RowError(column, "has no turns", value)
    messages = []
    for number, item in enumerate(items, start=1):
        message = _turn(item, column, number)
        if message is not None:
            messages.append(message)
    return tuple(messages)


def _turn(item: object, column: str, number: int) -> Message | None:
    if not isinstance(item, dict):
        raise RowError(column, f"turn {number} is {kind_of(item)}, not a role with content", item)
    name, content = item.get("role", item.get("from")), item.get("content", item.get("value"))
    role = ROLES.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        known = "system, user, assistant or tool"
        raise RowError(column, f"turn {number} has an unknown role; use {known}", name or "none")
    if isinstance(content, (list, tuple)) and content:
        content = "".join(_part(part, column, number) for part in content)
    if role == "system" and (content is None or content == ""):
        return None
    if role == "assistant" and not content and item.get("tool_calls"):
        reason = f"turn {number} (assistant) is a tool call without text; only text is trained on"
        raise RowError(column, reason, item["tool_calls"])
    return Message(role, checked(content, column, f"turn {number} ({role})"))


def _part(part: object, column: str, number: int) -> str:
    content = part.get("text") if isinstance(part, dict) else None
    if not isinstance(content, str) or not isinstance(part, dict) or part.get("type") != "text":
        raise RowError(column, f"turn {number} holds a part that is not text", part)
    return content


def _json(value: str) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def boxed(solution: str) -> str | None:
    r"""The content of the last \boxed{…} of a solution, with balanced braces; None without one."""
    # Escaped braces, as in \\left\\{, do not count.
    starts = [match.end() for match in re.finditer(r"\\f?boxed\s*\{", solution)]
    for start in reversed(starts):
        depth = 1
        for position in range(start, len(solution)):
            escaped = solution[position - 1] == "\\"
            depth += {"{": 1, "}": -1}.get(solution[position], 0) * (not escaped)
            if depth == 0:
                return solution[start:position].strip() or None
    return None
