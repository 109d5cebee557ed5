"""Adapters side by side: one model in memory, adapters switched, every column with its identity.

The first column is the bare base. Each column carries the hash of its adapter's weights and how far
its logits are from the base's on fixed prompts, so a "tuned" column that is the base in truth, or
one adapter under two names, is said in words. Differences are paired by prompt: exact McNemar for
right and wrong, paired bootstrap for the mean reward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gft_lite.adapters.record import FIXED_PROMPTS, adapter_folder
from gft_lite.config import ModelConfig
from gft_lite.evaluation.accuracy import Answered, Evaluation, evaluate
from gft_lite.evaluation.statistics import PairedCounts, PairedMean, mcnemar, paired_bootstrap
from gft_lite.memory.adaptive_batch import AdaptiveBatchSize
from gft_lite.models import Policy, Sampling, load_policy
from gft_lite.models.fingerprint import WEIGHTS, file_sha256, identity_of
from gft_lite.models.load import source_of
from gft_lite.models.multi_adapter import add_adapter, bare, prompt_logits, using
from gft_lite.models.validation import check_adapter, check_template
from gft_lite.rewards import Scorer
from gft_lite.types import DataError, Example, Message

BASE = "base"


@dataclass(frozen=True)
class Column:
    """One policy. Logit differences are to the base, over all positions of the fixed prompts.

    evaluation: None where the prompts have no answers; `texts` are the greedy answers.
    """

    name: str
    adapter: str | None
    adapter_sha256: str | None
    max_logit_difference: float
    mean_logit_difference: float
    texts: tuple[str, ...]
    evaluation: Evaluation | None


@dataclass(frozen=True)
class Pair:
    """b against a on the same prompts; `reward` is the mean reward of b minus that of a."""

    a: str
    b: str
    counts: PairedCounts
    reward: PairedMean

    def in_words(self) -> str:
        """Who is better, and whether that could be chance."""
        counts = self.counts
        what = f"only {self.a} solved {counts.only_a}, only {self.b} solved {counts.only_b}"
        if counts.only_a == counts.only_b or counts.p_value >= 0.05:
            return (
                f"{self.a} and {self.b}: no significant difference ({what}; p = "
                f"{counts.p_value:.2g})"
            )
        better, worse = (self.b, self.a) if counts.only_b > counts.only_a else (self.a, self.b)
        return f"{better} solves more than {worse} ({what}; p = {counts.p_value:.2g})"


@dataclass(frozen=True)
class Row:
    """One prompt and what every column answered. `correct` is empty where no answer is known."""

    prompt: str
    answer: str | None
    texts: tuple[str, ...]
    correct: tuple[bool, ...]

    @property
    def disagreement(self) -> int:
        """2: some columns are right and some wrong; 1: other words; 0: all the same."""
        return 2 if len(set(self.correct)) > 1 else int(len(set(self.texts)) > 1)


@dataclass(frozen=True)
class Comparison:
    """Everything; `remarks` are sentences about columns that are no different from one another."""

    model: str
    revision: str | None
    base_weights_sha256: str | None
    columns: tuple[Column, ...]
    pairs: tuple[Pair, ...]
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data; the rows disagree first."""
        plain = asdict(self)
        for column, entry in zip(self.columns, plain["columns"], strict=True):
            entry.pop("texts")
            entry["evaluation"] = column.evaluation.to_dict() if column.evaluation else None
        for pair, entry in zip(self.pairs, plain["pairs"], strict=True):
            entry["in_words"] = pair.in_words()
        return plain


