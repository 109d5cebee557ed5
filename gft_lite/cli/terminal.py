"""Output in the terminal: progress on stderr, results and tables on stdout.

Everything that is printed passes `printable`, because texts come from data files, models and names,
and a terminal executes the escape sequences in them. Commands print with these functions only.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

WIDEST_TABLE = 200
SHOWN_ROWS = 10  # of the dropped rows
NOTE_EVERY_SECONDS = 5.0

# Controls but newline and tab, halves of surrogate pairs, and what reverses the order of the text
# that follows: other characters, joiners of emoji among them, are text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

errors = Console(stderr=True, highlight=False, soft_wrap=True)
results = Console(highlight=False, soft_wrap=True)


def printable(text: object) -> str:
    """A text with control characters spelled out: ESC becomes \\x1b."""
    return _CONTROL.sub(lambda m: ascii(m[0])[1:-1], str(text).replace("\r\n", "\n"))


def result(text: object) -> None:
    """A line of the result, on stdout."""
    print(printable(text))


def print_json(document: Any) -> None:
    """One JSON document on stdout and nothing else. NaN and infinity become null."""
    text = json.dumps(_finite(document), indent=1, ensure_ascii=False, default=str)
    print(_CONTROL.sub(lambda m: f"\\u{ord(m[0]):04x}", text))  # they stand in strings only


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value


def note(text: str) -> None:
    """A sentence about progress, or an error, on stderr."""
    errors.print(printable(text), markup=False, emoji=False)


def note_dropped(rows: Sequence[str], count: int | None = None) -> None:
    """Name the rows that --skip-bad-rows dropped; `count` if `rows` are not all of them."""
    count = len(rows) if count is None else count
    if not count:
        return
    lines = [f"{count:,} rows are dropped:", *(f"  {row}" for row in rows[:SHOWN_ROWS])]
    if count > SHOWN_ROWS:
        lines.append(f"  … and {count - SHOWN_ROWS:,} more")
    note("\n".join(lines))


def note_failure(part: str, message: str) -> None:
    """A part of the reward that broke on a response."""
    note(f"The reward failed on a response ({part}: {message}).")


@contextmanager
def training_progress(label: str, steps: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A progress bar with ETA; ten lines of text if stderr is not a terminal."""
    if not errors.is_terminal:
        yield lambda event: _plain_progress(label, steps, event)
        return
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task(label, total=steps, figures="")

        def show(event: Mapping[str, Any]) -> None:
            _note_message(event)
            if event["type"] == "step":
                progress.update(task, completed=event["step"], figures=step_line(event))

        yield show


@contextmanager
def counting(what: str = "rows") -> Iterator[Callable[[int, int | None], None]]:
    """Note count, speed and time left on stderr every few seconds."""
    begin = last = time.perf_counter()

    def show(rows: int, about: int | None) -> None:
        nonlocal last
        now = time.perf_counter()
        finished = rows == about
        if now - last < NOTE_EVERY_SECONDS and not (finished and now - begin > NOTE_EVERY_SECONDS):
            return
        last = now
        speed = rows / (now - begin)
        left = f", {(about - rows) / speed:.0f} s left" if about and not finished else ""
        whole = f" of about {about:,}" if about and not finished else ""
        note(f"{rows:,}{whole} {what}, {speed:,.1f} a second{left}")

    yield show


def step_line(event: Mapping[str, Any]) -> str:
    """The figures of a step that fit behind a progress bar."""
    figures = {key: value for key, value in event.items() if isinstance(value, int | float)}
    parts = [f"loss {figures['loss']:+z.3f}"] if "loss" in figures else []
    for name, key in (("expert", "reward_expert"), ("self", "reward_self")):
        if key in figures:
            parts.append(f"{name} reward {figures[key]:.2f}")
    if figures.get("truncated"):
        parts.append(f"{figures['truncated']} cut")
    return " · ".join(parts)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; the first column is a name, the others are figures."""
    grid = Table(
        title=Text(printable(title)), title_justify="left", title_style="bold", header_style="bold"
    )
    for i, name in enumerate(columns):
        grid.add_column(
            Text(printable(name)), justify="left" if i == 0 else "right", no_wrap=i == 0
        )
    for row in rows:
        grid.add_row(*(Text(printable(cell)) for cell in row))
    # in a file or a pipe there is no window to fit in
    (results if results.is_terminal else Console(highlight=False, width=WIDEST_TABLE)).print(grid)


def percent(share: float | None) -> str:
    """0.525 → '52.5 %'; a dash if it was not measured."""
    return "–" if share is None else f"{100 * share:.1f} %"


def _note_message(event: Mapping[str, Any]) -> None:
    if event["type"] == "reward_error":
        note_failure(event["part"], event["message"])
    elif "message" in event:
        note(str(event["message"]))


def _plain_progress(label: str, steps: int, event: Mapping[str, Any]) -> None:
    _note_message(event)
    every = max(1, steps // 10)
    if event["type"] == "step" and (event["step"] % every == 0 or event["step"] == steps):
        note(f"{label}: step {event['step']}/{steps} · {step_line(event)}")
