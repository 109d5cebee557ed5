"""README and docs: every block of commands or Python is run on the embedded model, links lead
somewhere, and what is generated is current.

A block that needs more than that says so in a comment before it: `<!-- needs: gpu, network -->`.
Its commands are still parsed, so that an option that is gone is found. With `<!-- needs: long; run
by: FILE -->` it names what runs it in its stead. `<!-- file: NAME -->` puts the block into a file
that later blocks use.

Each page has a folder of its own with the files of `workspace`, and one Python namespace. Runs are
made short by settings added at the end of `gft-lite train`, evaluations and files by a limit of
rows.
"""

import contextlib
import doctest
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from gft_lite import cli, load_config, train
from gft_lite.assets import resolve

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")), *DOCS]
NEEDS = {"gpu", "network", "long", "other-program"}
SHOWN_ONLY = {"text", "json", "jsonl", "html", "mermaid"}
RUN = {"bash", "python", "pycon", "yaml"}
SHORT = ("train.steps=2", "train.prompts_per_step=2", "eval.examples=2", "eval.k=2")
SHORT += (
    "eval.quick_examples=2",
    "group.max_new_tokens=64",
    "eval.every=0",
    "train.warmup_steps=0",
)
ROWS = 40  # of a training file
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^>]*?) -->\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """One fenced block and what the comment before it says."""

    page: Path
    line: int
    kind: str
    body: str
    needs: frozenset[str]
    run_by: str | None
    file: str | None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        said = dict(part.split(": ", 1) for part in (found["mark"] or "").split("; ") if part)
        yield Block(
            page,
            text[: found.start("body")].count("\n") + 1,
            found["kind"],
            found["body"],
            frozenset(filter(None, said.pop("needs", "").split(", "))),
            said.pop("run by", None),
            said.pop("file", None),
        )
        assert not said, f"{page.name}: a comment before a block says {said}"


def prose(page: Path) -> str:
    """A page without its blocks and comments."""
    without = FENCE.sub("", page.read_text(encoding="utf-8"))
    return re.sub(r"<!--.*?-->", "", without, flags=re.S)


def commands(body: str) -> list[str]:
    """Lines of a shell block, continued ones joined, comments and empty ones left out."""
    joined = body.replace("\\\n", " ").splitlines()
    return [line.strip() for line in joined if line.strip() and not line.startswith("#")]


ALL = [block for page in PAGES for block in blocks(page)]


# --- what is written down ---


def test_blocks_say_what_they_are() -> None:
    assert {"README.md", "quick-start.md", "python-api.md"} <= {page.name for page in PAGES}
    for block in ALL:
        assert block.kind in RUN | SHOWN_ONLY, f"{block.place}: a block of kind {block.kind!r}"
        assert block.needs <= NEEDS, f"{block.place}: needs {block.needs - NEEDS}"


def test_no_command_hides_in_an_indented_block() -> None:
    hidden = re.compile(r"^(?: {4}|\t)(?:\$ |gft-lite|pip |python )", re.M)
    for page in PAGES:
        assert not hidden.search(prose(page)), f"{page.name}: write commands in a ```bash block"


def test_what_takes_long_is_run_by_something_else() -> None:
    for block in ALL:
        assert ("long" in block.needs) == (block.run_by is not None), block.place
        if block.run_by:
            runner = (ROOT / block.run_by).read_text(encoding="utf-8")
            words = commands(block.body)[-1].split()
            assert words[min(1, len(words) - 1)] in runner, f"{block.place}: not in {block.run_by}"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            file = (page.parent / name) if name else page
            assert file.exists(), f"{page.name} links to {target}"
            if anchor:
                heads = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.M)
                assert anchor in map(anchor_of, heads), f"{page.name} links to {target}"


