"""What is printed: texts from data, models and files never reach the terminal as commands to it."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

import gft_lite
from gft_lite import cli
from gft_lite.cli import terminal
from gft_lite.config import load_config
from gft_lite.runs import RunDir

# clear the screen, set the window's title, move up, 8-bit CSI, bell, backspace, delete, reverse
EVIL = "\x1b[2J\x1b]0;title\x07\x1b[1A\x9b31m\x07\b\x7f\u202etxet\u2066 \ud800\r"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
PRINTABLE = "zwölf 十二 двенадцать ١٢ ✓ 👩‍🔬 π\u00a0≈ ⟦x⟧\ttab\nline"


def test_controls_are_spelled_out_and_text_stays() -> None:
    assert terminal.printable(PRINTABLE) == PRINTABLE
    assert terminal.printable("a\r\nb\rc") == "a\nb\\rc"
    assert terminal.printable("\x1b[31m\x9b\u202e\ud800\0") == "\\x1b[31m\\x9b\\u202e\\ud800\\x00"
    assert not OBEYED.search(terminal.printable(EVIL))


def test_every_way_out_passes_the_border(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.note(f"note {EVIL} [bold]not markup[/bold] :smile:")
    terminal.result(f"result {EVIL}")
    terminal.table(f"table {EVIL}", [f"column {EVIL}", "b"], [[f"cell {EVIL}", "[bold]1"]])
    terminal.print_json({f"key {EVIL}": [EVIL, PRINTABLE]})
    out, err = capsys.readouterr()
    assert not OBEYED.search(out + err)
    assert "[bold]not markup[/bold] :smile:" in err and "[bold]1" in out
    assert json.loads(out[out.index("{") :]) == {f"key {EVIL}": [EVIL, PRINTABLE]}


def called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> str:
    monkeypatch.setattr(sys, "argv", ["gft-lite", *arguments])
    with pytest.raises(SystemExit):
        cli.main()
    out, err = capsys.readouterr()
    assert out + err
    return out + err


def test_no_command_prints_what_a_file_wants_the_terminal_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    evil = EVIL.replace("\ud800", "").replace("/", "")
    rows = [
        {"question": f"What is 1 + 1? {evil}", "answer": f"{evil} #### 2"},
        {"question": f"{evil}", "answer": ""},
        {"question": 7, evil: evil},
    ]
    data = tmp_path / f"rows{evil}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = RunDir.create(tmp_path / f"run{evil}", load_config(preset="tiny-cpu").to_yaml())
    run.set_status("failed", message=f"broke {evil}", step=1, steps=2)
    broken = RunDir.create(tmp_path / f"broken{evil}", f"{json.dumps(evil)}: 1\n")
    for arguments in (
        ["data", "check", str(data)],
        ["data", "check", str(data), "--json"],
        ["data", "preview", str(data)],
        ["data", "fix", str(data), "--out", str(tmp_path / f"fixed{evil}.jsonl")],
        ["data", "check", f"nowhere{evil}"],
        ["runs", "list", "--root", str(tmp_path)],
        ["runs", "list", "--root", str(tmp_path), "--json"],
        ["runs", "show", str(run.path)],
        ["runs", "show", str(broken.path)],
        ["runs", "stop", str(run.path)],
        ["report", str(run.path)],
        ["resume", str(broken.path)],
        ["train", str(broken.config_file)],
        ["train", "--data", str(data), "--out", str(tmp_path / f"new{evil}")],
        ["train", f"--set=model.name={json.dumps(evil)}"],
        ["eval", "--model", f"model{evil}", "--data", str(data)],
        ["presets", f"none{evil}"],
        ["export", f"run{evil}", "--out", "x"],
    ):
        printed = called(monkeypatch, capsys, *arguments)
        assert not OBEYED.search(printed), (arguments[:2], printed)


def test_commands_print_with_the_border_only() -> None:
    """`typer.echo` and `print` would go past it."""
    allowed = {"cli/__init__.py": 2, "cli/terminal.py": 2}  # version, last error, the border
    found: dict[str, int] = {}
    package = Path(gft_lite.__file__).parent
    for file in [*package.glob("cli/*.py"), package / "worker.py"]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typer.echo", "print"):
                name = file.relative_to(package).as_posix()
                found[name] = found.get(name, 0) + 1
    assert found == allowed
