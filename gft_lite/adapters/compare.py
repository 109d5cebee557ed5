"""Compare a base model with its adapters on the same prompts.

    loaded = load_adapters(model, [Path("runs/a"), Path("runs/b")])
    comparison = compare(loaded, examples, scorer)

`load_adapters` loads the base once, with all adapters, and identifies every column: the hash of its
adapter's weights, and the distance of its logits from those of the base on fixed prompts. An
adapter that changes nothing, or one adapter under two names, is reported as a sentence. The first
column is the bare base. `compare` only uses the loaded models. Differences are paired by prompt:
exact McNemar test for correct and wrong, paired bootstrap for the mean reward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gft_lite.adapters.record import FIXED_PROMPTS, adapter_folder
from gft_lite.config import ModelConfig
from gft_lite.evaluation.accuracy import Evaluation, PromptResult, evaluate
from gft_lite.evaluation.statistics import PairedCounts, PairedMean, mcnemar, paired_bootstrap
from gft_lite.memory.adaptive_batch import AdaptiveBatchSize
from gft_lite.models import Policy, Sampling
from gft_lite.models.fingerprint import WEIGHTS, file_sha256, identity_of
from gft_lite.models.load import load_with_adapters, source_of
from gft_lite.models.multi_adapter import prompt_logits, using
from gft_lite.rewards import Scorer
from gft_lite.types import DataError, Example, Message

BASE = "base"


@dataclass(frozen=True)
class Identity:
    """Which model a column is. Logit differences are to the base, over all fixed prompts.

    adapter, adapter_sha256: folder and hash of the weights; None for the bare base.
    """

    name: str
    adapter: str | None
    adapter_sha256: str | None
    max_logit_difference: float
    mean_logit_difference: float

    @property
    def active(self) -> str | None:
        """The adapter name for `using`: None activates the bare base."""
        return self.name if self.adapter else None


@dataclass(frozen=True)
class LoadedAdapters:
    """A base in memory with named adapters.

    identities: one a column, the base first. remarks: sentences about columns that are equal.
    """

    model: ModelConfig
    policy: Any
    identities: tuple[Identity, ...]
    remarks: tuple[str, ...]

    def response_limit(self, max_new_tokens: int) -> int:
        """Longest response in tokens: at least half of the context is left for the prompt."""
        return min(max_new_tokens, self.policy.max_length // 2)


@dataclass(frozen=True)
class Column:
    """One model and its responses.

    texts: greedy responses. evaluation: None if the prompts have no reference answers.
    """

    identity: Identity
    texts: tuple[str, ...]
    evaluation: Evaluation | None

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.identity.name


@dataclass(frozen=True)
class Pair:
    """b against a on the same prompts; `reward` is the mean reward of b minus that of a."""

    a: str
    b: str
    counts: PairedCounts
    reward: PairedMean

    def in_words(self) -> str:
        """Which column is better, and whether the difference is significant."""
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
    """One prompt and the response of every column. correct: empty if no answer is known."""

    prompt: str
    answer: str | None
    texts: tuple[str, ...]
    correct: tuple[bool, ...]

    @property
    def disagreement(self) -> int:
        """2: some columns are correct and some are not; 1: texts differ; 0: all are equal."""
        return 2 if len(set(self.correct)) > 1 else int(len(set(self.texts)) > 1)


@dataclass(frozen=True)
class Comparison:
    """Result of `compare`.

    rows: one a prompt, those with the largest disagreement first.
    remarks: sentences about columns that are the same model.
    """

    model: str
    revision: str | None
    base_weights_sha256: str | None
    columns: tuple[Column, ...]
    pairs: tuple[Pair, ...]
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data without the texts of the columns, which the rows contain."""
        plain = asdict(self)
        plain["columns"] = [
            {
                **asdict(column.identity),
                "evaluation": column.evaluation.to_dict() if column.evaluation else None,
            }
            for column in self.columns
        ]
        for pair, entry in zip(self.pairs, plain["pairs"], strict=True):
            entry["in_words"] = pair.in_words()
        return plain