def anchor_of(heading: str) -> str:
    """The way GitHub names a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", ""))
    return kept.replace(" ", "-")


def test_the_readme_is_short_and_its_figures_have_scripts() -> None:
    readme = ROOT / "README.md"
    assert readme.read_text(encoding="utf-8").count("\n") < 150
    makers = [*(ROOT / "scripts").glob("*.py"), *(ROOT / "tests").rglob("*.py")]
    said = "".join(f.read_text(encoding="utf-8") for f in makers)
    for image in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", prose(readme)):
        stem = Path(image).stem
        template = stem.split("-")[0] + "-{"  # of names that a script puts together
        assert stem in said or template in said, f"no script makes {image}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in DOCS:
        assert page.name == "README.md" or f"({page.name}" in index, page.name


@pytest.mark.parametrize("name", ["architecture", "cli_reference"])
def test_generated_pages_are_current(name: str) -> None:
    script = ROOT / "scripts" / f"{name}.py"
    ran = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


# --- what is run ---


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that pages take for granted, and two short runs."""
    folder = tmp_path_factory.mktemp("workspace")
    for name, embedded, rows in (
        ("problems.jsonl", "target_train", ROWS),
        ("train.jsonl", "target_train", ROWS),
        ("held_out.jsonl", "target_test", 3),
        ("old_skill.jsonl", "old_skill_test", 3),
    ):
        lines = Path(resolve(f"embedded:{embedded}")).read_text(encoding="utf-8").splitlines()
        (folder / name).write_text("".join(f"{line}\n" for line in lines[:rows]), encoding="utf-8")
    with contextlib.chdir(folder):
        for method in ("gft", "sft"):
            paths = ["data.path=problems.jsonl", "data.eval_path=held_out.jsonl"]
            config = load_config(overrides=[*SHORT, *paths, f"method={method}"])
            train(config, f"runs/{method}-1")
    checkpoints = folder / "runs" / "gft-1" / "checkpoints"
    shutil.copytree(checkpoints / "step-000002", checkpoints / "step-000050")
    return folder


RUNNABLE = [p for p in PAGES if any(b.kind in RUN or b.file for b in blocks(p))]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.stem)
def test_blocks_of_a_page_run(
    page: Path,
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = tmp_path / "here"
    shutil.copytree(workspace, here)
    monkeypatch.chdir(here)
    for name in re.findall(r"--out (\S+\.jsonl)", page.read_text(encoding="utf-8")):
        Path(name).unlink(missing_ok=True)  # a page that makes a file does not find it there
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.file:
            Path(block.file).write_text(block.body, encoding="utf-8")
        if block.kind == "bash":
            for command in commands(block.body):
                run(command, block, monkeypatch, capsys)
        elif block.kind == "yaml":
            for document in yaml.safe_load_all(block.body):
                settings = [f"{key}={json.dumps(value)}" for key, value in document.items()]
                load_config(overrides=settings)
        elif block.kind == "python" and not block.needs:
            code = "\n" * (block.line - 1) + shortened(block.body)
            exec(compile(code, str(block.page), "exec"), namespace)
        elif block.kind == "pycon" and not block.needs:
            run_session(block, namespace)


def run(
    command: str,
    block: Block,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Run a command of ours in this process; of one that needs more, check its options."""
    words = shlex.split(command, comments=True)
    if words[0] != "gft-lite":
        assert block.needs, f"{block.place}: only gft-lite is run here, not {words[0]}"
        return
    if block.needs:
        parse(words[1:])
        return
    if words[1] in ("train", "compare-methods"):
        words += [part for setting in SHORT for part in ("--set", setting)]
        words += ["--steps", "2"] * (words[1] == "compare-methods")
    elif words[1] in ("eval", "compare") and "--data" in words:
        words += ["--limit", "3"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as left:
        cli.main()
    said = capsys.readouterr()
    assert not left.value.code, f"{block.place}: {command}\n{said.err}"
    if words[1:3] == ["data", "fix"]:
        written = Path(words[words.index("--out") + 1])
        rows = written.read_text(encoding="utf-8").splitlines(keepends=True)
        written.write_text("".join(rows[:ROWS]), encoding="utf-8")


def parse(words: list[str]) -> None:
    """Raises where a command, an option or a value is not known."""
    command, name = get_command(cli.app), "gft-lite"
    while hasattr(command, "commands"):
        name, command, words = words[0], command.commands[words[0]], words[1:]
    command.make_context(name, words)


def shortened(code: str) -> str:
    settings = ", ".join(f'"{setting}"' for setting in SHORT[1:])
    return re.sub(r'"train\.steps=\d+"', f'"train.steps=2", {settings}', code)


def run_session(block: Block, namespace: dict[str, Any]) -> None:
    body = shortened(block.body).replace("('finished', 20)", "('finished', 2)")
    test = doctest.DocTestParser().get_doctest(body, namespace, block.place, block.place, 0)
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=said.append, clear_globs=False)
    namespace |= test.globs
    assert not runner.failures, "".join(said)


@pytest.mark.parametrize(
    "words", ["train --no-such-option", "no-such-command", "data check f --split"]
)
def test_the_parser_of_marked_commands_finds_mistakes(words: str) -> None:
    with pytest.raises(Exception) as raised:
        parse(words.split())
    assert raised.type.__name__ in {"NoSuchOption", "KeyError", "BadOptionUsage"} | {
        "NoSuchOptionError",
        "UsageError",
    }
