"""A method from outside: one call of `register_method`, and every list of methods has it.

The plug-in is a module of its own in a process of its own, so that the registry of the other tests
stays as it is.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import pytest

from gft_lite.config import REGISTRY, MethodEntry, MethodSection, SftMethod, register_method
from gft_lite.report.html import stylesheet
from gft_lite.types import ConfigError

TOY = '''
from typing import Literal

from pydantic import Field

from gft_lite.config import MethodEntry, MethodSection, register_method


class ToyMethod(MethodSection):
    """Half of SFT."""

    name: Literal["toy"] = "toy"
    weight: float = Field(0.5, gt=0, le=10)
    """Factor of the loss."""


register_method(
    MethodEntry(
        ToyMethod,
        "toy_objective:TOY",
        label="Toy",
        description="Imitate at half the weight.",
        colour="#123456",
        dark_colour="#abcdef",
        dashes="7 1",
        loss_meaning="Half of the loss of SFT.",
    )
)
'''
OBJECTIVE = """
from gft_lite.methods import Method

TOY = Method(loss=lambda config, inputs: -config.weight * inputs.logps)
"""
SHORT = (
    "train.prompts_per_step=2 group.max_new_tokens=8 eval.examples=2 eval.quick_examples=2 "
    "eval.k=1 data.limit=40"
).split()


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    (tmp_path / "toy_method.py").write_text(TOY, encoding="utf-8")
    (tmp_path / "toy_objective.py").write_text(OBJECTIVE, encoding="utf-8")
    return tmp_path


def run(plugin: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python code after `import toy_method`; `arguments` are its command line."""
    path = os.pathsep.join(filter(None, [str(plugin), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-c", f"import toy_method\n{code}", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        cwd=plugin,
        timeout=300,
    )


def gft_lite(plugin: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with the plug-in imported."""
    return run(plugin, "from gft_lite.cli import main; main()", *arguments)


@pytest.mark.parametrize("command", ["train", "compare-methods"])
def test_help_lists_it(plugin: Path, command: str) -> None:
    output = gft_lite(plugin, command, "--help").stdout
    assert re.search(r"^  toy +Imitate at half the weight\.$", output, re.MULTILINE)
    assert all(re.search(rf"^  {name} ", output, re.MULTILINE) for name in REGISTRY)


def test_configuration_errors_know_it(plugin: Path) -> None:
    for setting, sentence in (
        ("method=toyy", "unknown method 'toyy'; did you mean 'toy'?"),
        ("method={name: toy, wieght: 1}", "unknown key 'method.wieght'; did you mean 'weight'?"),
        ("method={name: toy, weight: 99}", "method.weight: input should be less than or equal"),
    ):
        ran = gft_lite(plugin, "train", "--set", setting)
        assert ran.returncode == 2 and sentence in ran.stderr


def test_the_app_offers_it(plugin: Path) -> None:
    code = (
        "from gft_lite.ui.model.run_form import NUMBERS, RunForm, configured, method_choices\n"
        "numbers = {field.key: 1 for field in NUMBERS}\n"
        "form = RunForm('', ('tiny-cpu',), 'tiny', None, 'toy', 'math', numbers)\n"
        "print([label for label, name in method_choices() if name == 'toy'])\n"
        "print(configured(form, ['data.path=embedded:target_train']).method)\n"
    )
    assert run(plugin, code).stdout.splitlines() == [
        "['Toy: Imitate at half the weight.']",
        "name='toy' weight=0.5",
    ]


@pytest.mark.slow
def test_it_is_compared_and_reported(plugin: Path) -> None:
    """A short real run beside SFT: table, legend and curve captions have its label and colour."""
    arguments = "compare-methods --data embedded:target_train --methods sft,toy --steps 2".split()
    settings = [word for text in SHORT for word in ("--set", text)]
    ran = gft_lite(plugin, *arguments, "--hold-out", "4", "--out", "out", *settings)
    assert ran.returncode == 0, ran.stderr
    document: dict[str, Any] = json.loads((plugin / "out" / "methods.json").read_text())
    assert [row["method"] for row in document["rows"]] == ["base", "sft", "toy"]
    page = (plugin / "out" / "report.html").read_text(encoding="utf-8")
    assert ".c-toy { --c: var(--method-toy); --dash: 7 1; }" in page
    assert "--method-toy: #123456;" in page and "--method-toy: #abcdef;" in page
    assert '<span class="key c-toy"></span>Toy' in page
    assert '<text class="name"' in page and ">Toy</text>" in page
    assert "Half of the loss of SFT." in page


def test_every_method_has_a_style_of_its_own() -> None:
    css = stylesheet()
    for name in REGISTRY:
        assert f".c-{name} {{ --c: var(--method-{name}); --dash: " in css
    entries = REGISTRY.values()
    for style in ("colour", "dark_colour", "dashes", "label", "description"):
        assert len({getattr(entry, style) for entry in entries}) == len(entries)


class _Named(MethodSection):
    name: Literal["named"] = "named"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"config": SftMethod}, "method 'sft' is registered already; choose another name"),
        ({"colour": "red"}, "method 'named': write its colours as #rrggbb"),
        ({"dashes": "4; }"}, "method 'named': write its dashes as in '8 4', or 'none'"),
    ],
)
def test_what_cannot_be_registered(change: dict[str, Any], sentence: str) -> None:
    entry = {
        "config": _Named,
        "objective": "module:NAME",
        "label": "Named",
        "description": "Nothing.",
        "colour": "#123456",
    }
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        register_method(MethodEntry(**(entry | change)))
    assert "named" not in REGISTRY


# Machado et al. (2009), severity 1: linear RGB as seen with protanopia, deuteranopia, tritanopia.
SIGHT = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
)
TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE = (0.9505, 1.0, 1.089)


def transformed(matrix: tuple[tuple[float, ...], ...], vector: list[float]) -> list[float]:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def linear(colour: str) -> list[float]:
    """ "#rrggbb" as linear RGB in [0, 1]."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def cielab(rgb: list[float]) -> tuple[float, float, float]:
    xyz = transformed(TO_XYZ, [min(1.0, max(0.0, c)) for c in rgb])
    scaled = [value / white for value, white in zip(xyz, WHITE, strict=True)]
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in scaled)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize(
    ("field", "base", "ground"),
    [("colour", "#8a8d92", "#fbfbf9"), ("dark_colour", "#8f939a", "#141517")],
)
def test_the_colours_differ_for_every_sight_and_from_the_ground(
    field: str, base: str, ground: str
) -> None:
    colours = [base, *(getattr(entry, field) for entry in REGISTRY.values())]
    for matrix in SIGHT:
        seen = [cielab(transformed(matrix, linear(colour))) for colour in colours]
        assert min(math.dist(one, other) for one, other in combinations(seen, 2)) >= 12
    luminance = [transformed(TO_XYZ, linear(colour))[1] for colour in (ground, *colours)]
    for value in luminance[1:]:
        brighter, darker = max(value, luminance[0]), min(value, luminance[0])
        assert (brighter + 0.05) / (darker + 0.05) >= 2
