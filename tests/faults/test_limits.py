"""Limits of the system: a sentence with what to do, never a traceback, never a hang, and what was
written is continued to the same adapter."""

import ctypes
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from samples import SHORTEST

from gft_lite.config import RunConfig
from gft_lite.runs import RunDir, damage_report, damaged_groups
from gft_lite.training import worker

SHORT = ("train.steps=3", *SHORTEST)
MIB = 2**20
PATIENCE_SECONDS = 300
CAP_SYS_ADMIN, CAP_SYS_RESOURCE, DROP_FROM_BOUNDING_SET = 21, 24, 24
DISK, FILES = "ulimit -f", "ulimit -n"
MEMORY, PROCESSES, TIME = "ulimit -v", "ulimit -u", "ulimit -t"

# limit, value, what the sentence must name ("": it may also train to its end)
LIMITS: list[tuple[str, int, str]] = [
    ("AS", 100 * MIB, MEMORY),
    ("AS", 500 * MIB, MEMORY),
    ("AS", 700 * MIB, MEMORY),
    ("AS", 900 * MIB, ""),
    ("DATA", 400 * MIB, ""),
    ("FSIZE", 0, "TMPDIR"),
    ("FSIZE", 4_000, DISK),
    ("FSIZE", 500_000, DISK),
    ("NOFILE", 8, ""),
    ("NOFILE", 24, ""),
    ("NPROC", 1, PROCESSES),
    ("CPU", 3, TIME),
    ("STACK", MIB, ""),
]
assert len(LIMITS) == 13


def limit(name: str, value: int) -> Callable[[], None]:
    """For a child, before it begins. The limit of processes holds for no root: the child counts as
    another user, with root's access to files."""

    def apply() -> None:
        if name == "NPROC" and os.getuid() == 0:
            libc = ctypes.CDLL(None)
            for capability in (CAP_SYS_RESOURCE, CAP_SYS_ADMIN):
                libc.prctl(DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)
            resource.setrlimit(resource.RLIMIT_NPROC, (value, value))
            os.setresuid(54_321, 0, 0)
            return
        hard = value + 60 if name == "CPU" else value  # at the hard limit, the system kills
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, hard))

    return apply


