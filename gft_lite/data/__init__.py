"""Data files to Examples: reading, recognition, and the truth about every row.

    file ─ sniff ─ readers/hub ─▶ Record ─ recognise ─▶ formats ─▶ Example | BadRow ─▶ load, report

Importing this is cheap: pyarrow and datasets are imported by the readers that need them.
"""

from gft_lite.data.formats import FORMATS, Format
from gft_lite.data.load import Loaded, load_examples
from gft_lite.data.recognise import Recognition
from gft_lite.data.report import Lengths, Report, check_file, report_json, report_text
from gft_lite.data.rows import BadRow

__all__ = [
    "FORMATS",
    "BadRow",
    "Format",
    "Lengths",
    "Loaded",
    "Recognition",
    "Report",
    "check_file",
    "load_examples",
    "report_json",
    "report_text",
]
