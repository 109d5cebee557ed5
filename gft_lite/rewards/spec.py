"""From the reward of a configuration to a checked list of weighted parts.

    math                                                        a name
    {name: length, max_chars: 400}                              a name with options
    {file: my_reward.py, options: {…}}                          a Python file (command line only)
    {parts: [{name: math, weight: 0.9}, {name: length, weight: 0.1, label: short}]}

The value of several parts is Σ weight·value / Σ weight. A part's label, its name unless given, is
its key in `Score.parts`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gft_lite.rewards.base import Need, Option, Reward
from gft_lite.rewards.custom import fault_in_file
from gft_lite.types import RewardError

Spec = str | Mapping[str, Any]
LARGEST = 10**9  # of any option or weight: a larger one is a typing error


@dataclass(frozen=True)
class Part:
    """One named, weighted reward with all its options; `reward` is None for a custom file."""

    label: str
    weight: float
    reward: Reward | None
    name: str = ""
    file: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs(self) -> Need:
        """The field that every row must have for this part."""
        return self.reward.needs_with(self.options) if self.reward else None


def read_spec(spec: Spec, rewards: Mapping[str, Reward], allow_custom: bool) -> tuple[Part, ...]:
    """The parts of a spec, every name and option checked. Raises RewardError."""
    if isinstance(spec, Mapping) and "parts" in spec:
        _known(spec, ("parts",), "the reward")
        entries = spec["parts"]
        if not isinstance(entries, (list, tuple)) or not entries:
            raise RewardError("reward.parts must be a list with at least one part")
        parts = tuple(
            _part(entry, rewards, allow_custom, f"reward.parts[{index}]")
            for index, entry in enumerate(entries)
        )
    else:
        if isinstance(spec, Mapping) and {"weight", "label"} & spec.keys():
            raise RewardError("a reward's weight and label belong in an entry of reward.parts")
        parts = (_part(spec, rewards, allow_custom, "reward"),)
    labels = [part.label for part in parts]
    for label in labels:
        if labels.count(label) > 1:
            raise RewardError(f"two parts of the reward are called {label!r}: give each a label")
    return parts


def _part(entry: Spec, rewards: Mapping[str, Reward], allow_custom: bool, where: str) -> Part:
    if isinstance(entry, str):
        entry = {"name": entry}
    if not isinstance(entry, Mapping):
        raise RewardError(f"{where} must be a name or a mapping with 'name', not {entry!r:.60}")
    weight = _weight(entry.get("weight", 1.0), where)
    if "file" in entry:
        return _custom_part(entry, weight, allow_custom, where)
    if "name" not in entry:
        raise RewardError(f"{where} has no 'name'; known rewards are {', '.join(rewards)}")
    name = entry["name"]
    if not isinstance(name, str) or name not in rewards:
        if isinstance(name, str) and name.endswith(".py"):
            raise RewardError(f"{where}: {name!r} is a file: write {{file: {name}}}")
        raise RewardError(f"{where}: there is no reward {name!r}; {_nearest(name, rewards)}")
    reward = rewards[name]
    given = {key: entry[key] for key in entry if key not in ("name", "weight", "label")}
    options = checked_options(given, reward.options, f"reward {name!r}")
    fault = reward.validate(options) if reward.validate else None
    if fault:
        raise RewardError(f"reward {name!r}: {fault}")
    return Part(_label(entry, name, where), weight, reward, name=name, options=options)


def _custom_part(entry: Mapping[str, Any], weight: float, allow: bool, where: str) -> Part:
    _known(entry, ("file", "options", "weight", "label"), where)
    if not allow:
        raise RewardError(
            f"{where}: a reward from a Python file runs its code, so it can only be named on the "
            "command line by the owner of the machine; choose one of the built-in rewards here"
        )
    options = entry.get("options") or {}
    if not isinstance(entry["file"], (str, Path)) or not isinstance(options, Mapping):
        raise RewardError(f"{where}: 'file' must be a path, and 'options' a mapping")
    path = Path(entry["file"]).expanduser().absolute()
    fault = fault_in_file(path)
    if fault:
        raise RewardError(f"{where}: {fault}")
    return Part(_label(entry, path.stem, where), weight, None, file=str(path), options=options)


def checked_options(
    given: Mapping[str, Any], known: Mapping[str, Option], where: str
) -> dict[str, Any]:
    """The defaults overlaid with what was given; unknown names and wrong types are errors."""
    _known(given, known, where)
    options = {name: option.default for name, option in known.items()}
    for name, value in given.items():
        option = known[name]
        kinds = (*option.kinds, int) if float in option.kinds else option.kinds
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise RewardError(f"{where}: option {name!r} must be {names}, not {value!r:.60}")
        if isinstance(value, int | float) and not _in_bounds(value):
            raise RewardError(
                f"{where}: option {name!r} must be a finite number of at most {LARGEST:,}, not "
                f"{value!r:.60}"
            )
        if option.choices and value is not None and value not in option.choices:
            one_of = ", ".join(option.choices)
            raise RewardError(f"{where}: option {name!r} is {value!r:.60}; it is one of {one_of}")
        options[name] = value
    return options


def _label(entry: Mapping[str, Any], name: str, where: str) -> str:
    label = entry.get("label", name)
    if not isinstance(label, str) or not label.strip():
        raise RewardError(f"{where}: 'label' must be a text that is not empty")
    return label


def _weight(weight: Any, where: str) -> float:
    number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    if not number or not _in_bounds(weight) or weight <= 0:
        raise RewardError(
            f"{where}: 'weight' must be a number above 0 and at most {LARGEST:,}, not "
            f"{weight!r:.60}"
        )
    return float(weight)


def _in_bounds(value: float) -> bool:
    return -LARGEST <= value <= LARGEST  # not so for NaN


def _known(given: Iterable[Any], known: Iterable[str], where: str) -> None:
    for key in given:
        if key not in set(known):
            raise RewardError(f"{where} has no option {key!r}; {_nearest(key, known)}")


def _nearest(name: Any, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(str(name), names, 1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names) or 'none'}"
