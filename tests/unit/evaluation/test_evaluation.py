"""pass@k against brute force, intervals and tests against worked numbers, and the whole evaluation
on the embedded model."""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import combinations, product
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from adapter_maker import call, make_adapter, pushed

from gft_lite.assets import resolve
from gft_lite.config import ModelConfig
from gft_lite.data import load_examples
from gft_lite.evaluation.accuracy import Evaluation, evaluate
from gft_lite.evaluation.statistics import (
    PairedCounts,
    bootstrap,
    mcnemar,
    mean_interval,
    newcombe,
    paired_bootstrap,
    pass_at_k,
    powers_of_two,
    t_interval,
    wilson,
)
from gft_lite.evaluation.suite import EvalSettings, measure_forgetting
from gft_lite.models import Policy, load_policy
from gft_lite.rewards import Scorer, build_scorer
from gft_lite.types import ConfigError, DataError, Example

# hot enough that samples differ, whatever the model can do
HOW: dict[str, Any] = {"k": 4, "samples": 6, "max_new_tokens": 24, "temperature": 2.0, "seed": 3}
HOW["entropy"] = True


@pytest.fixture(scope="module")
def tuned() -> Policy:
    return pushed()


@pytest.fixture(scope="module")
def examples() -> tuple[Example, ...]:
    return load_examples(resolve("embedded:target_test"), limit=6).examples


@pytest.fixture(scope="module")
def graded() -> Iterator[Scorer]:
    """A reward whose value differs between samples, whatever the model can do."""
    with build_scorer({"name": "length", "min_chars": 300}) as scorer:
        yield scorer


@pytest.fixture(scope="module")
def found(tuned: Policy, examples: tuple[Example, ...], graded: Scorer) -> Evaluation:
    return evaluate(tuned, examples, graded, **HOW)


# --- arithmetic ---


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_one(n: int) -> None:
    for correct in range(n + 1):
        marks = [i < correct for i in range(n)]
        for k in range(1, n + 1):
            brute = fmean(any(chosen) for chosen in combinations(marks, k))
            assert pass_at_k(n, correct, k) == pytest.approx(brute, abs=1e-12)


def test_pass_at_more_than_the_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="pass@5 needs at least 5 samples"):
        pass_at_k(4, 1, 5)


