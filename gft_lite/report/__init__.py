"""Reports: one HTML file about a run or about methods side by side, read from what is on disk.

numbers    values out of events, and how they are written down
record     everything a report needs to know of one run, read once
html       templates, shared pieces, the style sheet
charts     SVG: line charts and the dot chart
panels     which curves there are and what each of them means
groups     one group, token by token
findings   headlines and warnings that are computed
run, methods, data, compare_page   the four pages
notebook   parts of the pages as outputs of a notebook

A report needs no network, runs no script, and escapes every text from data, models and settings.
"""

from gft_lite.report.findings import warnings
from gft_lite.report.methods import METHODS_DOCUMENT, methods_document, write_methods_report
from gft_lite.report.record import read_record
from gft_lite.report.run import write_run_report
from gft_lite.runs import RunDir


def run_warnings(run: RunDir) -> list[str]:
    """What to be wary of in a run, in sentences."""
    return warnings(read_record(run))


__all__ = [
    "METHODS_DOCUMENT",
    "methods_document",
    "run_warnings",
    "write_methods_report",
    "write_run_report",
]
