"""Every error message the program can raise, and whether docs/troubleshooting.md explains it.

    python scripts/messages.py            list messages the page lacks, and lines no code raises

A message is found by the syntax tree: `raise SomeError(...)` of the family in `gft_lite.types`, of
ValueErrors that the configuration turns into sentences, and of RowErrors, which name a row. What is
filled in at run time is written `…`. A message made by a function of the same file is looked up
there.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gft_lite import types

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gft_lite"
PAGE = ROOT / "docs" / "troubleshooting.md"
FAMILY = {
    name
    for name, kind in inspect.getmembers(types, inspect.isclass)
    if issubclass(kind, types.GftError)
} | {"ParityError", "RowError"}
SCHEMA = "config/schema.py"  # its ValueErrors are shown to the user


@dataclass(frozen=True)
class Raised:
    """One message and the place of its `raise`."""

    message: str
    place: str


def main() -> int:
    known, raised = explained(), list(messages())
    missing = [r for r in raised if r.message not in known]
    stale = sorted(known - {r.message for r in raised})
    for each in missing:
        print(f"{each.place}\n| `{each.message}` | |")
    for message in stale:
        print(f"no longer raised\n| `{message}` |")
    return bool(missing or stale)


def explained() -> set[str]:
    """The messages that the page names: what stands in backticks in the first column of a table."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    cells = re.findall(r"^\|(.+?)(?<!\\)\|", text, re.MULTILINE)
    quoted = (name for cell in cells for name in re.findall(r"(?<!`)(`+)(?!`) ?(.+?) ?\1", cell))
    return {name[1].replace("\\|", "|") for name in quoted}


def messages() -> Iterator[Raised]:
    """Every message of the package, by file and line."""
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        name = file.relative_to(PACKAGE).as_posix()
        functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and (argument := _message(node, name)) is not None:
                scope = _scope(tree, node)
                for message in dict.fromkeys(_texts(argument, functions, scope)):
                    yield Raised(message, f"gft_lite/{name}:{node.lineno}")


def _message(node: ast.Raise, file: str) -> ast.expr | None:
    """The argument that holds the message, where this raises an error of the family."""
    call = node.exc
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or not call.args:
        return None
    if call.func.id == "RowError":
        return call.args[1]
    wanted = call.func.id in FAMILY or (call.func.id == "ValueError" and file == SCHEMA)
    return call.args[0] if wanted else None


def _scope(tree: ast.Module, node: ast.Raise) -> ast.AST:
    """The function around a node."""
    around = [
        f
        for f in ast.walk(tree)
        if isinstance(f, ast.FunctionDef) and any(inner is node for inner in ast.walk(f))
    ]
    return around[-1] if around else tree


def _texts(value: ast.expr, functions: dict[str, ast.FunctionDef], scope: ast.AST) -> Iterator[str]:
    """What the expression can say: several texts where it chooses, none where it is data alone."""
    if isinstance(value, ast.IfExp):
        yield from _texts(value.body, functions, scope)
        yield from _texts(value.orelse, functions, scope)
    elif isinstance(value, ast.Name):
        for said in _assigned(value.id, scope):
            yield from _texts(said, functions, scope)
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        made_by = functions.get(value.func.id)
        for made in ast.walk(made_by) if made_by else ():
            if isinstance(made, ast.Return) and made.value is not None:
                yield from _texts(made.value, functions, made_by)
    elif (text := _template(value)).strip(" …;:,.()"):
        yield text


def _assigned(name: str, scope: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == name for t in node.targets
        ):
            yield node.value


def _template(value: ast.expr) -> str:
    """A literal as it is, an f-string with `…` for what is filled in."""
    if isinstance(value, ast.Constant):
        return " ".join(str(value.value).split())
    if isinstance(value, ast.JoinedStr):
        parts = [p.value if isinstance(p, ast.Constant) else "…" for p in value.values]
        return " ".join("".join(map(str, parts)).split())
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        return f"{_template(value.left)} {_template(value.right)}".strip()
    return "…"


if __name__ == "__main__":
    sys.exit(main())