def test_which_k_are_reported() -> None:
    assert powers_of_two(8) == (1, 2, 4, 8)
    assert powers_of_two(6) == (1, 2, 4, 6)
    assert powers_of_two(1) == (1,)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"),
    [
        (3, 12, 0.03515625),  # 2·(1 + 15 + 105 + 455)/2¹⁵, scipy.stats.binomtest(3, 15)
        (12, 3, 0.03515625),
        (0, 5, 0.0625),  # 2/2⁵
        (4, 4, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int, p_value: float) -> None:
    a = [True] * only_a + [False] * only_b + [True, True, False]
    b = [False] * only_a + [True] * only_b + [True, True, False]
    counted = mcnemar(a, b)
    assert (counted.only_a, counted.only_b) == (only_a, only_b)
    assert (counted.both, counted.neither) == (2, 1)
    assert counted.p_value == pytest.approx(p_value, abs=1e-12)


def test_bootstrap_of_many_prompts_is_near_the_normal_interval() -> None:
    """200 prompts, 30 % right: ±1.96·√(0.3·0.7/200) = ±0.0635."""
    around = bootstrap([1.0] * 60 + [0.0] * 140)
    assert around.low == pytest.approx(0.3 - 0.0635, abs=0.011)
    assert around.high == pytest.approx(0.3 + 0.0635, abs=0.011)


def test_interval_over_seeds_by_hand() -> None:
    """1, 2, 3: standard deviation 1, so 4.303 · 1 / √3 = 2.484; two values give none."""
    assert t_interval([1.0, 2.0, 3.0]) == pytest.approx(2.484, abs=1e-3)
    assert t_interval([1.0, 2.0]) is None


def test_bootstrap_of_two_prompts_by_hand() -> None:
    """Means of two draws from {0, 1}: 0, ½, 1 with chances ¼, ½, ¼; so the interval is all."""
    around = bootstrap([0.0, 1.0])
    assert (around.low, around.high) == (0.0, 1.0)
    assert bootstrap([0.5, 0.5]) == bootstrap([0.5] * 7)


def test_wilson_by_hand() -> None:
    """z² = 3.8415. 0 of 10: (0.19207 ± 0.19207)/1.38415, which is 0 to 0.2775. 3 of 4:
    (0.75 + 0.48018 ± 1.96·√(0.046875 + 0.060023))/1.96036, which is 0.3006 to 0.9544."""
    none, some = wilson(0, 10), wilson(3, 4)
    assert (none.low, none.high) == (0.0, pytest.approx(0.27753, abs=1e-5))
    assert (some.low, some.high) == pytest.approx((0.30064, 0.95441), abs=1e-5)
    every = wilson(10, 10)
    assert (every.low, every.high) == (pytest.approx(1 - none.high), 1.0)


def test_a_share_that_all_prompts_agree_on_is_not_sure() -> None:
    assert mean_interval([1.0] * 3) == wilson(3, 3) and wilson(3, 3).low < 0.5
    assert mean_interval([1.0, 0.0, 1.0]) == wilson(2, 3)
    graded = [0.1, 0.4, 0.9, 0.2]
    assert mean_interval(graded, seed=1) == bootstrap(graded, seed=1)


def test_newcombe_by_hand() -> None:
    """2 of 21 (Wilson 0.02652 to 0.28914) against 8 of 21 (0.20751 to 0.59121), one of them both.

    both·neither − only_a·only_b = 1·12 − 1·7 = 5, less than n/2, so φ = 0: −0.28571 less
    √(0.06872² + 0.21026²) = 0.22121, plus √(0.19390² + 0.17344²) = 0.26016."""
    found = newcombe(PairedCounts(both=1, only_a=7, only_b=1, neither=12, p_value=1.0))
    assert (found.low, found.high) == pytest.approx((-0.50692, -0.02556), abs=1e-5)


def test_newcombe_agrees_with_the_r_package_contingencytables() -> None:
    """Newcombe_square_and_add_CI_paired_2x2(cavo_2012), as that package's own test has it."""
    found = newcombe(PairedCounts(both=59, only_a=16, only_b=6, neither=80, p_value=1.0))
    assert (found.low, found.high) == pytest.approx((-0.1186, -0.0046), abs=5e-5)


def test_newcombe_of_the_same_answers() -> None:
    """5 of 10, the same ones: φ = (5·5 − 5)/25 = 0.8, and 0.26341·√(2 − 1.6) = 0.16660."""
    found = newcombe(PairedCounts(both=5, only_a=0, only_b=0, neither=5, p_value=1.0))
    assert (found.low, found.high) == pytest.approx((-0.16660, 0.16660), abs=1e-5)


def test_bootstrap_is_seeded() -> None:
    values = [0.1, 0.4, 0.9, 0.2]
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1)
    means = {bootstrap([x / 97 for x in range(50)], seed=s).low for s in range(3)}
    assert len(means) > 1


def test_paired_bootstrap_against_all_resamples() -> None:
    """Differences −1, 0, 2: all 27 resamples, p = 2·min(share ≤ 0, share ≥ 0)."""
    differences = [-1.0, 0.0, 2.0]
    sums = [sum(chosen) for chosen in product(differences, repeat=3)]
    exact = 2 * min(fmean(s <= 0 for s in sums), fmean(s >= 0 for s in sums))
    tested = paired_bootstrap([1.0, 0.5, 0.0], [0.0, 0.5, 2.0])
    assert tested.difference == pytest.approx(1 / 3)
    assert tested.p_value == pytest.approx(min(1.0, exact), abs=0.04)


