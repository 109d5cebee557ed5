"""Formats whose row is a conversation or a pair of judged responses."""

from __future__ import annotations

from gft_lite.data.formats.cells import answer, first_present, is_turns, prompt, turns
from gft_lite.data.formats.pairs import last_reply, replies, with_system
from gft_lite.data.rows import Fields, RowError
from gft_lite.types import Example


def chat(row: Fields, column: str) -> Example:
    """One conversation: its last turn, the assistant's, is the expert, all before is the prompt.

    A conversation that ends with the user is a prompt, usable where the row has an `answer`.
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
    """`messages` of role and content."""
    return chat(row, "messages")


def sharegpt(row: Fields) -> Example:
    """`conversations` of from (human, gpt, system) and value."""
    return chat(row, first_present(row, ("conversations", "conversation")))


def preference(row: Fields) -> Example:
    """chosen is the expert; rejected a teacher: a demonstration that must earn its reward.

    Where chosen and rejected are whole conversations, what they share before the last turn is the
    prompt; else the prompt has its own column.
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
    """One of these columns holds chat turns."""
    return is_turns(row.get(first_present(row, columns)))
