"""OASST rows: one message a row, a reply names its parent. Rows become prompts with their replies.

Every prompter message that was answered becomes one record: the path from the root is the prompt,
the best-ranked reply the expert, the other replies teachers. The rows of the replies are `joined`
to it. Every other row is reported. The rows are held in memory: a reply may come before its parent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gft_lite.data.formats.cells import ROLES
from gft_lite.data.rows import BadRow, Fields, Record, kind_of

NEEDS = (("message_id",), ("parent_id",), ("text",), ("role",))
MOST_TURNS = 1000


def assembled(records: Iterable[Record]) -> Iterator[Record]:
    """Prompt records in the order of their rows, and a broken record for each row left over."""
    known: dict[str, Record] = {}
    replies: dict[str, list[Record]] = {}
    order: list[Record] = []
    for record in records:
        fault = "" if record.bad else _fault(record.fields, known)
        if record.bad or fault:
            yield record if record.bad else _broken(record, fault)
            continue
        known[str(record.fields["message_id"])] = record
        order.append(record)
        if _role(record.fields) == "assistant":
            replies.setdefault(str(record.fields.get("parent_id")), []).append(record)
    for record in order:
        name = str(record.fields["message_id"])
        if _role(record.fields) == "user":
            yield _prompt(record, known, replies.get(name, []))
        elif str(record.fields.get("parent_id")) not in known:
            yield _broken(record, "answers a message that is not in the file")
        elif _role(known[str(record.fields["parent_id"])].fields) != "user":
            yield _broken(record, "answers a message that is not the prompter's")


def _fault(fields: Fields, known: dict[str, Record]) -> str:
    name = fields.get("message_id")
    if not isinstance(name, (str, int)):
        return f"its message_id is {kind_of(name)}"
    if str(name) in known:
        return f"its message_id {str(name)[:40]} is that of row {known[str(name)].row}"
    if _role(fields) not in ("user", "assistant"):
        return "its role is neither prompter nor assistant"
    return "is marked as deleted" if fields.get("deleted") is True else ""


def _role(fields: Fields) -> str | None:
    role = fields.get("role")
    return ROLES.get(role.strip().lower()) if isinstance(role, str) else None


def _prompt(record: Record, known: dict[str, Record], replies: list[Record]) -> Record:
    if not replies:
        return _broken(record, "has no reply in this file: nothing to learn from")
    joined = tuple(reply.row for reply in replies)
    turns: list[Fields] = []
    at: Record | None = record
    while at is not None and len(turns) < MOST_TURNS:
        turns.insert(0, {"role": at.fields["role"], "content": at.fields["text"]})
        parent = at.fields.get("parent_id")
        at = known.get(str(parent)) if parent is not None else None
        if parent is not None and at is None:
            return replace(_broken(record, "goes back to a message not in the file"), joined=joined)
    if len(turns) == MOST_TURNS:
        return replace(_broken(record, "its parents form a circle"), joined=joined)
    best, *others = sorted(replies, key=lambda reply: (_rank(reply.fields), reply.row))
    fields: Fields = {
        "prompt": turns,
        "expert": best.fields["text"],
        "teachers": [other.fields["text"] for other in others] or None,
    }
    return replace(record, fields=fields, joined=joined)


def _rank(fields: Fields) -> float:
    rank = fields.get("rank")
    return float(rank) if isinstance(rank, (int, float)) else float("inf")


def _broken(record: Record, reason: str) -> Record:
    return replace(record, bad=BadRow(record.row, None, reason, place=record.place))
