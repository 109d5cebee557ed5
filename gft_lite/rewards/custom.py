"""A user's reward: a Python file with `def reward(response, answer, **context)`.

`context` contains `prompt`, `experts` and the `options` of the spec; a function gets only those
that it names. It returns a number in [0, 1] (or True / False). The parent only parses the file
(`fault_in_file`); it runs in the scoring process alone (`load`).
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gft_lite.rewards.base import Target
from gft_lite.types import Score

FUNCTION = "reward"


def fault_in_file(path: Path) -> str | None:
    """Why a file cannot be a reward, without running any of it."""
    if not path.is_file():
        return f"{path} is not a file"
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as fault:
        line = f", line {fault.lineno}" if isinstance(fault, SyntaxError) else ""
        return f"{path}{line} is not valid Python: {fault.args[0]}"
    except OSError as fault:
        return f"{path} cannot be read: {fault.strerror}"
    if FUNCTION not in set(_top_level_names(tree)):
        return f"{path} has no function 'reward'; add: def reward(response, answer, **context)"
    return None


def _top_level_names(tree: ast.Module) -> list[str]:
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names.append(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.Assign):
            names += [name.id for name in node.targets if isinstance(name, ast.Name)]
    return names


def load(path: str, options: dict[str, Any]) -> Callable[[str, Target], Score]:
    """Run the file and return its reward as a verifier. Raises whatever the file raises."""
    sys.path.append(str(Path(path).parent))
    spec = importlib.util.spec_from_file_location("gft_lite_custom_reward", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, FUNCTION)
    parameters = inspect.signature(function).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = {parameter.name for parameter in parameters}

    def verifier(response: str, target: Target) -> Score:
        context = {"prompt": target.prompt, "experts": target.experts, **options}
        passed = {name: item for name, item in context.items() if takes_all or name in named}
        return Score(checked(function(response, target.answer, **passed)))

    return verifier


def checked(value: Any) -> float:
    """The returned value as a float in [0, 1]; raises ValueError for anything else."""
    if isinstance(value, (str, bytes)) or not hasattr(type(value), "__float__"):
        raise ValueError(f"the reward returned {value!r:.60}, not a number")
    number = float(value)
    if not math.isfinite(number) or not 0.0 <= number <= 1.0:
        raise ValueError(f"the reward returned {number}; it must be between 0 and 1")
    return number
