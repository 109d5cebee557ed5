"""Teacher responses for a file of prompts: drawn, kept as they come, filtered, written.

    prompts ─ local | endpoint ─▶ Answer ─ journal (append only) ─▶ scored, deduplicated
            ─ likelihood (optional) ─▶ canonical rows with teachers

Importing this imports no torch; the local teacher and the likelihood do.
"""

from gft_lite.distill.answers import Answer, Ask, Failed
from gft_lite.distill.endpoint import Endpoint, endpoint_teacher
from gft_lite.distill.journal import Entry, Journal
from gft_lite.distill.run import Distilled, distill

__all__ = [
    "Answer",
    "Ask",
    "Distilled",
    "Endpoint",
    "Entry",
    "Failed",
    "Journal",
    "distill",
    "endpoint_teacher",
]
