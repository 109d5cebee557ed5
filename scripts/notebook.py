"""Build notebooks/*.ipynb from the percent scripts beside them.

    python scripts/notebook.py [--check]

A cell begins with a line `# %%`; `# %% [markdown]` makes it text, each line of which is a comment;
`# %% [file PATH]` makes it a cell that writes a file of this repository. The notebook holds no
outputs and nothing that changes from one build to the next.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode, v4

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
MARK = re.compile(r"^# %%(?: \[(markdown|file (?P<path>\S+))\])?$", re.MULTILINE)
METADATA = {
    "accelerator": "GPU",
    "colab": {"gpuType": "T4", "provenance": []},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing, fail where they differ"
    )
    check = parser.parse_args().check
    stale = []
    for source in SOURCES:
        target, built = source.with_suffix(".ipynb"), build(source)
        if check and (not target.is_file() or target.read_text(encoding="utf-8") != built):
            stale.append(target.name)
        elif not check:
            target.write_text(built, encoding="utf-8")
    if stale:
        print(f"{', '.join(stale)}: run `python scripts/notebook.py`", file=sys.stderr)
    return bool(stale)


def build(source: Path) -> str:
    """The notebook of a percent script, as the text of its file."""
    text = source.read_text(encoding="utf-8")
    marks = list(MARK.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    cells = [
        cell(mark, text[mark.end() : end].strip("\n"), f"cell-{number:02}")
        for number, (mark, end) in enumerate(zip(marks, ends, strict=True), start=1)
    ]
    return nbformat.writes(v4.new_notebook(cells=cells, metadata=METADATA)) + "\n"


def cell(mark: re.Match[str], body: str, name: str) -> NotebookNode:
    """One cell; its kind is in its mark."""
    if path := mark["path"]:
        content = (ROOT / path).read_text(encoding="utf-8").strip("\n")
        hidden = {"jupyter": {"source_hidden": True}}
        written = f"%%writefile {Path(path).name}\n{content}"
        return v4.new_code_cell(written, id=name, metadata=hidden)
    if mark[1] == "markdown":
        lines = [line.removeprefix("#").removeprefix(" ") for line in body.splitlines()]
        return v4.new_markdown_cell("\n".join(lines), id=name)
    return v4.new_code_cell(body, id=name)


if __name__ == "__main__":
    sys.exit(main())
