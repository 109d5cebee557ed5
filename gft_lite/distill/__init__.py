"""Teacher responses for a file of prompts: received, recorded, filtered, written.

    prompts ─ teacher ─▶ responses ─ journal (append only) ─▶ scored, without repetition
            ─ likelihood (optional) ─▶ canonical rows with teachers

Importing this does not import torch; a local teacher does when it is created.
"""

from gft_lite.distill.journal import Journal, JournalEntry
from gft_lite.distill.run import DistillResult, ResponseFilter, distill
from gft_lite.distill.teachers import (
    Endpoint,
    FailedResponse,
    Teacher,
    TeacherResponse,
    endpoint_teacher,
    local_teacher,
)

__all__ = [
    "DistillResult",
    "Endpoint",
    "FailedResponse",
    "Journal",
    "JournalEntry",
    "ResponseFilter",
    "Teacher",
    "TeacherResponse",
    "distill",
    "endpoint_teacher",
    "local_teacher",
]
