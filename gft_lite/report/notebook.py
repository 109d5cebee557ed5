"""Runs, data and comparisons as the outputs of a notebook's cells.

    from gft_lite.report import notebook

    view = display(notebook.curves("runs/first"), display_id=True)
    for event in train_iter(config, "runs/first"):
        view.update(notebook.curves("runs/first"))

Each is a part of a report page, with the page's styles kept to itself. Nothing here needs IPython:
a cell shows whatever has `_repr_html_`. Nothing heavy is imported either: which backend a process
can have is decided by what it imports first.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gft_lite.data import Report
from gft_lite.report.data import data_headline, data_sections
from gft_lite.report.findings import run_headline, warnings
from gft_lite.report.groups import inside_groups
from gft_lite.report.html import fragment, notes
from gft_lite.report.record import read_record
from gft_lite.report.run import run_curves
from gft_lite.runs import RunDir

if TYPE_CHECKING:
    from gft_lite.adapters.compare import Comparison

RunPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Shown:
    """Finished markup that a notebook shows."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


def curves(run: RunPath) -> Shown:
    """Where a run is and every curve so far; may be asked for before the first step."""
    record = read_record(RunDir(run))
    prefix = f"c{zlib.crc32(os.fspath(run).encode()):08x}-"
    parts = [run_curves(record, prefix=prefix), notes(warnings(record))]
    return Shown(fragment(headline=run_headline(record), html=parts))


def groups(run: RunPath) -> Shown:
    """An early and a late group of a run from the inside.

    Raises:
        RunError: no run there.
    """
    record = read_record(RunDir.open(run))
    inside = inside_groups(record) or notes(["No group with a gradient has been stored yet."])
    return Shown(fragment(headline=f"Inside the groups of {record.name}", html=[inside]))


def data(report: Report) -> Shown:
    """What `check_file` found."""
    return Shown(fragment(headline=data_headline(report), html=data_sections(report)))


def comparison(compared: Comparison) -> Shown:
    """Base and adapters side by side: figures, identities, differences, answers."""
    from gft_lite.report.compare_page import compare_sections  # imports torch

    headline = f"{compared.model}: {' · '.join(column.name for column in compared.columns)}"
    return Shown(fragment(headline=headline, html=compare_sections(compared)))
