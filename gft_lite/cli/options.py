"""Options that several commands have, each stated once, and what their values mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from gft_lite.types import ConfigError

if TYPE_CHECKING:
    from gft_lite.config import ModelConfig
    from gft_lite.rewards import Scorer

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, nothing else.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of all random draws.")]
OutFolderOption = Annotated[Path, typer.Option(help="New folder for the result.")]
HtmlOption = Annotated[Path | None, typer.Option(help="Also write an HTML page to this file.")]
RunDirArgument = Annotated[Path, typer.Argument(help="Run folder.")]


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
    typer.Option(
        help="Preset (`gft-lite presets`); a GPU preset and a model preset may be combined."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Change one setting; may be repeated."),
]
StepsOption = Annotated[int | None, typer.Option(min=1, help="Optimizer steps of each method.")]

# --- models and adapters ---
ModelOption = Annotated[str | None, typer.Option(help="Model name or folder.")]
BaseOption = Annotated[
    str | None, typer.Option(help="Base model. Default: the one that the adapter was trained on.")
]
AdapterOption = Annotated[
    Path | None, typer.Option(help="Adapter folder, run folder or checkpoint folder.")
]
AdaptersOption = Annotated[
    list[Path],
    typer.Option("--adapter", help="Adapter, run or checkpoint folder; may be repeated."),
]
FourBitOption = Annotated[
    bool, typer.Option("--load-in-4bit", help="Load the base model in 4-bit NF4.")
]

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
LimitOption = Annotated[int | None, typer.Option(min=1, help="Read only this many rows.")]
SkipOption = Annotated[bool, typer.Option("--skip-bad-rows", help="Drop rows that cannot be used.")]

RetentionOption = Annotated[
    str | None, typer.Option(help="Retention set: a file of an old skill, to measure forgetting.")
]

# --- how answers are made and scored ---
RewardOption = Annotated[str, typer.Option(help="Reward that decides which answers are correct.")]
RowRewardOption = Annotated[
    str | None, typer.Option("--reward", help="Score the responses of every row, e.g. with math.")
]
SamplesOption = Annotated[
    int, typer.Option("--k", min=0, help="Sampled answers per prompt; 0: greedy answers only.")
]
TemperatureOption = Annotated[
    float,
    typer.Option(callback=positive, help="Sampling temperature; the paper evaluates at 0.5."),
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
        ConfigError: it is not valid YAML.
    """
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(
            f"--reward {text!r}: write a name, or options like '{{name: length, max_chars: 40}}'"
        ) from None


def scorer_of(reward: str) -> Scorer:
    """The scorer of --reward. A Python file is allowed: the user owns this machine."""
    from gft_lite.cli import terminal
    from gft_lite.rewards import build_scorer

    scorer = build_scorer(parse_reward(reward), allow_custom=True)
    scorer.on_failure = lambda failure: terminal.note_failure(failure.part, failure.message)
    return scorer


def base_config(
    model: str | None, adapters: list[Path], *, load_in_4bit: bool = False
) -> ModelConfig:
    """The base model: as named, else that of the first adapter, else the embedded one."""
    from gft_lite.adapters import model_of
    from gft_lite.config import ModelConfig

    if model is None and adapters:
        base = model_of(adapters[0])
        return base.model_copy(update={"load_in_4bit": base.load_in_4bit or load_in_4bit})
    return ModelConfig(**({"name": model} if model else {}), load_in_4bit=load_in_4bit)
