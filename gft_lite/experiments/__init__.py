"""Methods side by side on one file: the engine of `gft-lite demo` and `gft-lite compare-methods`.

plan    the variants, and the check that each of them can train
split   rows for training, for the choice of settings, and for the final measurement
run     base, variants, choice of a learning rate, results
rows    the lines of the table, and what they allow to conclude
demo    the variants of the demo

Every variant trains from the same base with the same seed, prompts, order and steps (or token
budget), each in an ordinary run directory below the output folder, and is measured on the same
held-out prompts; the base is the first row. If a variant has several learning rates, each is
trained, and the best one on a separate set of prompts is chosen. No final figure is measured on
that set.

An interrupted comparison continues when the command is repeated: finished runs are read, not
trained again.
"""

from gft_lite.experiments.plan import Variant
from gft_lite.experiments.rows import Row
from gft_lite.experiments.run import MethodComparison, run_comparison

__all__ = ["MethodComparison", "Row", "Variant", "run_comparison"]
