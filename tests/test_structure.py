"""The layers of the package: what each may import, and what an import loads.

Read from the source by its syntax tree, imports inside functions included.
"""

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

import gft_lite
from gft_lite.config import (
    RunConfig,
    card_presets,
    load_config,
    load_preset,
    preset_names,
    preset_path,
)

PACKAGE = Path(gft_lite.__file__).parent
COMMAND = Path(sys.executable).with_name("gft-lite")

# From the bottom layer up, with the third-party packages that each may import. A layer imports
# only layers above it in this list.
LAYERS: dict[str, set[str]] = {
    "types": set(),
    "assets": set(),
    "rewards": {"jsonschema", "math_verify", "referencing", "sympy"},
    "config": {"pydantic", "yaml"},
    "runs": {"filelock"},
    "data": {"charset_normalizer", "datasets", "numpy", "openpyxl", "pyarrow"},
    "groups": set(),
    "methods": {"torch"},
    "models": {"huggingface_hub", "peft", "safetensors", "torch", "transformers", "unsloth"},
    "memory": {"huggingface_hub", "psutil", "torch"},
    "preflight": set(),
    "evaluation": {"lm_eval", "torch"},
    "distill": {"torch"},
    "adapters": {"torch"},
    "training": {"accelerate", "bitsandbytes", "torch"},
    "export": {"huggingface_hub", "torch", "yaml"},
    "report": {"jinja2", "markupsafe", "yaml"},
    "experiments": set(),
    "model_server": {"torch"},
    "ui": {"filelock", "gradio", "starlette", "yaml"},
    "cli": {"rich", "typer", "yaml"},
    "advantages": set(),
    "worker": set(),
    "__main__": set(),
}
# Besides the order: a layer that starts a process of another must not import it.
NEVER = {
    ("ui", "training"),
    ("ui", "model_server"),
    ("ui", "worker"),
    ("ui", "cli"),
    ("report", "models"),
}


def sources() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if "presets" not in p.parts)


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Full names of all modules a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "gft_lite":  # `from gft_lite.cli import terminal`
                found |= {f"gft_lite.{alias.name}" for alias in node.names}
            else:
                found.add(node.module or "")
    return found


def imported_layers(path: Path) -> set[str]:
    own = {name.split(".")[1] for name in imports_of(path) if name.startswith("gft_lite.")}
    return own - {"__version__"}


def imported_packages(path: Path) -> set[str]:
    tops = {name.split(".")[0] for name in imports_of(path)}
    return tops - set(sys.stdlib_module_names) - {"gft_lite"}


ALL = [pytest.param(path, id=path.relative_to(PACKAGE).as_posix()) for path in sources()]


def test_every_layer_is_in_the_plan() -> None:
    unknown = {layer_of(path) for path in sources()} - set(LAYERS) - {"__init__"}
    assert not unknown, f"add {unknown} to LAYERS in tests/test_structure.py"


@pytest.mark.parametrize("path", ALL)
def test_imports_point_downwards(path: Path) -> None:
    layer, order = layer_of(path), list(LAYERS)
    if layer == "__init__":
        assert imported_layers(path) == set()
        return
    allowed = {*order[: order.index(layer)], layer} if layer in LAYERS else set(order)
    wrong = imported_layers(path) - allowed
    assert not wrong, f"{path.name} of layer {layer} imports {wrong}, which are not below it"
    assert not {other for here, other in NEVER if here == layer} & imported_layers(path)


@pytest.mark.parametrize("path", ALL)
def test_every_layer_keeps_to_its_packages(path: Path) -> None:
    wrong = imported_packages(path) - LAYERS.get(layer_of(path), set())
    assert not wrong, f"{path.name} of layer {layer_of(path)} imports {wrong}"


def test_the_reader_of_imports_sees_all_of_them(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        "import os, torch.nn as nn\nfrom gft_lite import runs\n"
        "def f():\n    from gft_lite.data.load import x\n    if x:\n        import yaml\n"
    )
    assert imported_layers(file) == {"runs", "data"}
    assert imported_packages(file) == {"torch", "yaml"}


@pytest.mark.parametrize("path", ALL)
def test_every_file_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


# --- what loads when ---


