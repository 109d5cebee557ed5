"""The rows of one file that `eval`, `compare` and `mix` let a model answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gft_lite.cli.options import scorer_of

if TYPE_CHECKING:
    from gft_lite.models import Policy
    from gft_lite.rewards import Scorer
    from gft_lite.types import Example


@dataclass(frozen=True)
class EvalData:
    """How a command names the rows of one file.

    path: file, folder, hub name or embedded:NAME.
    limit: number of rows to read; None for all.
    columns: `--map`, field by field.
    skip_bad_rows: drop rows that cannot be used, with a note, instead of refusing the file.
    """

    path: str
    limit: int | None = None
    columns: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    skip_bad_rows: bool = False

    @contextmanager
    def with_scorer(self, reward: str) -> Iterator[tuple[Sequence[Example], Scorer]]:
        """The rows that a reward can score, and its scorer."""
        with scorer_of(reward) as scorer:
            yield self.rows(scorer), scorer

    def rows(self, scorer: Scorer) -> Sequence[Example]:
        """The rows that a scorer can score; the others are refused, or dropped with a note."""
        from gft_lite.cli import terminal
        from gft_lite.config import DataConfig
        from gft_lite.preflight.filters import load_rows

        config = DataConfig(
            path=self.path,
            limit=self.limit,
            columns=self.columns,
            skip_bad_rows=self.skip_bad_rows,
        )
        rows = load_rows(self.path, config, scorer)
        terminal.note_dropped(rows.dropped)
        return rows.examples

    def filter_by_length(
        self, examples: Sequence[Example], policy: Policy, answer_tokens: int
    ) -> Sequence[Example]:
        """Rows whose prompt leaves room for an answer; the others are refused, or dropped."""
        from gft_lite.cli import terminal
        from gft_lite.preflight.filters import filter_by_prompt_length, prompt_length

        rows = filter_by_prompt_length(
            examples,
            prompt_length(policy),
            policy.max_length - answer_tokens,
            self.path,
            advice="lower --max-new-tokens",
            skip_bad_rows=self.skip_bad_rows,
        )
        terminal.note_dropped(rows.dropped)
        return rows.examples
