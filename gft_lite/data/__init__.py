"""Data files to examples, with a report on every row.

    file ─ readers ─▶ Record ─ formats ─▶ Example | BadRow ─ load, checks ─▶ examples, report

Importing this is cheap: readers import pyarrow and datasets when they need them.
"""

from gft_lite.data.checks.dedup import normalized_prompt
from gft_lite.data.checks.report import Lengths, Report, check_file
from gft_lite.data.checks.report_text import read_report, report_json, report_text
from gft_lite.data.checks.warnings import KINDS, Finding, RowScorer, RowScores
from gft_lite.data.clean import CleanFile, canonical_line, canonical_row, fix_file
from gft_lite.data.formats.recognise import Recognition
from gft_lite.data.formats.registry import FORMATS, Format
from gft_lite.data.load import LoadedFile, ReadOptions, load_examples
from gft_lite.data.rows import BadRow
from gft_lite.data.split import (
    SplitFiles,
    prompt_rank,
    prompts_by_rank,
    split_examples,
    split_file,
)
from gft_lite.data.store import StoredExamples, filter_examples, subset

__all__ = [
    "FORMATS",
    "KINDS",
    "BadRow",
    "CleanFile",
    "Finding",
    "Format",
    "Lengths",
    "LoadedFile",
    "ReadOptions",
    "Recognition",
    "Report",
    "RowScorer",
    "RowScores",
    "SplitFiles",
    "StoredExamples",
    "canonical_line",
    "canonical_row",
    "check_file",
    "filter_examples",
    "fix_file",
    "load_examples",
    "normalized_prompt",
    "prompt_rank",
    "prompts_by_rank",
    "read_report",
    "report_json",
    "report_text",
    "split_examples",
    "split_file",
    "subset",
]
