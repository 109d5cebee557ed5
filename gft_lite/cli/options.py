"""Options that several commands have, and what their texts mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from gft_lite.types import ConfigError

if TYPE_CHECKING:
    from gft_lite.rewards import Scorer

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, nothing else.")]
SeedOption = Annotated[int, typer.Option(min=0)]


def positive(value: float) -> float:
    """A number above zero, for options.

    Raises:
        typer.BadParameter: it is not.
    """
    if not 0 < value < float("inf"):
        raise typer.BadParameter("give a number above 0; greedy answers are measured as well")
    return value


class ListsMethods(TyperCommand):
    """A command whose `--help` ends with the registered methods.

    They are read when the help is printed, so that `gft-lite --help` does not load the schema.
    """

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the list of methods below the options."""
        from gft_lite.config import REGISTRY

        with formatter.section("Methods"):
            formatter.write_dl([(name, entry.description) for name, entry in REGISTRY.items()])


# --- the settings of a run ---
RunArgument = Annotated[Path | None, typer.Argument(help="YAML file of settings.")]
PresetOption = Annotated[
    list[str] | None,
    typer.Option(help="Preset (`gft-lite presets`); a card and a model may be given together."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Change one setting; may be repeated."),
]
ModelOption = Annotated[str | None, typer.Option(help="Model name or folder.")]
FourBitOption = Annotated[bool, typer.Option("--load-in-4bit", help="NF4 weights.")]

# --- how a file is read ---
FileArgument = Annotated[str, typer.Argument(help="File, folder, hub name, or embedded:NAME.")]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="Where a field comes from: a column, or a template '{a} {b}'. Repeated: a list.",
    ),
]
FormatOption = Annotated[str, typer.Option("--format", help="Format name.")]
SplitOption = Annotated[str, typer.Option(help="Split of a folder or a hub data set.")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Only the first rows.")]
SkipOption = Annotated[bool, typer.Option("--skip-bad-rows", help="Drop rows that cannot be used.")]

# --- what is asked of answers ---
RewardOption = Annotated[str, typer.Option(help="Reward that decides what is correct.")]
JudgeOption = Annotated[
    str | None, typer.Option(help="Ask this reward about every row, e.g. math.")
]
TemperatureOption = Annotated[
    float,
    typer.Option(callback=positive, help="Temperature of sampled answers; the paper uses 0.5."),
]
LengthOption = Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")]


def parse_map(pairs: list[str] | None) -> dict[str, str | tuple[str, ...]]:
    """`["prompt=question"]` → {"prompt": "question"}; a repeated field gets a list of columns.

    Raises:
        ConfigError: a pair without a `=`.
    """
    columns: dict[str, list[str]] = {}
    for pair in pairs or []:
        field, separator, column = pair.partition("=")
        if not (separator and field and column):
            raise ConfigError(f"--map {pair!r}: write it as FIELD=COLUMN, e.g. prompt=question")
        columns.setdefault(field, []).append(column)
    return {
        field: names[0] if len(names) == 1 else tuple(names) for field, names in columns.items()
    }


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


def scorer_of(reward: str) -> Scorer:
    """The scorer that --reward names. Own code may be named: who types it owns the machine."""
    from gft_lite.cli import terminal
    from gft_lite.rewards import build_scorer

    scorer = build_scorer(parse_reward(reward), allow_custom=True)
    scorer.on_failure = lambda failure: terminal.note_failure(failure.part, failure.message)
    return scorer
