"""The GPU of this machine, asked of its driver: no torch, no CUDA context."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache

QUESTION = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
PATIENCE_SECONDS = 10


@dataclass(frozen=True)
class Card:
    """A GPU: its name, and its memory in GiB."""

    name: str
    gib: float


@cache
def this_card() -> Card | None:
    """The first GPU; None without a GPU or if its driver does not answer."""
    try:
        answer = subprocess.run(
            QUESTION, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return card_of(answer.stdout)


def card_of(output: str) -> Card | None:
    """Parse the first line, `name, MiB`; None if it has another form."""
    name, comma, mib = (output.splitlines() or [""])[0].rpartition(",")
    return Card(name.strip(), int(mib) / 1024) if comma and mib.strip().isdigit() else None
