"""The `gft-lite data` commands but distill, and the options that commands on data share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gft_lite.types import ConfigError

if TYPE_CHECKING:
    from gft_lite.data import Judge
    from gft_lite.rewards import Scorer

data_app = typer.Typer(help="Look at data before a GPU minute is spent.", no_args_is_help=True)

FileArgument = Annotated[str, typer.Argument(help="File, folder, hub name, or embedded:NAME.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, nothing else.")]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="Where a field comes from: question, a+b (joined), a,b (a list), '{a} {b}'.",
    ),
]
FormatOption = Annotated[str, typer.Option("--format", help="Format name.")]
SplitOption = Annotated[str, typer.Option(help="Split of a folder or a hub data set.")]
RewardOption = Annotated[
    str | None, typer.Option(help="Ask this reward about every row, e.g. math.")
]
AgainstOption = Annotated[
    str | None, typer.Option(help="Held-out file whose prompts must not occur here.")
]
TOLD_EVERY_SECONDS = 5.0


@data_app.command("check")
def data_check(
    file: FileArgument,
    map_: MapOption = None,
    format_: FormatOption = "auto",
    split: SplitOption = "train",
    model: Annotated[
        str | None, typer.Option(help="Count tokens with this model's tokenizer.")
    ] = None,
    reward: RewardOption = None,
    against: AgainstOption = None,
    html: Annotated[Path | None, typer.Option(help="Also write the report as a page.")] = None,
    json_: JsonOption = False,
) -> None:
    """Say what was recognised, count, and list every row that is bad or doubtful."""
    from gft_lite import terminal
    from gft_lite.assets import resolve
    from gft_lite.data import check_file, report_json, report_text

    with _judge(reward) as judge, counting() as progress:
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
        typer.echo(report_text(report))


@data_app.command("preview")
def data_preview(
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

    from gft_lite import terminal
    from gft_lite.assets import resolve
    from gft_lite.config import ModelConfig
    from gft_lite.data import load_examples
    from gft_lite.models import load_tokenizer
    from gft_lite.preview import preview

    loaded = load_examples(
        resolve(file),
        format=format_,
        columns=parse_map(map_),
        split=split,
        limit=max(rows, 100),
        skip_bad_rows=True,
        system_prompt=system_prompt,
    )
    shown = preview(loaded.examples[:rows], load_tokenizer(ModelConfig(name=model)))
    if json_:
        terminal.print_json([asdict(each) for each in shown])
        return
    for each in shown:
        typer.echo(
            f"row {each.row}, {each.source}: {each.prompt_tokens} prompt tokens, "
            f"{each.response_tokens} trained tokens in ⟦…⟧\n{each.marked}\n"
        )


@data_app.command("fix")
def data_fix(
    file: FileArgument,
    out: Annotated[Path, typer.Option(help="New file for the clean rows (JSONL).")],
    map_: MapOption = None,
    format_: FormatOption = "auto",
    split: SplitOption = "train",
    reward: RewardOption = None,
    drop_rejected: Annotated[
        bool, typer.Option("--drop-rejected", help="With --reward: drop rows whose expert fails.")
    ] = False,
    against: AgainstOption = None,
    json_: JsonOption = False,
) -> None:
    """Write usable rows in canonical form, and what was left out with its reason beside them."""
    from dataclasses import asdict

    from gft_lite import terminal
    from gft_lite.assets import resolve
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
    typer.echo(
        f"{fixed.rows:,} rows read: {fixed.written:,} written to {fixed.clean}, "
        f"{fixed.joined:,} joined to one of them (same prompt and answer), {fixed.left_out:,} left "
        f"out{f' ({why})' if why else ''}, listed in {fixed.left_out_file}"
    )


def parse_map(pairs: list[str] | None) -> dict[str, str]:
    """`["prompt=question"]` → {"prompt": "question"}.

    Raises:
        ConfigError: a pair without a `=`.
    """
    mapping = {}
    for pair in pairs or []:
        field, separator, column = pair.partition("=")
        if not (separator and field and column):
            raise ConfigError(f"--map {pair!r}: write it as FIELD=COLUMN, e.g. prompt=question")
        mapping[field] = column
    return mapping


def parse_reward(text: str) -> Any:
    """A reward's name, or its options as YAML: `{name: length, max_chars: 40}`.

    Raises:
        ConfigError: no YAML.
    """
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(
            f"--reward {text!r}: write a name, or options like '{{name: length, max_chars: 40}}'"
        ) from None


@contextmanager
def scorer_for(reward: str | None) -> Iterator[Scorer | None]:
    """The scorer of a --reward option, closed at the end; None without one."""
    if reward is None:
        yield None
        return
    from gft_lite.rewards import build_scorer

    with build_scorer(parse_reward(reward), allow_custom=True) as scorer:
        yield scorer


@contextmanager
def _judge(reward: str | None) -> Iterator[Judge | None]:
    from gft_lite.judge import judge_with

    with scorer_for(reward) as scorer:
        yield judge_with(scorer) if scorer else None


def _token_counter(model: str) -> Callable[[str], int]:
    from gft_lite.config import ModelConfig
    from gft_lite.models import load_tokenizer

    tokenizer = load_tokenizer(ModelConfig(name=model))
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


@contextmanager
def counting(what: str = "rows") -> Iterator[Callable[[int, int | None], None]]:
    """How many, how many a second and what is left, on stderr, where it takes a while."""
    from gft_lite import terminal

    begin = last = time.perf_counter()

    def show(rows: int, about: int | None) -> None:
        nonlocal last
        now = time.perf_counter()
        finished = rows == about
        if now - last < TOLD_EVERY_SECONDS and not (finished and now - begin > TOLD_EVERY_SECONDS):
            return
        last = now
        speed = rows / (now - begin)
        left = f", {(about - rows) / speed:.0f} s left" if about and not finished else ""
        whole = f" of about {about:,}" if about and not finished else ""
        terminal.note(f"{rows:,}{whole} {what}, {speed:,.1f} a second{left}")

    yield show