def limited(name: str, value: int, arguments: Sequence[str]) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command under a limit. A workspace opened in this process
    names a folder for Gradio's files, which the command must not inherit."""
    ran = subprocess.run(
        [sys.executable, "-m", "gft_lite", *arguments],
        env={name: text for name, text in os.environ.items() if name != "GRADIO_TEMP_DIR"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        preexec_fn=limit(name, value),
    )
    return ran.returncode, ran.stdout, ran.stderr


def check(code: int, err: str, named: str) -> None:
    """A whole run, or one sentence that names the limit."""
    assert code in (0, 1, 2) and "Traceback" not in err, (code, err)
    if named or code:
        last = err.strip().splitlines()[-1]
        assert code and last.startswith("error: ") and named in last, (code, err)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The adapter of the run when nothing limits it."""
    from gft_lite.config import load_config

    run = tmp_path_factory.mktemp("whole") / "run"
    worker.train(load_config(preset="tiny-cpu", overrides=SHORT), run)
    assert all(event["grad_norm"] > 0 for event in RunDir(run).events("step"))  # it learns
    return (run / "adapter/adapter_model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value", "named"), LIMITS)
def test_a_limited_run_ends_with_a_sentence_and_is_continued(
    name: str, value: int, named: str, whole: bytes, tmp_path: Path
) -> None:
    settings = [f"--set={setting}" for setting in SHORT]
    folder = tmp_path / "run"
    arguments = ["train", "--preset", "tiny-cpu", "--out", str(folder), *settings]
    code, out, err = limited(name, value, arguments)
    if name == "CPU" and "Stopped at step" in out:  # the limit came while it trained
        assert code == 0
    else:
        check(code, err, named)
    run = RunDir(folder)
    if run.config_file.exists():
        assert run.current()["state"] in ("finished", "stopped", "failed", "interrupted")
        assert not damage_report(run) + damaged_groups(run)
        if run.current()["state"] != "finished":
            worker.resume(folder)
        # smaller batches add up in another order: equal but for rounding, and recorded
        smaller = any(run.events("out_of_memory"))
        same = (folder / "adapter/adapter_model.safetensors").read_bytes() == whole
        assert same or (smaller and name in ("AS", "DATA"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "arguments", "named"),
    [
        ("FSIZE", 100, ["data", "fix", "DATA", "--out", "OUT/fixed.jsonl"], DISK),
        ("FSIZE", 100, ["data", "check", "DATA", "--html", "OUT/page.html"], ""),
        ("FSIZE", 100, ["report", "RUN"], "cannot be written"),
        ("FSIZE", 100, ["export", "RUN", "--out", "OUT/exported"], DISK),
        ("FSIZE", 0, ["ui", "--workspace", "OUT/ws"], "TMPDIR"),
        ("AS", 300 * MIB, ["eval", "--data", "DATA", "--limit", "1"], MEMORY),
        ("AS", 300 * MIB, ["ui", "--workspace", "OUT/ws"], MEMORY),
        ("NOFILE", 7, ["data", "check", "DATA"], ""),
    ],
)
def test_limited_commands_end_with_a_sentence(
    name: str, value: int, arguments: list[str], named: str, tmp_path: Path
) -> None:
    from gft_lite.config import load_config

    data = Path(__file__).parents[1] / "data_corpus" / "gsm8k.jsonl"
    run = tmp_path / "run"
    if "RUN" in arguments:
        worker.train(load_config(preset="tiny-cpu", overrides=[*SHORT, "train.steps=1"]), run)
    places = {"DATA": str(data), "RUN": str(run), "OUT": str(tmp_path)}
    filled = arguments
    for key, place in places.items():
        filled = [argument.replace(key, place) for argument in filled]
    code, _, err = limited(name, value, filled)
    check(code, err, named)


WRITES = """
import json, resource, sys
from gft_lite.runs import RunDir, write_groups
run, limit = RunDir(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
broken = {}
for name, write in {
    "events": lambda n: run.event_log.append({"type": "step", "step": n, "text": "x" * 100}),
    "status": lambda n: run.set_status("running", step=n, message="y" * n * 20),
    "groups": lambda n: write_groups(
        run.groups_dir, n, [{"row": i * n * 7919 % 99991} for i in range(20 * n)]
    ),
}.items():
    for n in range(1, 100):
        try:
            write(n)
        except OSError as error:
            broken[name] = n
            break
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
run.event_log.append({"type": "step", "step": broken["events"]})
print(json.dumps(broken))
"""


@pytest.mark.parametrize("size", [600, 1000, 1700])
def test_a_write_that_does_not_fit_leaves_what_was_written_before(
    small_config: Callable[..., RunConfig], tmp_path: Path, size: int
) -> None:
    run = RunDir.create(tmp_path / "run", small_config().to_yaml())
    command = [sys.executable, "-c", WRITES, str(run.path), str(size)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    broken = json.loads(ran.stdout)
    assert [e["step"] for e in run.events()] == list(range(1, broken["events"] + 1))
    assert run.status()["step"] == broken["status"] - 1
    assert run.group_steps() == list(range(1, broken["groups"]))
    assert not damage_report(run) + damaged_groups(run)
    assert not list(run.path.rglob("*.tmp"))


def test_hardly_any_memory_is_a_sentence(tmp_path: Path) -> None:
    arguments = ["train", "--preset", "tiny-cpu", "--out", str(tmp_path / "run")]
    code, _, err = limited("AS", 100 * MIB, arguments)
    check(code, err, MEMORY)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--out", "NAME"],
        ["train", "NAME"],
        ["train", "--data", "NAME"],
        ["resume", "NAME"],
        ["report", "NAME"],
        ["runs", "show", "NAME"],
        ["runs", "list", "--root", "NAME"],
        ["data", "check", "NAME"],
        ["data", "fix", "DATA", "--out", "NAME"],
        ["eval", "--model", "NAME", "--data", "DATA"],
        ["eval", "--adapter", "NAME", "--data", "DATA"],
        ["export", "NAME", "--out", "OUT"],
        ["ui", "--workspace", "NAME"],
    ],
    ids=" ".join,
)
def test_a_name_that_no_file_system_takes_is_wrong_input(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from gft_lite import cli

    monkeypatch.chdir(tmp_path)
    data = Path(__file__).parents[1] / "data_corpus" / "gsm8k.jsonl"
    places = {"NAME": "ü" * 200, "DATA": str(data)}
    monkeypatch.setattr(sys, "argv", ["gft-lite", *(places.get(a, a) for a in arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert ended.value.code == 2 and told.startswith("error: ") and "it broke" not in told
