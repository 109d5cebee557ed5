"""Rows whose one `text` is a whole conversation, already written out with a template's marks.

Recognised marks: `### Human:` / `### Assistant:` (Guanaco), `### Instruction:` / `### Input:` /
`### Response:` (Alpaca), and `<|im_start|>role … <|im_end|>` (ChatML). The model's own template is
applied later, so the marks go and the turns stay. Text before the first mark is a system turn.
"""

from __future__ import annotations

import re

from gft_lite.data.formats.cells import text
from gft_lite.data.formats.chats import chat
from gft_lite.data.rows import Fields, RowError
from gft_lite.types import Example

HEADING = re.compile(r"#{2,3} (Human|User|Instruction|Input|Assistant|Response|System):[ \t]*\n?")
CHATML = re.compile(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>|\Z)", re.DOTALL)
HEADS = {
    "human": "user",
    "user": "user",
    "instruction": "user",
    "input": "user",
    "assistant": "assistant",
    "response": "assistant",
    "system": "system",
}


def rendered(row: Fields) -> Example:
    """A conversation written out as one text."""
    found = turns_in(text(row, "text"))
    if not found:
        raise RowError("text", "has no marks of turns such as '### Human:'", row.get("text"))
    return chat({**row, "text": found}, "text")


def turns_in(written: str) -> list[dict[str, str]]:
    """The turns of a written-out conversation; none where it has no marks."""
    if "<|im_start|>" in written:
        marked = [(role, content.strip()) for role, content in CHATML.findall(written)]
    else:
        before, *parts = HEADING.split(written)
        marked = [("system", before.strip())] if before.strip() and parts else []
        heads = zip(parts[::2], parts[1::2], strict=True)
        marked += [(HEADS[head.lower()], content.strip()) for head, content in heads]
    turns: list[dict[str, str]] = []
    for role, content in marked:
        if turns and turns[-1]["role"] == role == "user":
            turns[-1]["content"] += f"\n\n{content}" if content else ""
        else:
            turns.append({"role": role, "content": content})
    return turns


def has_marks(row: Fields) -> bool:
    """The text has the marks of at least two turns."""
    written = row.get("text")
    return isinstance(written, str) and len(turns_in(written)) > 1
