"""Run directories: what is in them, who may write to them, how a run changes state.

directory   the files of a run: configuration, events, groups, checkpoints
lifecycle   states of a run; an error or a signal is recorded before the run ends
atomic      files and folders that are written whole or not at all
resources   a shortage of disk, memory or files as one sentence
"""

from gft_lite.runs.directory import (
    BUSY,
    CHECKPOINT,
    LARGEST_CONFIG,
    LARGEST_STATUS,
    LOCK_SECONDS,
    SECTIONS,
    STATES,
    TO_WRITE,
    UNREADABLE,
    RunDir,
    State,
    Status,
    changed_at,
    claim_empty,
    is_run,
    list_runs,
    of_stage,
    parse_event,
    stage_number,
    step_of,
    writing,
)

__all__ = [
    "BUSY",
    "CHECKPOINT",
    "LARGEST_CONFIG",
    "LARGEST_STATUS",
    "LOCK_SECONDS",
    "SECTIONS",
    "STATES",
    "TO_WRITE",
    "UNREADABLE",
    "RunDir",
    "State",
    "Status",
    "changed_at",
    "claim_empty",
    "is_run",
    "list_runs",
    "of_stage",
    "parse_event",
    "stage_number",
    "step_of",
    "writing",
]
