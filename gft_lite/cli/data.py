"""`gft-lite data check`, `preview` and `fix`: a file, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gft_lite.cli.options import (
    FileArgument,
    FormatOption,
    JsonOption,
    JudgeOption,
    MapOption,
    SplitOption,
    parse_map,
    scorer_of,
)
from gft_lite.types import ConfigError, DataError

if TYPE_CHECKING:
    from gft_lite.data import RowScorer

AgainstOption = Annotated[
    str | None, typer.Option(help="Held-out file whose prompts must not occur here.")
]


def check(
    file: FileArgument,
    map_: MapOption = None,
    format_: FormatOption = "auto",
    split: SplitOption = "train",
    model: Annotated[
        str | None, typer.Option(help="Count tokens with this model's tokenizer.")
    ] = None,
    reward: JudgeOption = None,
    against: AgainstOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 2 if any row cannot be used.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Also write the report as a page.")] = None,
    json_: JsonOption = False,
) -> None:
    """Say what was recognised, count, and list every row that is bad or doubtful.

    Exits with code 2 if no row can be used.
    """
    from gft_lite.assets import resolve
    from gft_lite.cli import terminal
    from gft_lite.data import check_file, report_json, report_text

    with _judge(reward) as judge, terminal.counting() as progress:
        report = check_file(
            resolve(file),
            format=format_,
            columns=parse_map(map_),
            split=split,
            count_tokens=_token_counter(model) if model else None,
            against=resolve(against) if against else None,
            judge=judge,
            judged=reward or "",
            progress=progress,
        )
    if html:
        from gft_lite.report.data import write_data_page

        terminal.note(f"Page: {write_data_page(report, html)}")
    if json_:
        terminal.print_json(report_json(report))
    else:
        terminal.result(report_text(report))
    if not report.usable:
        raise DataError(f"{report.path}: none of its {report.rows:,} rows can be used")
    if strict and report.bad:
        raise DataError(f"{report.path}: {report.bad:,} of {report.rows:,} rows cannot be used")


def preview(
    file: FileArgument,
    model: Annotated[str, typer.Option(help="Model whose chat template is applied.")] = "tiny",
    rows: Annotated[int, typer.Option(min=1, help="How many rows to show.")] = 1,
    map_: MapOption = None,
    format_: FormatOption = "auto",
    split: SplitOption = "train",
    system_prompt: Annotated[str | None, typer.Option(help="As data.system_prompt.")] = None,
    json_: JsonOption = False,
) -> None:
    """Show rows as the model will see them, the trained part in ⟦…⟧."""
    from dataclasses import asdict

    from gft_lite.assets import resolve
    from gft_lite.cli import terminal
    from gft_lite.config import ModelConfig
    from gft_lite.data import load_examples
    from gft_lite.models import load_tokenizer
    from gft_lite.preflight.token_preview import preview as rendered

    loaded = load_examples(
        resolve(file),
        format=format_,
        columns=parse_map(map_),
        split=split,
        limit=max(rows, 100),
        skip_bad_rows=True,
        system_prompt=system_prompt,
    )
    shown = rendered(loaded.examples[:rows], load_tokenizer(ModelConfig(name=model)))
    if json_:
        terminal.print_json([asdict(each) for each in shown])
        return
    for each in shown:
        terminal.result(
            f"row {each.row}, {each.source}: {each.prompt_tokens} prompt tokens, "
            f"{each.response_tokens} trained tokens in ⟦…⟧\n{each.marked}\n"
        )


def fix(
    file: FileArgument,
    out: Annotated[Path, typer.Option(help="New file for the clean rows (JSONL).")],
    map_: MapOption = None,
    format_: FormatOption = "auto",
    split: SplitOption = "train",
    reward: JudgeOption = None,
    drop_rejected: Annotated[
        bool, typer.Option("--drop-rejected", help="With --reward: drop rows whose expert fails.")
    ] = False,
    against: AgainstOption = None,
    json_: JsonOption = False,
) -> None:
    """Write usable rows in canonical form, and what was left out with its reason beside them."""
    from dataclasses import asdict

    from gft_lite.assets import resolve
    from gft_lite.cli import terminal
    from gft_lite.data import fix_file

    if drop_rejected and not reward:
        raise ConfigError("--drop-rejected needs a reward to ask: add --reward, e.g. --reward math")
    with _judge(reward) as judge:
        fixed = fix_file(
            resolve(file),
            out,
            format=format_,
            columns=parse_map(map_),
            split=split,
            against=resolve(against) if against else None,
            judge=judge,
            drop_rejected=drop_rejected,
        )
    if json_:
        terminal.print_json(asdict(fixed))
        return
    why = ", ".join(f"{kind} {count:,}" for kind, count in fixed.reasons.items())
    terminal.result(
        f"{fixed.rows:,} rows read: {fixed.written:,} written to {fixed.clean}, "
        f"{fixed.joined:,} joined to one of them (same prompt and answer), {fixed.left_out:,} left "
        f"out{f' ({why})' if why else ''}, listed in {fixed.left_out_file}"
    )


@contextmanager
def _judge(reward: str | None) -> Iterator[RowScorer | None]:
    from gft_lite.preflight.reward_check import row_scorer

    with nullcontext() if reward is None else scorer_of(reward) as scorer:
        yield row_scorer(scorer) if scorer else None


def _token_counter(model: str) -> Callable[[str], int]:
    from gft_lite.config import ModelConfig
    from gft_lite.models import load_tokenizer

    tokenizer = load_tokenizer(ModelConfig(name=model))
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])