def test_paired_bootstrap_of_a_sure_difference() -> None:
    """Nine of nine is not every prompt there is: the Wilson interval of none ends at 0.29915, and
    1 − √2·0.29915 = 0.57694."""
    tested = paired_bootstrap([0.0] * 9, [1.0] * 9)
    assert (tested.interval.low, tested.interval.high) == (pytest.approx(0.57694, abs=1e-5), 1.0)
    assert tested.p_value == pytest.approx(2 / 2001)
    same = paired_bootstrap([1.0, 0.0], [1.0, 0.0])
    assert (same.difference, same.p_value) == (0.0, 1.0)
    assert same.interval.low < 0 < same.interval.high
    graded = paired_bootstrap([0.3, 0.7], [0.3, 0.7])
    assert (graded.interval.low, graded.interval.high) == (0.0, 0.0)


# --- on the embedded model ---


def test_figures_agree_with_the_single_answers(found: Evaluation) -> None:
    assert (found.n, found.k, found.samples) == (6, 4, 6)
    assert all(len(a.rewards) == 6 for a in found.answers)
    correct = [a.correct_of_k for a in found.answers]
    assert correct == [sum(r == 1.0 for r in a.rewards) for a in found.answers]
    assert found.mean_at_k == pytest.approx(fmean(c / 6 for c in correct))
    for k in (1, 2, 4):
        assert found.pass_at[k] == pytest.approx(fmean(pass_at_k(6, c, k) for c in correct))
    assert found.pass_at[1] == pytest.approx(found.mean_at_k)
    assert found.pass_at_k == found.pass_at[4]
    assert found.greedy_accuracy == fmean(a.correct for a in found.answers)


def test_every_share_lies_in_its_interval(found: Evaluation) -> None:
    shares = {"greedy_accuracy": found.greedy_accuracy, "mean_at_k": found.mean_at_k}
    shares |= {f"pass_at_{k}": share for k, share in found.pass_at.items()}
    for name, share in shares.items():
        assert share is not None
        assert found.intervals[name].low - 1e-9 <= share <= found.intervals[name].high + 1e-9


def test_readiness_says_what_rl_would_have(found: Evaluation) -> None:
    ready = found.readiness
    assert ready is not None
    mixed = fmean(len(set(a.rewards)) > 1 for a in found.answers)
    assert ready.mixed_reward_share == mixed > 0
    assert found.pass_at_k is not None and found.mean_at_k is not None
    assert ready.headroom == pytest.approx(found.pass_at_k - found.mean_at_k)
    assert ready.entropy_nats_per_token is not None and 0 < ready.entropy_nats_per_token < 6.3


def test_an_evaluation_repeats_and_is_plain_data(
    found: Evaluation, tuned: Policy, examples: tuple[Example, ...], graded: Scorer
) -> None:
    assert evaluate(tuned, examples, graded, **HOW) == found
    plain = json.loads(json.dumps(found.to_dict()))
    assert {"n", "k", "greedy_accuracy", "mean_at_k", "pass_at_k"} <= plain.keys()
    assert plain["temperature"] == HOW["temperature"]
    assert plain["pass_at"]["2"] == found.pass_at[2] and "answers" not in plain


def test_cut_and_unreadable_answers_are_counted(
    tuned: Policy, examples: tuple[Example, ...]
) -> None:
    with build_scorer("math") as scorer:
        short = evaluate(tuned, examples, scorer, k=2, max_new_tokens=1)
    assert short.truncated == 6 and short.sampled_truncated == 12
    assert short.unparsed == sum(a.greedy_verdict == "unparsed" for a in short.answers)
    assert short.response_tokens == 1


def test_greedy_only_measures_nothing_sampled(
    tuned: Policy, examples: tuple[Example, ...], graded: Scorer
) -> None:
    only = evaluate(tuned, examples, graded, max_new_tokens=8)
    assert only.mean_at_k is only.pass_at_k is only.readiness is only.sampled_truncated is None
    assert only.pass_at == {} and only.samples == 0 and only.temperature is None


def test_what_cannot_be_evaluated(
    tuned: Policy, examples: tuple[Example, ...], graded: Scorer
) -> None:
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate(tuned, [], graded)
    with pytest.raises(ConfigError, match=r"at least 8 samples.*only 4"):
        evaluate(tuned, examples, graded, k=8, samples=4)


