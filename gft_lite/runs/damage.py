"""The damage report of a run: every file that cannot be read, in a sentence with what to do."""

from __future__ import annotations

import os

from gft_lite.runs.directory import RunDir
from gft_lite.runs.reading import UNREADABLE, describe, read_json
from gft_lite.runs.stored_groups import read_groups, stored_steps
from gft_lite.types import RunError


def damage_report(run: RunDir) -> list[str]:
    """Files of a run that cannot be read, stored groups excepted, one sentence each."""
    status, log = run.current(), run.event_log
    sentences = [status.get("message", "")] if status["state"] == "damaged" else []
    if fault := log.fault():
        sentences.append(
            f"{log.file} cannot be read ({fault}); curves and figures are lost, the "
            "adapter does not depend on them"
        )
    if broken := sum(event is None for event in log.lines()):
        lines = "1 line is" if broken == 1 else f"{broken} lines are"
        sentences.append(
            f"{log.file}: {lines} damaged and left out; curves and figures lack them, "
            "the adapter does not depend on them"
        )
    record = run.adapter_dir / "gft_lite.json"
    try:
        if os.path.lexists(record) and not isinstance(read_json(record), dict):
            raise ValueError("it is no JSON object")
    except UNREADABLE as error:
        sentences.append(
            f"{record} is damaged ({describe(error)}); the adapter's weights are a file of "
            f"their own: restore the record from a copy, or delete {run.adapter_dir} and "
            f"resume the run"
        )
    return sentences + [sentence for stage in run.stages() for sentence in damage_report(stage)]


def damaged_groups(run: RunDir) -> list[str]:
    """One sentence for each file of groups that cannot be read. Reads all of them."""
    sentences = []
    for step in stored_steps(run.groups_dir):
        try:
            read_groups(run.groups_dir, step)
        except RunError as error:
            sentences.append(str(error))
    return sentences + [sentence for stage in run.stages() for sentence in damaged_groups(stage)]
