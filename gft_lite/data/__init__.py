"""Data files to Examples: reading, recognition, and the truth about every row.

    file ─ sniff ─ readers/hub ─▶ Record ─ recognise ─▶ formats ─▶ Example | BadRow ─▶ load, report

Importing this is cheap: pyarrow and datasets are imported by the readers that need them.
"""

from gft_lite.data.checks.dedup import spelled
from gft_lite.data.checks.report import Lengths, Report, check_file
from gft_lite.data.checks.report_text import read_report, report_json, report_text
from gft_lite.data.checks.warnings import KINDS, Finding, Judgement, RowScorer
from gft_lite.data.clean import Fixed, canonical_line, canonical_row, fix_file
from gft_lite.data.formats.recognise import Recognition
from gft_lite.data.formats.registry import FORMATS, Format
from gft_lite.data.load import Loaded, load_examples
from gft_lite.data.rows import BadRow
from gft_lite.data.split import Parts, parted, prompt_rank, prompts_by_rank, split_file
from gft_lite.data.store import StoredExamples, subset, where

__all__ = [
    "FORMATS",
    "KINDS",
    "BadRow",
    "Finding",
    "Fixed",
    "Format",
    "Judgement",
    "Lengths",
    "Loaded",
    "Parts",
    "Recognition",
    "Report",
    "RowScorer",
    "StoredExamples",
    "canonical_line",
    "canonical_row",
    "check_file",
    "fix_file",
    "load_examples",
    "parted",
    "prompt_rank",
    "prompts_by_rank",
    "read_report",
    "report_json",
    "report_text",
    "spelled",
    "split_file",
    "subset",
    "where",
]
