"""What people see in the terminal: progress and tables on stderr, results on stdout."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

WIDEST_TABLE = 200
SHOWN_ROWS = 10  # of those that are dropped
TOLD_EVERY_SECONDS = 5.0

errors = Console(stderr=True, highlight=False, soft_wrap=True)
results = Console(highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """One JSON document on stdout and nothing else; what is no number is null, as JSON has none."""
    json.dump(_finite(document), sys.stdout, indent=1, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value


def note(text: str) -> None:
    """A sentence about progress."""
    errors.print(text, markup=False)


def note_dropped(rows: Sequence[str], count: int | None = None) -> None:
    """Name the rows that --skip-bad-rows dropped; `count` where `rows` are not all of them."""
    count = len(rows) if count is None else count
    if not count:
        return
    lines = [f"{count:,} rows are dropped:", *(f"  {row}" for row in rows[:SHOWN_ROWS])]
    if count > SHOWN_ROWS:
        lines.append(f"  … and {count - SHOWN_ROWS:,} more")
    note("\n".join(lines))


@contextmanager
def training_progress(label: str, steps: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A bar with ETA, moved by events; where stderr is no terminal, ten lines of text."""
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
    """How many, how many a second and what is left, on stderr, where it takes a while."""
    begin = last = time.perf_counter()

    def show(rows: int, about: int | None) -> None:
        nonlocal last
        now = time.perf_counter()
        finished = rows == about
        if now - last < TOLD_EVERY_SECONDS and not (finished and now - begin > TOLD_EVERY_SECONDS):
            return
        last = now
        speed = rows / (now - begin)
        left = f", {(about - rows) / speed:.0f} s left" if about and not finished else ""
        whole = f" of about {about:,}" if about and not finished else ""
        note(f"{rows:,}{whole} {what}, {speed:,.1f} a second{left}")

    yield show


def step_line(event: Mapping[str, Any]) -> str:
    """The few figures of a step that fit behind a bar."""
    parts = [f"loss {event['loss']:+z.3f}"]
    for name, key in (("expert", "reward_expert"), ("self", "reward_self")):
        if key in event:
            parts.append(f"{name} reward {event[key]:.2f}")
    if event.get("truncated"):
        parts.append(f"{event['truncated']} cut")
    return " · ".join(parts)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; the first column is a name, the others are figures."""
    grid = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for i, name in enumerate(columns):
        grid.add_column(name, justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in rows:
        grid.add_row(*row)
    # in a file or a pipe there is no window to fit in
    (results if results.is_terminal else Console(highlight=False, width=WIDEST_TABLE)).print(grid)


def percent(share: float | None) -> str:
    """0.525 → '52.5 %'; a dash for what was not measured."""
    return "–" if share is None else f"{100 * share:.1f} %"


def _note_message(event: Mapping[str, Any]) -> None:
    if "message" in event:
        note(str(event["message"]))


def _plain_progress(label: str, steps: int, event: Mapping[str, Any]) -> None:
    _note_message(event)
    every = max(1, steps // 10)
    if event["type"] == "step" and (event["step"] % every == 0 or event["step"] == steps):
        note(f"{label}: step {event['step']}/{steps} · {step_line(event)}")
