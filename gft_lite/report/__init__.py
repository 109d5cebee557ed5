"""Reports: one HTML file about a run or about methods side by side, read from what is on disk.

numbers    values out of events, and how they are written down
record     everything a report needs to know of one run, read once
html       escaping, tables, the page
drawing    scales and the SVG element
charts     line charts; dots: the dot chart
panels     which curves there are and what each of them means
inside     one group, token by token
findings   headlines that are computed
warnings   what to be wary of in a run
stages     the stages of a pipeline, one a line
comparison the methods side by side
run, methods  the two pages

A report asks nothing of the network, runs no script, and escapes every text it did not write.
"""

from gft_lite.report.methods import METHODS_DOCUMENT, methods_document, write_methods_report
from gft_lite.report.record import read_record
from gft_lite.report.run import write_run_report
from gft_lite.report.warnings import warnings
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