def load_adapters(model: ModelConfig, adapters: Sequence[Path]) -> LoadedAdapters:
    """Load a base once, with adapters, and identify them.

    Args:
        model: the base.
        adapters: adapter, run or checkpoint folders.

    Raises:
        ModelError: an adapter cannot be loaded or belongs to another base.
    """
    folders: Mapping[str, Path] = dict(
        zip(_labels(adapters), map(adapter_folder, adapters), strict=True)
    )
    policy = load_with_adapters(model, folders)
    prompts = [policy.chat.prompt_ids((Message("user", text),)) for text in FIXED_PROMPTS]

    def fixed_logits(name: str | None) -> Tensor:
        with using(policy, name):
            parts = [prompt_logits(policy, ids) for ids in prompts]  # (L, V) each
        return torch.cat([part.flatten().cpu() for part in parts])  # (ΣL·V,)

    base_logits = fixed_logits(None)
    identities = [Identity(BASE, None, None, 0.0, 0.0)]
    logits = [base_logits]
    for name, folder in folders.items():
        logits.append(fixed_logits(name))
        difference = (logits[-1] - base_logits).abs()
        identities.append(
            Identity(
                name=name,
                adapter=str(folder),
                adapter_sha256=file_sha256(folder / WEIGHTS),
                max_logit_difference=float(difference.max()),
                mean_logit_difference=float(difference.mean()),
            )
        )
    return LoadedAdapters(model, policy, tuple(identities), _remarks(identities, logits))


def compare(
    loaded: LoadedAdapters,
    examples: Sequence[Example],
    scorer: Scorer | None,
    *,
    k: int = 0,
    temperature: float = 1.0,
    max_new_tokens: int = 256,
    batch: int = 128,
    seed: int = 0,
    on_scored: Callable[[int], None] | None = None,
) -> Comparison:
    """Answer the prompts with the bare base and with each adapter.

    Args:
        loaded: base and adapters in memory.
        examples: prompts; each must leave room for a response.
        scorer: decides what is correct; None if no answers are known.
        k: sampled responses a prompt, 0 for greedy only. With samples, rewards are their means.
        temperature: of those samples.
        max_new_tokens: longest response in tokens, at most `loaded.response_limit`.
        batch: responses generated at once; fewer if so many do not fit into memory.
        seed: of samples and bootstrap.
        on_scored: called with the number of responses after each call of the scorer.

    Raises:
        DataError: no examples.
    """
    if not examples:
        raise DataError("nothing to compare on: name a file with --data or a text with --prompt")
    max_new_tokens = loaded.response_limit(max_new_tokens)
    batch_size = AdaptiveBatchSize(batch)  # shared: a size that failed is not tried again
    columns = []
    for identity in loaded.identities:
        evaluation = None
        with using(loaded.policy, identity.active):
            if scorer:
                evaluation = evaluate(
                    loaded.policy,
                    examples,
                    scorer,
                    k=k,
                    temperature=temperature,
                    seed=seed,
                    max_new_tokens=max_new_tokens,
                    batch_size=batch_size,
                    on_scored=on_scored,
                )
                texts = tuple(result.greedy for result in evaluation.answers)
            else:
                texts = _greedy_texts(loaded.policy, examples, max_new_tokens, batch_size)
        columns.append(Column(identity, texts, evaluation))
    model = loaded.model
    return Comparison(
        model=model.name,
        revision=model.revision,
        base_weights_sha256=identity_of(source_of(model.name), model.revision).weights_sha256,
        columns=tuple(columns),
        pairs=_pairs(columns, seed),
        rows=_rows(examples, columns),
        remarks=loaded.remarks,
    )


def _greedy_texts(
    policy: Policy, examples: Sequence[Example], max_new_tokens: int, batch_size: AdaptiveBatchSize
) -> tuple[str, ...]:
    policy.sample_mode()
    prompts = [policy.chat.prompt_ids(e.prompt) for e in examples]
    responses = batch_size.generate(policy, prompts, Sampling(max_new_tokens, 0.0))
    return tuple(response.text for response in responses)


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


def _reward(result: PromptResult) -> float:
    """Mean reward of the samples, or the reward of the greedy response if there are none."""
    samples = result.rewards
    return sum(samples) / len(samples) if samples else result.greedy_reward


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


def _remarks(identities: Sequence[Identity], logits: Sequence[Tensor]) -> tuple[str, ...]:
    """Sentences about columns that are the same model."""
    remarks = []
    for (i, a), (j, b) in combinations(enumerate(identities), 2):
        if a.adapter_sha256 is not None and a.adapter_sha256 == b.adapter_sha256:
            remarks.append(
                f"{a.name} and {b.name} are the same adapter: the weights of both have sha256 "
                f"{a.adapter_sha256[:12]}…"
            )
        elif torch.equal(logits[i], logits[j]):
            equality = (
                f"{b.name} does not differ from the base"
                if a.name == BASE
                else f"{a.name} and {b.name} do not differ"
            )
            remarks.append(
                f"{equality}: every logit on {len(FIXED_PROMPTS)} fixed prompts is equal. Was it "
                "trained, and is this the folder you meant?"
            )
    return tuple(remarks)


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
