"""An error while a response was scored: one line for people, and the traceback for the log."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

MAX_MESSAGE_CHARS = 300
HEAD_CHARS, TAIL_CHARS = 1000, 4000  # of a traceback; the last frames are the reward's


@dataclass(frozen=True)
class Failure:
    """The first failure of one part of the reward.

    part: label of the part.
    message: the error with file and line, in one line.
    traceback: the full traceback, or the last output of a process that died; bounded.
    """

    part: str
    message: str
    traceback: str


def explain(fault: BaseException) -> tuple[str, str]:
    """One line with the file and line that raised, and the bounded traceback."""
    try:
        text = " ".join(str(fault).split())
    except BaseException:  # the reward's own exception class may raise here as well
        text = ""
    message = f"{type(fault).__name__}: {text}".removesuffix(": ")
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = ""
    if trace is not None:
        place = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
    return message[:MAX_MESSAGE_CHARS] + place, bounded("".join(traceback.format_exception(fault)))


def bounded(text: str) -> str:
    """The text, or its first and last characters."""
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]}\n…\n{text[-TAIL_CHARS:]}"