LIGHT = (
    "gft_lite gft_lite.config gft_lite.data gft_lite.rewards gft_lite.runs gft_lite.groups "
    "gft_lite.preflight.inputs gft_lite.memory gft_lite.worker gft_lite.training.worker "
    "gft_lite.training.stages "
    "gft_lite.report gft_lite.cli gft_lite.report.notebook"
).split()
HEAVY = {"torch", "transformers", "datasets", "pyarrow", "sympy", "gradio", "accelerate"}


def test_importing_these_loads_nothing_heavy() -> None:
    """One process imports all of them in turn and prints the heavy modules after each."""
    code = "import sys\n" + "\n".join(
        f"import {module}; print({module!r}, *{HEAVY!r} & set(sys.modules))" for module in LIGHT
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == LIGHT


def test_help_is_there_in_a_second_and_names_every_command() -> None:
    """The best of three, in processor seconds: other work on the machine is not our delay."""
    took = []
    for _ in range(3):
        before = os.times()
        ran = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, check=True)
        after = os.times()
        took.append(
            after.children_user
            - before.children_user
            + after.children_system
            - before.children_system
        )
    assert min(took) < 1.0
    listed = {line.split()[0] for line in ran.stdout.split("Commands:")[1].splitlines() if line}
    assert listed >= set("demo data train resume eval estimate presets runs report".split())


@pytest.mark.parametrize(
    ("group", "commands"), [("data", "check"), ("runs", "list show stop")], ids=["data", "runs"]
)
def test_help_of_groups_of_commands(group: str, commands: str) -> None:
    ran = subprocess.run([COMMAND, group, "--help"], capture_output=True, text=True, check=True)
    listed = {line.split()[0] for line in ran.stdout.split("Commands:")[1].splitlines() if line}
    assert listed >= set(commands.split())


# --- the public surface ---


def test_public_names_are_there() -> None:
    assert {"RunConfig", "train", "train_iter", "evaluate", "load_examples"} <= {*gft_lite.__all__}
    for name in gft_lite.__all__:
        assert getattr(gft_lite, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        gft_lite.nope  # noqa: B018


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("gft_lite.advantages", "group_advantages"),
        ("gft_lite.worker", "resume"),
        ("gft_lite.methods", "METHODS"),
        ("gft_lite.methods.gft", "gft_loss"),
        ("gft_lite.rewards", "build_scorer"),
    ],
)
def test_names_that_the_design_promises(module: str, name: str) -> None:
    assert getattr(import_module(module), name)


# --- presets ---

CARDS = "6gb 8gb 12gb 16gb 24gb".split()
MODELS = (
    "gemma-3-1b gemma-3-4b llama-3.2-1b llama-3.2-3b qwen2.5-0.5b qwen2.5-1.5b qwen2.5-3b "
    "qwen2.5-7b qwen3-0.6b qwen3-1.7b qwen3-4b qwen3-8b smollm3-3b"
).split()
PRESETS = [*CARDS, *MODELS, "paper-math-1.5b", "tiny-cpu"]
# Equal to the schema's default and written down all the same: what a preset is about.
SAID_ON_PURPOSE = {"model.name", "data.path", "method.name", "method.tau", "group.expert"} | {
    "train.steps",
    "train.prompts_per_step",
    "group.self",
}


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        found |= leaves(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def test_presets_are_those_we_know() -> None:
    assert preset_names() == PRESETS and len(PRESETS) == 20
    assert card_presets() == CARDS


def test_a_card_says_how_and_a_model_says_what() -> None:
    """Only the model's name may be in both: then any card goes with any model."""
    for card in CARDS:
        for model in MODELS:
            shared = leaves(load_preset(card)).keys() & leaves(load_preset(model)).keys()
            assert shared == {"model.name"}, (card, model)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_says_what_it_is_for(name: str) -> None:
    load_config(preset=name)
    first = preset_path(name).read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ") and len(first) > 20


@pytest.mark.parametrize("name", PRESETS)
def test_presets_hold_differences_only(name: str) -> None:
    written = leaves(yaml.safe_load(preset_path(name).read_text(encoding="utf-8")))
    default = leaves(RunConfig().to_dict())
    repeated = {key for key, value in written.items() if default.get(key) == value}
    assert repeated <= SAID_ON_PURPOSE, f"{repeated} are the defaults already"
