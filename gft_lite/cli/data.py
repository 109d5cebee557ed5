"""`gft-lite data check`, `preview`, `fix`, `dry-run` and `split`: a data file before training."""

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
    MapOption,
    RowRewardOption,
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
    reward: RowRewardOption = None,
    against: AgainstOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 2 if any row cannot be used.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Also write the report as a page.")] = None,
    json_: JsonOption = False,
) -> None:
    """Report the format, the lengths, and every row that is bad or doubtful.

    Exits with code 2 if no row can be used.
    """
    from gft_lite.assets import resolve
    from gft_lite.cli import terminal
    from gft_lite.data import check_file, report_json, report_text

    with _row_scorer(reward) as row_scorer, terminal.counting() as progress:
        report = check_file(
            resolve(file),
            format=format_,
            columns=parse_map(map_),
            split=split,
            count_tokens=_token_counter(model) if model else None,
            against=resolve(against) if against else None,
            row_scorer=row_scorer,
            reward=reward or "",
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
    from gft_lite.preflight.token_preview import preview as preview_tokens

    loaded = load_examples(
        resolve(file),
        format=format_,
        columns=parse_map(map_),
        split=split,
        limit=max(rows, 100),
        skip_bad_rows=True,
        system_prompt=system_prompt,
    )
    previews = preview_tokens(loaded.examples[:rows], load_tokenizer(ModelConfig(name=model)))
    if json_:
        terminal.print_json([asdict(each) for each in previews])
        return
    for each in previews:
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
    reward: RowRewardOption = None,
    drop_rejected: Annotated[
        bool, typer.Option("--drop-rejected", help="With --reward: drop rows whose expert fails.")
    ] = False,
    against: AgainstOption = None,
    json_: JsonOption = False,
) -> None:
    """Write usable rows in canonical form, and a second file with the other rows and reasons."""
    from dataclasses import asdict

    from gft_lite.assets import resolve
    from gft_lite.cli import terminal
    from gft_lite.data import fix_file

    if drop_rejected and not reward:
        raise ConfigError("--drop-rejected needs a reward: add --reward, e.g. --reward math")
    with _row_scorer(reward) as row_scorer:
        fixed = fix_file(
            resolve(file),
            out,
            format=format_,
            columns=parse_map(map_),
            split=split,
            against=resolve(against) if against else None,
            row_scorer=row_scorer,
            drop_rejected=drop_rejected,
        )
    if json_:
        terminal.print_json(asdict(fixed))
        return
    reasons = ", ".join(f"{kind} {count:,}" for kind, count in fixed.reasons.items())
    terminal.result(
        f"{fixed.rows:,} rows read: {fixed.written:,} written to {fixed.clean}, "
        f"{fixed.joined:,} joined to one of them (same prompt and answer), {fixed.left_out:,} left "
        f"out{f' ({reasons})' if reasons else ''}, listed in {fixed.left_out_file}"
    )


def dry_run(
    file: FileArgument,
    reward: Annotated[str, typer.Option(help="The reward that training will use.")] = "math",
    limit: Annotated[int, typer.Option(min=1, help="Score the first so many rows.")] = 2000,
    map_: MapOption = None,
    format_: FormatOption = "auto",
    split: SplitOption = "train",
    json_: JsonOption = False,
) -> None:
    """Score experts and teachers as training will, group by group, without loading a model."""
    from dataclasses import asdict

    from gft_lite.assets import resolve
    from gft_lite.cli import terminal
    from gft_lite.data import load_examples
    from gft_lite.preflight.group_preview import preview_groups

    loaded = load_examples(
        resolve(file),
        format=format_,
        columns=parse_map(map_),
        split=split,
        limit=limit,
        skip_bad_rows=True,
    )
    with scorer_of(reward) as scorer:
        groups = preview_groups(loaded.examples, scorer)
    if json_:
        terminal.print_json(asdict(groups))
        return
    for name, tally in (("experts", groups.expert), ("teachers", groups.teacher)):
        if tally.scored:
            terminal.result(
                f"{name:<9}{tally.scored:>7,} scored, {tally.full:,} right, {tally.unread:,} "
                f"unread, mean reward {tally.mean:.2f}"
            )
    terminal.result(
        f"groups   {groups.groups:>7,}: {groups.contrast:,} have contrast already, "
        f"{groups.equal:,} earn the same throughout, {groups.alone:,} have one demonstration or "
        "none; these learn only if the self responses differ"
    )
    for failed in groups.failed:
        terminal.result(f"  row {failed.row}: its expert earns nothing ({failed.verdict})")
    if groups.failing > len(groups.failed):
        terminal.result(f"  … and {groups.failing - len(groups.failed):,} more")
    for complaint in groups.complaints:
        terminal.result(f"  {complaint}")


def split(
    file: FileArgument,
    held_out: Annotated[int, typer.Option(min=0, help="About so many examples are held out.")],
    out: Annotated[Path, typer.Option(help="Folder for train.jsonl and held_out.jsonl.")],
    seed: Annotated[int, typer.Option(min=0, help="Which ones.")] = 0,
    map_: MapOption = None,
    format_: FormatOption = "auto",
    split: SplitOption = "train",
    json_: JsonOption = False,
) -> None:
    """Write usable rows in canonical form: a training file and a held-out file."""
    from dataclasses import asdict

    from gft_lite.assets import resolve
    from gft_lite.cli import terminal
    from gft_lite.data import split_file

    files = split_file(
        resolve(file),
        out,
        held_out,
        seed=seed,
        format=format_,
        columns=parse_map(map_),
        split=split,
    )
    if json_:
        terminal.print_json(asdict(files))
        return
    terminal.result(
        f"{files.train_examples:,} examples to train on in {files.train}, "
        f"{files.held_out_examples:,} held out in {files.held_out}; {files.bad_rows:,} rows could "
        "not be used"
    )


@contextmanager
def _row_scorer(reward: str | None) -> Iterator[RowScorer | None]:
    from gft_lite.preflight.reward_check import row_scorer

    with nullcontext() if reward is None else scorer_of(reward) as scorer:
        yield row_scorer(scorer) if scorer else None


def _token_counter(model: str) -> Callable[[str], int]:
    from gft_lite.config import ModelConfig
    from gft_lite.models import load_tokenizer

    tokenizer = load_tokenizer(ModelConfig(name=model))
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])
