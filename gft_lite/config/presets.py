"""The presets that ship with the package, and how several of them are laid over each other.

A preset is for a card (`presets/cards/`), for a model (`presets/models/`) or for a whole run. One
of each kind may be given, in any order: the card comes first, the model over it, the run over both.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path

from gft_lite.types import ConfigError

PACKAGE = Path(__file__).parent.parent
PRESET_KINDS = ("cards", "models", ".")  # folders, lowest layer first


def preset_dir() -> Path:
    """Where presets lie: inside an installed wheel, or beside the package in a checkout."""
    inside = PACKAGE / "presets"
    return inside if inside.is_dir() else PACKAGE.parent / "presets"


def preset_names() -> list[str]:
    """Names of all presets: those for cards, for models and for whole runs, each kind sorted."""
    return list(_presets())


def card_presets() -> list[str]:
    """Names of the presets for cards, the smallest card first."""
    return [name for name, path in _presets().items() if path.parent.name == PRESET_KINDS[0]]


def preset_path(name: str) -> Path:
    """The file of a preset.

    Raises:
        ConfigError: no such preset.
    """
    known = _presets()
    if str(name) not in known:  # a file may say anything
        raise ConfigError(
            f"unknown preset {name!r}{nearest(str(name), known)}; `gft-lite presets` lists them"
        )
    return known[name]


def _presets() -> dict[str, Path]:
    """Name → file, in the order in which presets are laid over each other."""
    root = preset_dir()
    return {
        path.stem: path
        for kind in PRESET_KINDS
        for path in sorted((root / kind).glob("*.yaml"), key=_by_number)
    }


def _by_number(path: Path) -> tuple[int, str]:
    """6gb before 12gb."""
    digits = "".join(takewhile(str.isdigit, path.stem))
    return int(digits or 0), path.stem


def laid(names: Sequence[str]) -> list[str]:
    """Preset names, lowest layer first.

    Raises:
        ConfigError: an unknown preset, or two of one kind.
    """
    kinds: dict[str, str] = {}
    for name in names:
        kind = preset_path(name).parent.name
        if kinds.setdefault(kind, name) != name:
            what = {"cards": "a card", "models": "a model"}.get(kind, "a whole run")
            raise ConfigError(f"presets {kinds[kind]} and {name} are both for {what}; name one")
    known = preset_names()
    return sorted(kinds.values(), key=known.index)


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, or all of them."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f" (known: {', '.join(known)})"
