"""pass@k, confidence intervals, and tests of paired differences. Pure functions.

The unit is the prompt, because a held-out set is a sample of prompts. Samples of one prompt are
averaged first: eight responses to one prompt do not count as eight prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import stdev

import torch
from torch import Tensor

RESAMPLES = 2000
CHUNK_ELEMENTS = 2**22  # resampled values alive at once
Z_95 = 1.959964  # two-sided 95 % quantile of the normal distribution
# and of Student's t, by number of values
T_95 = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedMean:
    """Mean of b − a over prompts, its 95 % interval, and a two-sided p-value of "no difference"."""

    difference: float
    interval: Interval
    p_value: float


@dataclass(frozen=True)
class PairedCounts:
    """Right and wrong of two columns on the same prompts, and the exact McNemar p-value."""

    both: int
    only_a: int
    only_b: int
    neither: int
    p_value: float


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Probability that at least one of k draws (of n, without replacement) is correct.

    The unbiased estimator 1 − C(n−c, k)/C(n, k) of arXiv 2107.03374, eq. 1.

    Raises:
        ValueError: k larger than n.
    """
    if k > n:
        raise ValueError(f"pass@{k} needs at least {k} samples a prompt, there are {n}")
    return 1.0 - comb(n - correct, k) / comb(n, k)


def powers_of_two(k: int) -> tuple[int, ...]:
    """1, 2, 4 … up to k, and k itself: the k' that pass@k' is reported for."""
    return tuple(dict.fromkeys([*(2**i for i in range(k.bit_length()) if 2**i <= k), k]))


def t_interval(values: Sequence[float]) -> float | None:
    """Half-width of the 95 % interval of a mean over seeds (Student's t).

    None below three values, which give no interval worth the name, and above ten.
    """
    if len(values) not in T_95:
        return None
    return T_95[len(values)] * stdev(values) / sqrt(len(values))


def mean_interval(values: Sequence[float], *, seed: int = 0) -> Interval:
    """Of a mean over prompts: `wilson` where every value is 0 or 1, else `bootstrap`.

    Resamples of equal values are all the same: the bootstrap would be sure of 3 right out of 3.
    """
    if _marks(values):
        return wilson(sum(value == 1 for value in values), len(values))
    return bootstrap(values, seed=seed)


def wilson(right: int, n: int) -> Interval:
    """Score interval of a share p = right/n: (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n).

    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209–212.
    """
    p, z2 = right / n, Z_95**2
    middle, half = p + z2 / (2 * n), Z_95 * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low, high = ((middle + side) / (1 + z2 / n) for side in (-half, half))
    # exact ends: rounding would leave 1e-17 or 1 − 1e-16
    return Interval(low if right else 0.0, high if right < n else 1.0)


def bootstrap(values: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Percentile interval of the mean, from seeded resamples of the prompts."""
    return _percentiles(_resampled_means(values, seed, resamples))


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES
) -> PairedMean:
    """Mean of b − a. The p-value is twice the smaller share of resampled means on one side of 0.

    It is never below 2/(resamples + 1), the least that so many resamples can show. Where all
    prompts differ alike, resamples have no width; of right and wrong (1 and 0), the interval is
    then that of `newcombe`.

    Raises:
        ValueError: not as many values on both sides.
    """
    differences = [y - x for x, y in zip(a, b, strict=True)]
    means = _resampled_means(differences, seed, resamples)
    below = int((means <= 0).sum())
    above = int((means >= 0).sum())
    p_value = min(1.0, 2 * (min(below, above) + 1) / (resamples + 1))
    around = _percentiles(means)
    if len(set(differences)) == 1 and _marks(a) and _marks(b):
        around = newcombe(mcnemar([x == 1 for x in a], [y == 1 for y in b]))
    return PairedMean(sum(differences) / len(differences), around, p_value)


def newcombe(counts: PairedCounts) -> Interval:
    """Interval of the share that b solves minus the share that a solves, on the same prompts.

    Both shares' Wilson intervals, their distances squared and added, less what the correlation φ of
    the pairs takes away: method 10 of R. G. Newcombe, Statist. Med. 17 (1998), 2635–2650.
    """
    n = counts.both + counts.only_a + counts.only_b + counts.neither
    right_a, right_b = counts.both + counts.only_a, counts.both + counts.only_b
    a, b = wilson(right_a, n), wilson(right_b, n)
    p_a, p_b = right_a / n, right_b / n
    together = counts.both * counts.neither - counts.only_a * counts.only_b
    margins = right_a * (n - right_a) * right_b * (n - right_b)
    corrected = max(together - n / 2, 0.0) if together > 0 else together
    phi = corrected / sqrt(margins) if margins else 0.0
    below = _apart(p_b - b.low, a.high - p_a, phi)
    above = _apart(b.high - p_b, p_a - a.low, phi)
    return Interval(p_b - p_a - below, p_b - p_a + above)


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> PairedCounts:
    """Exact McNemar test: of the prompts that only one side solved, is each side's share a half?

    p = min(1, 2·Σ_{i ≤ min(only_a, only_b)} C(m, i)/2^m with m = only_a + only_b); 1 where m = 0.

    Raises:
        ValueError: not as many values on both sides.
    """
    pairs = list(zip(a, b, strict=True))
    only_a = sum(x and not y for x, y in pairs)
    only_b = sum(y and not x for x, y in pairs)
    both = sum(x and y for x, y in pairs)
    m = only_a + only_b
    tail = sum(comb(m, i) for i in range(min(only_a, only_b) + 1))
    return PairedCounts(both, only_a, only_b, len(pairs) - both - m, min(1.0, 2 * tail / 2**m))


def _marks(values: Sequence[float]) -> bool:
    """Whether all values are 0 or 1: correct or not, no graded reward."""
    return all(value in (0, 1) for value in values)


def _apart(x: float, y: float, correlation: float) -> float:
    return sqrt(max(0.0, x * x - 2 * correlation * x * y + y * y))


def _resampled_means(values: Sequence[float], seed: int, resamples: int) -> Tensor:
    """(resamples,) means of as many values drawn with replacement."""
    pool = torch.tensor(list(values), dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    rows = max(1, CHUNK_ELEMENTS // len(pool))
    parts = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        indices = torch.randint(len(pool), (count, len(pool)), generator=generator)
        parts.append(pool[indices].mean(-1))  # (count, n) → (count,)
    return torch.cat(parts)


def _percentiles(means: Tensor) -> Interval:
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(low, high)
