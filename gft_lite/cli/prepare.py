"""`gft-lite data dry-run` and `data split`: the last looks at a file before it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gft_lite.cli.options import (
    FileArgument,
    FormatOption,
    JsonOption,
    MapOption,
    SplitOption,
    parse_map,
    scorer_of,
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
    """Score experts and teachers as training will, group by group, before any model is loaded."""
    from dataclasses import asdict

    from gft_lite.assets import resolve
    from gft_lite.cli import terminal
    from gft_lite.data import load_examples
    from gft_lite.preflight.group_preview import dry_run as score_demonstrations

    loaded = load_examples(
        resolve(file),
        format=format_,
        columns=parse_map(map_),
        split=split,
        limit=limit,
        skip_bad_rows=True,
    )
    with scorer_of(reward) as scorer:
        found = score_demonstrations(loaded.examples, scorer)
    if json_:
        terminal.print_json(asdict(found))
        return
    for name, tally in (("experts", found.expert), ("teachers", found.teacher)):
        if tally.scored:
            terminal.result(
                f"{name:<9}{tally.scored:>7,} scored, {tally.full:,} right, {tally.unread:,} "
                f"unread, mean reward {tally.mean:.2f}"
            )
    terminal.result(
        f"groups   {found.groups:>7,}: {found.contrast:,} have contrast already, {found.equal:,} "
        f"earn the same throughout, {found.alone:,} have one demonstration or none; these learn "
        "only where self responses differ"
    )
    for failed in found.failed:
        terminal.result(f"  row {failed.row}: its expert earns nothing ({failed.verdict})")
    if found.failing > len(found.failed):
        terminal.result(f"  … and {found.failing - len(found.failed):,} more")
    for complaint in found.complaints:
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
    """Write usable rows in canonical form: some to train on, some held out to measure with."""
    from dataclasses import asdict

    from gft_lite.assets import resolve
    from gft_lite.cli import terminal
    from gft_lite.data import split_file

    found = split_file(
        resolve(file),
        out,
        held_out,
        seed=seed,
        format=format_,
        columns=parse_map(map_),
        split=split,
    )
    if json_:
        terminal.print_json(asdict(found))
        return
    terminal.result(
        f"{found.train_examples:,} examples to train on in {found.train}, "
        f"{found.held_out_examples:,} held out in {found.held_out}; {found.bad_rows:,} rows could "
        "not be used"
    )
