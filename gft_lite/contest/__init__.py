"""Methods side by side on one file: the engine of `gft-lite demo` and `gft-lite compare-methods`.

plan    the entries, and the refusal of what could not be trained
split   what is trained on, what chooses settings, what is measured on
run     base, entries, choice of a learning rate, results
rows    the lines of the table, and what can honestly be said of them

Every entry trains from the same base with the same seed, prompts, order and steps (or token
budget), each in an ordinary run directory below the folder of the contest, and is measured on the
same held-out prompts; the base is the first row. Where an entry has several learning rates, each is
trained, and the one is taken that answers most of a set of prompts apart, which no final figure is
measured on.

An interrupted contest goes on when it is asked for again: finished runs are read, not repeated.
"""

from gft_lite.contest.plan import Entry
from gft_lite.contest.rows import Row
from gft_lite.contest.run import Contest, run_contest

__all__ = ["Contest", "Entry", "Row", "run_contest"]