# --- forgetting ---


def test_a_fresh_adapter_has_forgotten_nothing(
    policy: Policy, examples: tuple[Example, ...], graded: Scorer
) -> None:
    settings = EvalSettings(max_new_tokens=16)
    kept = measure_forgetting(policy, examples, ["What is 1 + 1?"], graded, settings)
    assert (
        kept.drift is not None
        and kept.before == kept.after
        and kept.paired is not None
        and kept.paired.p_value == 1
    )
    assert kept.drift.nats_per_token == 0 and kept.drift.sequences == 7


def test_before_is_the_base_and_after_the_adapter(
    tuned: Policy, examples: tuple[Example, ...], graded: Scorer
) -> None:
    lost = measure_forgetting(tuned, examples, [], graded, EvalSettings(max_new_tokens=16))
    base = load_policy(ModelConfig(name="tiny"), None)
    assert lost.before == evaluate(base, examples, graded, max_new_tokens=16)
    assert lost.after == evaluate(tuned, examples, graded, max_new_tokens=16)
    assert lost.drift is not None and lost.drift.nats_per_token > 0


def test_pinned_prompts_need_no_answers(tuned: Policy, graded: Scorer) -> None:
    settings = EvalSettings(max_new_tokens=8)
    lost = measure_forgetting(tuned, [], ["What is 1 + 1?"], graded, settings)
    assert lost.before is None and lost.drift is not None and lost.drift.sequences == 1
    with pytest.raises(DataError, match="pinned prompts"):
        measure_forgetting(tuned, [], [], graded)


# --- the command ---

ASK = ["eval", "--data", "embedded:target_test", "--limit", "3", "--max-new-tokens", "16"]


@pytest.mark.slow
def test_eval_with_everything_prints_one_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = make_adapter(tmp_path / "a")
    more = ["--retention", "embedded:old_skill_test", "--pin", "Hello?", "--samples", "4"]
    assert call(monkeypatch, *ASK, "--adapter", adapter, "--k", "2", *more, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["temperature"] == 1.0
    assert document["samples"] == 4 and document["pass_at"].keys() == {"1", "2"}
    assert document["forgetting"]["before"]["n"] == document["forgetting"]["after"]["n"] == 3
    assert document["forgetting"]["sequences"] == 4
    assert call(monkeypatch, *ASK, "--adapter", adapter, "--k", "2", *more) == 0
    said = capsys.readouterr().out
    assert "pass@2" in said and "nats per token" in said and "Old skill" in said


@pytest.mark.slow
def test_eval_and_compare_sample_at_the_temperature_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Near 0, every sample is the greedy answer, so mean@k is the greedy accuracy."""
    old_skill = ["--data", "embedded:old_skill_test", "--limit", "3", "--k", "3"]
    cold = [*old_skill, "--temperature", "0.01", "--max-new-tokens", "32", "--json"]
    assert call(monkeypatch, "eval", *cold) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["temperature"] == 0.01
    assert document["mean_at_k"] == document["pass_at_k"] == document["greedy_accuracy"]
    assert document["readiness"]["entropy_nats_per_token"] > 0
    adapter = make_adapter(tmp_path / "a")
    assert call(monkeypatch, "compare", "--adapter", adapter, *cold) == 0
    for column in json.loads(capsys.readouterr().out)["columns"]:
        found = column["evaluation"]
        assert found["temperature"] == 0.01 and found["mean_at_k"] == found["greedy_accuracy"]


def test_eval_refuses_what_it_cannot_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *ASK, "--temperature", "0") == 2
    assert "give a number above 0" in capsys.readouterr().err
    assert call(monkeypatch, *ASK, "--k", "8", "--samples", "4") == 2
    assert "raise --samples to 8 or lower --k" in capsys.readouterr().err
    if find_spec("lm_eval") is None:
        assert call(monkeypatch, *ASK, "--lm-eval", "gsm8k") == 2
        assert "pip install lm-eval" in capsys.readouterr().err
