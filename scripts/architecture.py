"""Write the generated parts of docs/architecture.md.

    python scripts/architecture.py            the diagram of the packages, from the imports
    python scripts/architecture.py --check    write nothing, fail if the diagram is out of date
    python scripts/architecture.py --trace    also the files on the path of one row (a minute)

The diagram has an arrow for each import between two packages that does not follow from others. The
trace trains the embedded model for one step on a file of one row and records, until the adapter is
saved, which functions of the package receive or return something that was made from the row. It
includes the process of the reward.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gft_lite"
PAGE = ROOT / "docs" / "architecture.md"
ALIASES = {"advantages", "worker", "__main__"}  # modules that only lead to others
EVERYWHERE = "types"  # imported by all packages; arrows to it would hide the others

sys.path.insert(0, str(ROOT / "tests"))
from test_structure import LAYERS, imported_layers, layer_of, sources  # noqa: E402

ROW = {
    "prompt": "Zoltan has 3 coins. He finds 4 coins. How many coins does Zoltan have?",
    "expert": "Zoltan has 3 + 4 = 7\n#### 7",
    "teachers": ["Zoltan: 3 + 4 = 7\n#### 7"],
    "answer": "7",
}
SETTINGS = (
    "train.steps=1",
    "train.prompts_per_step=1",
    "train.warmup_steps=0",
    "group.self=2",
    "group.max_new_tokens=40",
    "data.eval_path=null",
    "data.retention_path=null",
)
# Runs at the start of every Python process of the trace. A value is made from the row if the name
# in the row, a tensor, a list of floats or token ids can be reached from it.
# The adapter is the last.
TRACER = """
import os, sys, threading

PACKAGE, MARK, OUT = os.environ["TRACE_PACKAGE"], "Zoltan", os.environ["TRACE_OUT"]
seen, files = {}, set()


def made_from_row(value, depth=0):
    if isinstance(value, (str, bytes)):
        return (MARK if isinstance(value, str) else MARK.encode()) in value
    if type(value).__name__ in ("Tensor", "Parameter"):
        return True
    if depth > 4:
        return False
    if isinstance(value, (list, tuple)):
        if value and all(type(item) is float for item in value):
            return True
        if len(value) >= 8 and all(type(item) is int for item in value):  # token ids
            return True
        return any(made_from_row(item, depth + 1) for item in value[:20])
    if isinstance(value, dict):
        return any(made_from_row(item, depth + 1) for item in list(value.values())[:20])
    if (type(value).__module__ or "").startswith("gft_lite"):
        fields = getattr(value, "__dict__", None) or {}
        return any(made_from_row(item, depth + 1) for item in list(fields.values()))
    return False


def profile(frame, event, value):
    code = frame.f_code
    if event not in ("call", "return") or not code.co_filename.startswith(PACKAGE):
        return
    name = code.co_filename[len(PACKAGE) + 1 :]
    if name in files or code.co_name in ("<module>", "<lambda>"):
        return
    try:
        values = list(frame.f_locals.values()) if event == "call" else [value]
        saved = name == "adapters/record.py" and code.co_name == "save"
        if not saved and not any(made_from_row(item) for item in values):
            return
    except Exception:
        return
    files.add(name)
    with open(OUT, "a", encoding="utf-8") as out:
        out.write(f"{name}\\t{code.co_qualname}\\n")


threading.setprofile(profile)
sys.setprofile(profile)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail if out of date")
    parser.add_argument("--trace", action="store_true", help="also record the path of one row")
    options = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8")
    after = with_part(before, "diagram", diagram())
    if options.check:
        if before != after:
            print("docs/architecture.md: run `python scripts/architecture.py`", file=sys.stderr)
        return before != after
    if options.trace:
        after = with_part(after, "path", path_of_a_row())
    PAGE.write_text(after, encoding="utf-8")
    return 0


def with_part(page: str, name: str, text: str) -> str:
    """The page with the part between its two comments replaced."""
    begin, end = f"<!-- {name}: scripts/architecture.py -->\n", f"<!-- end of {name} -->"
    head, rest = page.split(begin)
    return head + begin + text + end + rest.split(end, 1)[1]


# --- the diagram ---


def imports() -> dict[str, set[str]]:
    """Package → the packages that its files import, without itself."""
    found: dict[str, set[str]] = {name: set() for name in LAYERS if name not in ALIASES}
    for file in sources():
        layer = layer_of(file)
        if layer in found:
            found[layer] |= imported_layers(file) & found.keys() - {layer}
    return found


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Without the imports that follow from others: a → c if there is a → b → … → c."""

    def below(name: str) -> set[str]:
        return graph[name].union(*(below(other) for other in graph[name]))

    return {
        name: direct - set().union(*(below(other) for other in direct))
        for name, direct in graph.items()
    }


def diagram() -> str:
    graph = {name: below - {EVERYWHERE} for name, below in imports().items() if name != EVERYWHERE}
    lines = ["", "```mermaid", "flowchart TD"]
    lines += [f"  {name}[{name}]" for name in reversed(graph)]
    lines += [
        f"  {name} --> {other}"
        for name, others in reversed(reduced(graph).items())
        for other in sorted(others, key=list(graph).index, reverse=True)
    ]
    return "\n".join([*lines, "```", ""])


# --- the path of one row ---


def trace() -> list[tuple[str, str]]:
    """The files that the row passes in order, each with the first function that receives it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sitecustomize.py").write_text(TRACER, encoding="utf-8")
        (folder / "row.jsonl").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "gft_lite", "train", "--preset", "tiny-cpu"]
        command += ["--data", "row.jsonl", "--out", "run", "--set", "model.backend=hf"]
        command += [word for setting in SETTINGS for word in ("--set", setting)]
        path = os.pathsep.join([str(folder), str(ROOT)])
        record = folder / "trace.txt"
        variables = {"PYTHONPATH": path, "TRACE_PACKAGE": str(PACKAGE), "TRACE_OUT": str(record)}
        subprocess.run(command, cwd=folder, env={**os.environ, **variables}, check=True)
        lines = record.read_text(encoding="utf-8").splitlines()
    return list(dict(line.split("\t") for line in reversed(lines)).items())[::-1]


def path_of_a_row() -> str:
    files = trace()
    files = files[: 1 + [name for name, _ in files].index("adapters/record.py")]
    lines = [f"{len(files)} files:", "", "| file | first function |", "|---|---|"]
    lines += [f"| `{file}` | `{function}` |" for file, function in files]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
