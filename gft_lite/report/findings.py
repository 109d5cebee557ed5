"""Headlines that are computed: what a comparison found, what a run came to.

None of them knows which method ought to win, and differences that the number of test problems
cannot carry are called too close to call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gft_lite.report.numbers import look, number, percent
from gft_lite.report.panels import label
from gft_lite.report.record import Record

Row = Mapping[str, Any]


def margin(share: float, problems: float | None) -> float:
    """Two standard errors of a difference between two accuracies near `share`.

    2·√(2·p·(1−p)/n), each method measured on n problems and taken as independent; 0 where n is
    unknown.
    """
    if not problems:
        return 0.0
    # nobody right of n, or everybody, is no certainty: count at least one the other way
    p = min(max(share, 1 / problems), 1 - 1 / problems) if problems > 1 else 0.5
    return 2 * math.sqrt(2 * p * (1 - p) / problems)


def methods_headline(
    rows: Sequence[Row], problems: float | None, old_problems: float | None
) -> str:
    """One sentence: who learned the target best and who kept most of the old skill."""
    trained = [row for row in rows if row.get("method") != "base"]
    base = next((row for row in rows if row.get("method") == "base"), {})
    learned = _leaders(trained, "target_greedy", problems)
    kept = _leaders(trained, "old_skill_greedy", old_problems)
    before, before_old = number(base, "target_greedy"), number(base, "old_skill_greedy")
    if not learned:
        return "No method was measured on the target."
    best = number(learned[0], "target_greedy") or 0.0
    since = f", from {percent(before)} before training" if before is not None else ""
    if before is not None and best - before <= margin((best + before) / 2, problems):
        first = f"No method clearly improved on the base model's {percent(before)} of the target"
    elif len(learned) > 1:
        first = f"On the target, {_listed(learned, 'target_greedy')} are too close to call{since}"
    else:
        first = f"{_name(learned[0])} learned the target best: {percent(best)}{since}"
    if not kept or before_old == 0:  # nothing to keep
        return f"{first}."
    return f"{first}; {_kept(kept, learned, before_old)}."


def _kept(kept: Sequence[Row], learned: Sequence[Row], before: float | None) -> str:
    share = number(kept[0], "old_skill_greedy") or 0.0
    had = f", from {percent(before)}" if before is not None else ""
    if len(kept) > 1:
        return f"on the old skill, {_listed(kept, 'old_skill_greedy')} are too close to call"
    name = _name(kept[0])
    if before is not None and share >= before:
        return f"{name} lost nothing of the old skill ({percent(share)})"
    also = f"{name} also" if [kept[0]] == list(learned) else name
    return f"{also} kept most of the old skill: {percent(share)}{had}"


def _leaders(rows: Sequence[Row], key: str, problems: float | None) -> list[Row]:
    """The best row and those that cannot be told from it, best first."""
    found = [(value, row) for row in rows if (value := number(row, key)) is not None]
    found.sort(key=lambda pair: -pair[0])
    best = found[0][0] if found else 0.0
    return [row for value, row in found if best - value <= margin((best + value) / 2, problems)]


def _name(row: Row) -> str:
    return label(str(row.get("method", "")))


def _listed(rows: Sequence[Row], key: str) -> str:
    named = [f"{_name(row)} ({percent(number(row, key))})" for row in rows]
    return f"{', '.join(named[:-1])} and {named[-1]}"


# --- one run ------------------------------------------------------------------------------------


def run_headline(record: Record) -> str:
    """One sentence about where the run stands."""
    done = len(record.steps)
    wanted = number(record.status, "steps") or number(record.config, "train.steps")
    of = f" of {wanted:.0f}" if wanted else ""
    where = {
        "finished": f"Finished after {done} step{'s' * (done != 1)}",
        "stopped": f"Stopped after {done}{of} steps",
        "failed": f"Failed after {done}{of} steps",
        "interrupted": f"Interrupted after {done}{of} steps",
        "damaged": f"Damaged: {done}{of} steps can be read",
        "running": f"Running: {done}{of} steps done",
    }.get(record.state, "Not started yet")
    target = number(record.last_eval, "target.greedy_accuracy")
    if target is None:
        return f"{where}."
    before = number(record.first_eval, "target.greedy_accuracy")
    since = f", {percent(before)} before training" if before is not None and done else ""
    old = number(record.last_eval, "old_skill.greedy_accuracy")
    kept = f"; {percent(old)} on the old skill" if old is not None else ""
    return f"{where}: {percent(target)} of held-out problems right{since}{kept}."


def message(record: Record) -> str:
    """What the run said when it ended early; empty where it said nothing."""
    return str(look(record.status, "message") or "") if record.state != "finished" else ""
