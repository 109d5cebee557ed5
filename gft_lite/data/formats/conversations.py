"""Formats whose row is a conversation, a conversation written as text, or a message of a tree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from gft_lite.data.formats.cells import ROLES, answer, first_present, is_turns, prompt, text, turns
from gft_lite.data.formats.pairs import last_reply, replies, with_system
from gft_lite.data.rows import BadRow, Fields, Record, RowError, kind_of
from gft_lite.types import Example

# --- turns ---


def chat(row: Fields, column: str) -> Example:
    """One conversation: the last turn, of the assistant, is the expert; the rest is the prompt.

    A conversation that ends with the user is a prompt, usable if the row has an `answer`.
    """
    messages = with_system(row, turns(row, column))
    reference = answer(row, "answer")
    if messages and messages[-1].role == "assistant":
        return Example(messages[:-1], (messages[-1].content,), (), reference)
    if reference is None:
        role = messages[-1].role if messages else "system"
        reason = f"ends with a turn of the {role}; the last turn must be the assistant's answer"
        raise RowError(column, reason, messages[-1].content if messages else None)
    return Example(messages, answer=reference)


def openai_messages(row: Fields) -> Example:
    """`messages` with role and content."""
    return chat(row, "messages")


def sharegpt(row: Fields) -> Example:
    """`conversations` with from (human, gpt, system) and value."""
    return chat(row, first_present(row, ("conversations", "conversation")))


def preference(row: Fields) -> Example:
    """`chosen` is the expert, `rejected` a teacher, which must earn its reward.

    If both are whole conversations, their turns before the last one are the prompt; else the prompt
    has a column of its own.
    """
    before, chosen = last_reply(row, "chosen")
    before_rejected, rejected = replies(row, "rejected")
    if before and before_rejected and before != before_rejected:
        raise RowError(
            "rejected", "answers another prompt than 'chosen'", before_rejected[-1].content
        )
    if not before:
        column = first_present(row, ("prompt", "question", "instruction"))
        if row.get(column) is None:
            reason = "is missing, and 'chosen' holds only the response; add the prompt's column"
            raise RowError("prompt", reason)
        before = prompt(row, column)
    return Example(with_system(row, before), (chosen,), rejected, answer(row, "answer"))


def has_turns(row: Fields, columns: tuple[str, ...]) -> bool:
    """True if one of these columns holds chat turns."""
    return is_turns(row.get(first_present(row, columns)))


# --- turns written as text ---
#
# Markers: `### Human:` / `### Assistant:` (Guanaco), `### Instruction:` / `### Input:` /
# `### Response:` (Alpaca), and `<|im_start|>role … <|im_end|>` (ChatML). They are removed, for the
# chat template of the model is applied later. Text before the first marker is a system turn.

HEADING = re.compile(r"#{2,3} (Human|User|Instruction|Input|Assistant|Response|System):[ \t]*\n?")
CHATML = re.compile(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>|\Z)", re.DOTALL)
ROLE_OF_HEADING = {
    "human": "user",
    "user": "user",
    "instruction": "user",
    "input": "user",
    "assistant": "assistant",
    "response": "assistant",
    "system": "system",
}


def marked_text(row: Fields) -> Example:
    """`text` with the markers of turns."""
    marked_turns = turns_of_text(text(row, "text"))
    if not marked_turns:
        raise RowError("text", "has no marks of turns such as '### Human:'", row.get("text"))
    return chat({**row, "text": marked_turns}, "text")


def turns_of_text(content: str) -> list[dict[str, str]]:
    """The turns of a conversation written as text; empty without markers."""
    if "<|im_start|>" in content:
        parts = [(role, part.strip()) for role, part in CHATML.findall(content)]
    else:
        before, *split = HEADING.split(content)
        parts = [("system", before.strip())] if before.strip() and split else []
        headings = zip(split[::2], split[1::2], strict=True)
        parts += [(ROLE_OF_HEADING[head.lower()], part.strip()) for head, part in headings]
    turns: list[dict[str, str]] = []
    for role, part in parts:
        if turns and turns[-1]["role"] == role == "user":  # an instruction and its input
            turns[-1]["content"] += f"\n\n{part}" if part else ""
        else:
            turns.append({"role": role, "content": part})
    return turns


def has_markers(row: Fields) -> bool:
    """True if the text has markers of at least two turns."""
    content = row.get("text")
    return isinstance(content, str) and len(turns_of_text(content)) > 1


# --- message trees (OASST) ---

TREE_COLUMNS = (("message_id",), ("parent_id",), ("text",), ("role",))
MAX_TURNS = 1000


def prompts_of_trees(records: Iterable[Record]) -> Iterator[Record]:
    """One record for each prompter message that was answered, in the order of the rows.

    The path from the root is the prompt, the best-ranked reply the expert, the other replies are
    teachers. The rows of the replies are `joined` to the record; every other row is a broken
    record. All rows are held in memory, because a reply may precede its parent.
    """
    messages: dict[str, Record] = {}
    replies: dict[str, list[Record]] = {}
    for record in records:
        fault = "" if record.bad else _message_fault(record.fields, messages)
        if record.bad or fault:
            yield record if record.bad else _broken(record, fault)
            continue
        messages[str(record.fields["message_id"])] = record
        if _role(record.fields) == "assistant":
            replies.setdefault(str(record.fields.get("parent_id")), []).append(record)
    for message_id, record in messages.items():
        parent = str(record.fields.get("parent_id"))
        if _role(record.fields) == "user":
            yield _tree_prompt(record, messages, replies.get(message_id, []))
        elif parent not in messages:
            yield _broken(record, "answers a message that is not in the file")
        elif _role(messages[parent].fields) != "user":
            yield _broken(record, "answers a message that is not the prompter's")


def _message_fault(fields: Fields, messages: dict[str, Record]) -> str:
    message_id = fields.get("message_id")
    if not isinstance(message_id, (str, int)):
        return f"its message_id is {kind_of(message_id)}"
    if str(message_id) in messages:
        row = messages[str(message_id)].row
        return f"its message_id {str(message_id)[:40]} is that of row {row}"
    if _role(fields) not in ("user", "assistant"):
        return "its role is neither prompter nor assistant"
    return "is marked as deleted" if fields.get("deleted") is True else ""


def _role(fields: Fields) -> str | None:
    role = fields.get("role")
    return ROLES.get(role.strip().lower()) if isinstance(role, str) else None


def _tree_prompt(record: Record, messages: dict[str, Record], replies: list[Record]) -> Record:
    if not replies:
        return _broken(record, "has no reply in this file: nothing to learn from")
    joined = tuple(reply.row for reply in replies)
    path: list[Fields] = []  # from the root to this message
    current: Record | None = record
    while current is not None and len(path) < MAX_TURNS:
        path.insert(0, {"role": current.fields["role"], "content": current.fields["text"]})
        parent = current.fields.get("parent_id")
        current = messages.get(str(parent)) if parent is not None else None
        if parent is not None and current is None:
            return replace(_broken(record, "goes back to a message not in the file"), joined=joined)
    if len(path) == MAX_TURNS:
        return replace(_broken(record, "its parents form a circle"), joined=joined)
    best, *others = sorted(replies, key=lambda reply: (_rank(reply.fields), reply.row))
    fields: Fields = {
        "prompt": path,
        "expert": best.fields["text"],
        "teachers": [other.fields["text"] for other in others] or None,
    }
    return replace(record, fields=fields, joined=joined)


def _rank(fields: Fields) -> float:
    rank = fields.get("rank")
    return float(rank) if isinstance(rank, (int, float)) else float("inf")


def _broken(record: Record, reason: str) -> Record:
    return replace(record, bad=BadRow(record.row, None, reason, place=record.place))
