"""Run directories: their files, who may write to them, and how a run changes its state.

directory      paths, lock, stages, checkpoints of a run
events         every event of a run, as a documented dataclass
event_log      events.jsonl
status         status.json
stored_groups  groups/
damage         the files of a run that cannot be read
lifecycle      an error or a signal is recorded before the run ends
reading        files that may be damaged
atomic         files and folders that are written whole or not at all
resources      a shortage of disk, memory or files as one sentence
"""

from gft_lite.runs.damage import damage_report, damaged_groups
from gft_lite.runs.directory import (
    RunDir,
    changed_at,
    claim_empty,
    is_run,
    list_runs,
    stage_number,
    step_of,
    writing,
)
from gft_lite.runs.event_log import of_stage, parse_event
from gft_lite.runs.status import BUSY, State, Status
from gft_lite.runs.stored_groups import write_groups

__all__ = [
    "BUSY",
    "RunDir",
    "State",
    "Status",
    "changed_at",
    "claim_empty",
    "damage_report",
    "damaged_groups",
    "is_run",
    "list_runs",
    "of_stage",
    "parse_event",
    "stage_number",
    "step_of",
    "write_groups",
    "writing",
]