def compare(
    model: ModelConfig,
    adapters: Sequence[Path],
    examples: Sequence[Example],
    scorer: Scorer | None,
    *,
    k: int = 0,
    temperature: float = 1.0,
    max_new_tokens: int = 256,
    batch: int = 128,
    seed: int = 0,
    fit: Callable[[Sequence[Example], Policy, int], Sequence[Example]] | None = None,
) -> Comparison:
    """Load the base once, and let it answer bare and with each adapter.

    Args:
        model: the base.
        adapters: adapter, run or checkpoint folders.
        examples: what to answer.
        scorer: decides what is correct; None where no answers are known.
        k: sampled answers a prompt, 0 for greedy only. With samples, rewards are means over them.
        temperature: of those samples.
        max_new_tokens: longest answer in tokens.
        batch: answers generated at once; fewer where so many do not fit into memory.
        seed: of samples and bootstrap.
        fit: (examples, policy, answer tokens) → those whose prompt leaves room for an answer.

    Raises:
        DataError: no examples.
        ModelError: an adapter that cannot be loaded or belongs to another base.
    """
    if not examples:
        raise DataError("nothing to compare on: name a file with --data or a text with --prompt")
    source = source_of(model.name)
    folders = [adapter_folder(path) for path in adapters]
    for place in folders:
        check_adapter(place, model.name, source, model.revision)
    policy: Any = load_policy(bare(model), None)
    names = _labels(adapters)
    for label, place in zip(names, folders, strict=True):
        check_template(place, policy.tokenizer, model.name)
        add_adapter(policy, label, place)
    asked = [(Message("user", text),) for text in FIXED_PROMPTS]
    fixed = [policy.chat.prompt_ids(messages) for messages in asked]
    columns: list[Column] = []
    logits: list[Tensor] = []
    longest = min(max_new_tokens, policy.max_length // 2)
    if fit:
        examples = fit(tuple(examples), policy, longest)
    how: dict[str, Any] = {"max_new_tokens": longest, "fitting": AdaptiveBatchSize(batch)}
    everyone: list[tuple[str | None, Path | None]] = [(None, None)]
    everyone += zip(names, folders, strict=True)
    for name, folder in everyone:
        with using(policy, name):
            logits.append(torch.cat([prompt_logits(policy, ids).flatten().cpu() for ids in fixed]))
            gap = (logits[-1] - logits[0]).abs()
            drawn: dict[str, Any] = {"k": k, "temperature": temperature, "seed": seed}
            found = evaluate(policy, examples, scorer, **drawn, **how) if scorer else None
            texts = (
                tuple(a.greedy for a in found.answers) if found else _say(policy, examples, **how)
            )
        columns.append(
            Column(
                name=name or BASE,
                adapter=str(folder) if folder else None,
                adapter_sha256=file_sha256(folder / WEIGHTS) if folder else None,
                max_logit_difference=float(gap.max()),
                mean_logit_difference=float(gap.mean()),
                texts=texts,
                evaluation=found,
            )
        )
    return Comparison(
        model=model.name,
        revision=model.revision,
        base_weights_sha256=identity_of(source, model.revision).weights_sha256,
        columns=tuple(columns),
        pairs=_pairs(columns, seed),
        rows=_rows(examples, columns),
        remarks=_remarks(columns, logits),
    )


def _say(
    policy: Policy, examples: Sequence[Example], max_new_tokens: int, fitting: AdaptiveBatchSize
) -> tuple[str, ...]:
    """Greedy answers alone."""
    policy.sample_mode()
    prompts = [policy.chat.prompt_ids(e.prompt) for e in examples]
    found = fitting.generate(policy, prompts, Sampling(max_new_tokens, 0.0))
    return tuple(g.text for g in found)


def _pairs(columns: Sequence[Column], seed: int) -> tuple[Pair, ...]:
    """Every two columns that were scored, earlier ones first."""
    scored = [(c.name, c.evaluation.answers) for c in columns if c.evaluation]
    return tuple(
        Pair(
            a,
            b,
            mcnemar([x.correct for x in left], [x.correct for x in right]),
            paired_bootstrap([_reward(x) for x in left], [_reward(x) for x in right], seed=seed),
        )
        for (a, left), (b, right) in combinations(scored, 2)
    )


def _reward(answered: Answered) -> float:
    sampled = answered.rewards
    return sum(sampled) / len(sampled) if sampled else answered.greedy_reward


def _rows(examples: Sequence[Example], columns: Sequence[Column]) -> tuple[Row, ...]:
    rows = [
        Row(
            example.question,
            example.answer,
            tuple(c.texts[i] for c in columns),
            tuple(c.evaluation.answers[i].correct for c in columns if c.evaluation),
        )
        for i, example in enumerate(examples)
    ]
    return tuple(sorted(rows, key=lambda row: -row.disagreement))


def _remarks(columns: Sequence[Column], logits: Sequence[Tensor]) -> tuple[str, ...]:
    """Sentences about columns that are the same model."""
    said = []
    for (i, a), (j, b) in combinations(enumerate(columns), 2):
        if a.adapter_sha256 is not None and a.adapter_sha256 == b.adapter_sha256:
            said.append(
                f"{a.name} and {b.name} are the same adapter: the weights of both have sha256 "
                f"{a.adapter_sha256[:12]}…"
            )
        elif torch.equal(logits[i], logits[j]):
            who = (
                f"{b.name} does not differ from the base"
                if a.name == BASE
                else (f"{a.name} and {b.name} do not differ")
            )
            said.append(
                f"{who}: every logit on {len(FIXED_PROMPTS)} fixed prompts is equal. Was it "
                "trained, and is this the folder you meant?"
            )
    return tuple(said)


def _labels(paths: Sequence[Path]) -> list[str]:
    """Short names for columns, each used once."""
    labels: list[str] = []
    for path in paths:
        whole = path.resolve()
        own = whole.parent.name if whole.name == "adapter" else whole.name
        label, n = own.replace(".", "-"), 2  # PEFT takes a dot for a level of the module tree
        if label in (BASE, ""):
            label = f"adapter {label}".strip()
        first = label
        while label in labels:
            label, n = f"{first} ({n})", n + 1
        labels.append(label)
    return labels
