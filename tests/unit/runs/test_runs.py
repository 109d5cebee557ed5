"""The run directory: taken or refused, written in whole lines, read while others write."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gft_lite import worker
from gft_lite.config import load_config
from gft_lite.runs import RunDir, claim_empty, list_runs, step_of, write_groups
from gft_lite.runs.atomic import new_folder, write_atomic
from gft_lite.types import RunError


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run", load_config(overrides=["train.steps=3"]).to_yaml())


@pytest.fixture
def locked_up() -> Iterator[Callable[[Path], None]]:
    """Forbids writing a folder or file, to root as well."""
    done: list[Path] = []

    def forbid(path: Path) -> None:
        done.append(path)
        if os.geteuid():
            path.chmod(0o500)
        elif subprocess.run(["chattr", "+i", path], capture_output=True).returncode:
            pytest.skip("nothing forbids root to write here")

    yield forbid
    for path in done:
        if os.geteuid():
            path.chmod(0o700)
        else:
            subprocess.run(["chattr", "-i", path], capture_output=True)


# --- taking a folder ---


def test_create_makes_folders_and_says_so(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "a" / "b", "x: 1\n")
    assert run.config_file.read_text() == "x: 1\n"
    assert run.status()["state"] == "created"
    assert RunDir.open(tmp_path / "a" / "b").path == run.path


def test_an_empty_folder_may_be_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert RunDir.create(tmp_path / "run", "").config_file.is_file()


def test_another_run_is_never_overwritten(run: RunDir) -> None:
    before = {p.name: p.read_bytes() for p in run.path.iterdir()}
    with pytest.raises(RunError, match=r"already holds a run.*--out.*gft-lite resume"):
        RunDir.create(run.path, "other: 1\n")
    assert {p.name: p.read_bytes() for p in run.path.iterdir()} == before


def test_other_files_are_never_mixed_with(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="already holds files; nothing was overwritten"):
        RunDir.create(tmp_path, "")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match=r"cannot be made \(.+\); choose another --out"):
            claim_empty(path)
    assert (tmp_path / "file").read_text() == "x"


def test_an_empty_folder_that_cannot_be_written(
    tmp_path: Path, locked_up: Callable[[Path], None]
) -> None:
    (tmp_path / "run").mkdir()
    locked_up(tmp_path / "run")
    with pytest.raises(RunError, match=r"run cannot be written \(.+\); choose another --out"):
        RunDir.create(tmp_path / "run", "")


def test_resume_where_nothing_can_be_written(
    run: RunDir, locked_up: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    locked_up(run.path)
    assert worker.main([str(run.path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {run.path} cannot be written (") and said.count("\n") == 1
    assert "make it writable (permissions, room on the disk), or copy it" in said


def test_resume_where_a_file_of_the_run_cannot_be_written(run: RunDir) -> None:
    run.status_file.with_name("status.json.tmp").mkdir()  # in the way, for root as well
    with pytest.raises(RunError, match=r"run cannot be written \(Is a directory\); make it"):
        worker.resume(run.path)
    assert run.status()["state"] == "created"


def test_open_refuses_what_is_no_run(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunError, match=r"is not a run directory: it has no config\.yaml"):
            RunDir.open(path)


# --- events ---


def test_events_come_back_in_order_and_by_type(run: RunDir) -> None:
    assert list(run.events()) == []
    for i in (1, 2):
        run.event_log.append({"type": "step", "step": i, "text": "zwölf\n\u2028"})
        run.event_log.append({"type": "eval", "step": i})
    assert [(e["type"], e["step"]) for e in run.events()] == [
        ("step", 1),
        ("eval", 1),
        ("step", 2),
        ("eval", 2),
    ]
    assert [e["step"] for e in run.events("eval")] == [1, 2]
    assert next(run.events("step"))["text"] == "zwölf\n\u2028"
    assert all(e["time"] > 1.6e9 for e in run.events())


def test_a_half_written_last_line_is_left_out_wherever_it_is_cut(run: RunDir) -> None:
    run.event_log.append({"type": "step", "step": 1})
    whole = run.events_file.read_bytes()
    line = json.dumps({"type": "step", "step": 2, "message": "wörter"}, ensure_ascii=False)
    for cut in range(len(line.encode())):
        run.events_file.write_bytes(whole + line.encode()[:cut])
        assert [e["step"] for e in run.events()] == [1]
    run.events_file.write_bytes(whole + line.encode() + b"\n")
    assert [e["step"] for e in run.events()] == [1, 2]


def test_a_line_cut_by_a_full_disk_does_not_hide_the_others(run: RunDir) -> None:
    run.event_log.append({"type": "step", "step": 1})
    with run.events_file.open("a") as file:
        file.write('{"type": "st')
    run.event_log.append({"type": "failed", "message": "no space"})
    run.event_log.append({"type": "step", "step": 2})
    assert [e.get("step") for e in run.events()] == [1, 2]


def test_a_reader_beside_a_writer_sees_whole_events_only(run: RunDir) -> None:
    writer = threading.Thread(
        target=lambda: [
            run.event_log.append({"type": "step", "step": i, "x": "y" * 500}) for i in range(300)
        ]
    )
    writer.start()
    seen = []
    while writer.is_alive():
        seen = [e["step"] for e in run.events()]
        assert seen == list(range(len(seen)))
    writer.join()
    assert [e["step"] for e in run.events()] == list(range(300))


def test_forget_after_drops_what_a_resumed_run_writes_again(run: RunDir) -> None:
    run.event_log.append({"type": "started"})
    for step in (1, 2, 3, 4):
        run.event_log.append({"type": "step", "step": step})
        write_groups(run.groups_dir, step, [{"row": step}])
    run.event_log.append({"type": "eval", "step": 4, "final": True})
    run.event_log.append({"type": "finished", "step": 2})
    with run.events_file.open("a") as file:
        file.write('{"type": "step", "ste')
    run.forget_after(2)
    assert [(e["type"], e.get("step")) for e in run.events()] == [
        ("started", None),
        ("step", 1),
        ("step", 2),
    ]
    assert run.group_steps() == [1, 2]
    run.event_log.append({"type": "step", "step": 3})
    assert [e["step"] for e in run.events("step")] == [1, 2, 3]


def test_forget_after_on_a_run_without_events(run: RunDir) -> None:
    run.forget_after(0)
    assert list(run.events()) == []


# --- status ---


def test_status_is_replaced_whole(run: RunDir) -> None:
    run.set_status("running", step=3, steps=9, message="long " * 50)
    run.set_status("stopped", step=4)
    status = run.status()
    assert (status["state"], status["step"]) == ("stopped", 4)
    assert "message" not in status and "steps" not in status
    assert not list(run.path.glob("*.tmp"))


def test_a_reader_never_sees_half_a_status(run: RunDir) -> None:
    def write() -> None:
        for step in range(200):
            run.set_status("running", step=step, message="x" * (step * 37 % 5000))

    writer = threading.Thread(target=write)
    run.set_status("running", step=0)
    writer.start()
    while writer.is_alive():
        assert run.status()["state"] == "running"
    writer.join()
    assert run.status()["step"] == 199


def test_status_of_a_run_that_wrote_none_or_a_damaged_one(run: RunDir) -> None:
    run.status_file.write_text("")
    assert run.status()["state"] == "damaged"
    assert run.status()["message"] == (
        f"{run.status_file} is damaged (it is empty); `gft-lite resume {run.path}` continues "
        "from the last checkpoint and replaces it"
    )
    run.status_file.unlink()
    assert run.status() == {"state": "created", "step": 0}


# --- the lock ---

OWNER = """
import sys
from gft_lite.runs import RunDir
with RunDir(sys.argv[1]).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def owner(run: RunDir) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the run."""
    command = [sys.executable, "-c", OWNER, str(run.path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout and process.stdout.readline() == "locked\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_run_is_alive_while_a_process_owns_it_and_no_longer(run: RunDir) -> None:
    run.set_status("running", step=3)
    assert run.current()["state"] == "interrupted"
    with owner(run) as process:
        assert run.current()["state"] == "running"
        process.kill()
        process.wait()
        assert run.current()["state"] == "interrupted"
    with run.lock():
        assert run.current()["state"] == "running"  # seen from the process that trains it, too
    assert run.current()["state"] == "interrupted"


def test_neither_a_process_number_nor_a_clock_makes_a_run_alive(run: RunDir) -> None:
    """The number is taken by another process, and the clock was set back since."""
    for pid in (os.getpid(), 1, os.getppid()):
        for updated in (time.time() + 1e6, time.time(), 1.0):
            status = {"state": "running", "pid": pid, "updated": updated, "step": 2}
            run.status_file.write_text(json.dumps(status))
            assert run.current()["state"] == "interrupted"
    with owner(run):
        run.status_file.write_text(json.dumps({"state": "running", "pid": 2**22 + 1, "step": 2}))
        assert run.current()["state"] == "running"  # a container counts its processes anew


def test_a_copy_of_a_running_run_is_not_alive(run: RunDir, tmp_path: Path) -> None:
    run.set_status("running", step=3)
    with owner(run):
        copy = RunDir(shutil.copytree(run.path, tmp_path / "copy"))
        assert (run.current()["state"], copy.current()["state"]) == ("running", "interrupted")
        with copy.lock():
            pass


@pytest.mark.slow
def test_a_run_has_one_owner_and_may_lock_again_within(run: RunDir) -> None:
    refused = pytest.raises(RunError, match=r"run is still running \(process \d+\); stop it first")
    with run.lock(), run.lock(), refused, RunDir(run.path).lock():
        pass
    with owner(run), pytest.raises(RunError, match="is still running"):
        worker.resume(run.path)
    assert run.status()["state"] == "created"


def test_many_looks_at_the_lock_disturb_neither_each_other_nor_an_owner(run: RunDir) -> None:
    """A look takes the lock for an instant."""
    run.set_status("running")
    with run.lock():
        pass
    seen: list[str] = []

    def look() -> None:
        seen.extend(RunDir(run.path).current()["state"] for _ in range(100))

    looks = [threading.Thread(target=look) for _ in range(3)]
    for thread in looks:
        thread.start()
    for thread in looks:
        thread.join()
    assert seen == ["interrupted"] * 300
    looks = [threading.Thread(target=look) for _ in range(3)]
    for thread in looks:
        thread.start()
    for _ in range(20):
        with RunDir(run.path).lock():
            pass
    for thread in looks:
        thread.join()


def test_where_the_lock_cannot_be_tested_the_status_counts(run: RunDir) -> None:
    run.set_status("running")
    run.lock_file.symlink_to(run.lock_file)  # a loop: root cannot open it either
    assert run.current()["state"] == "running"
    with pytest.raises(RunError, match="cannot be written"), run.lock():
        pass


def test_write_atomic_keeps_the_old_file_where_writing_fails(tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    write_atomic(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(file, "half \ud800")
    assert file.read_text() == "old"


# --- groups and checkpoints ---


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20)), max_size=4))
def test_groups_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, groups: list[dict[str, str]]
) -> None:
    run = RunDir(tmp_path_factory.mktemp("groups"))
    write_groups(run.groups_dir, 12, groups)
    assert run.read_groups(12) == groups
    assert run.group_steps() == [12]
    assert [p.name for p in run.groups_dir.iterdir()] == ["step-000012.json.gz"]


def test_groups_of_a_step_that_was_not_stored(run: RunDir) -> None:
    with pytest.raises(RunError, match="the groups of step 7 were not stored"):
        run.read_groups(7)
    assert run.group_steps() == []


def test_checkpoints_are_known_by_their_names_and_the_oldest_is_first(run: RunDir) -> None:
    assert run.checkpoints() == []
    names = ("step-1000000", "step-000100", "step-000020", "damaged-step-000010")
    for name in (*names, ".step-000040.tmp", "step-", "step-x", "step-000005 (copy)"):
        (run.checkpoints_dir / name).mkdir(parents=True)
    assert [step_of(c) for c in run.checkpoints()] == [20, 100, 1000000]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    with new_folder(target) as aside:
        (aside / "weights").write_text("old")
    with pytest.raises(ZeroDivisionError), new_folder(target) as aside:
        (aside / "weights").write_text("new")
        raise ZeroDivisionError
    assert (target / "weights").read_text() == "old"
    with new_folder(target) as aside:
        (aside / "other").write_text("new")
    assert [path.name for path in target.iterdir()] == ["other"]
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_what_a_killed_process_left_is_removed(run: RunDir) -> None:
    for name in ("checkpoints/.step-000002.tmp", "checkpoints/.step-000001.old", ".adapter.tmp"):
        (run.path / name / "below").mkdir(parents=True)
    run.groups_dir.mkdir()
    (run.groups_dir / "step-000001.json.gz.tmp").touch()
    (run.checkpoints_dir / "step-000002").mkdir()
    run.remove_leftovers()
    left = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*")}
    folders = {"checkpoints", "checkpoints/step-000002", "groups"}
    assert left == {"config.yaml", "status.json", *folders}


# --- finding runs ---


def test_list_runs_finds_them_down_to_grandchildren_newest_first(tmp_path: Path) -> None:
    import os

    for age, name in enumerate(("one", "demo/gft", "two", "a/b/too-deep")):
        run = RunDir.create(tmp_path / name, "")
        os.utime(run.config_file, (1e9 - age, 1e9 - age))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.yaml").write_text("no run: it has no status")
    found = [run.path.relative_to(tmp_path).as_posix() for run in list_runs(tmp_path)]
    assert found == ["one", "demo/gft", "two"]
    assert [run.path for run in list_runs(tmp_path / "one")] == [tmp_path / "one"]
    assert list_runs(tmp_path / "nowhere") == []


SHORT_LIVES = """
import sys
from gft_lite.runs import RunDir
run = RunDir(sys.argv[1])
for step in range(400):
    with run.lock():
        run.set_status("running", step=step)
        run.set_status("finished", step=step)
"""


def test_a_run_that_ends_while_it_is_looked_at_is_not_interrupted(run: RunDir) -> None:
    with subprocess.Popen([sys.executable, "-c", SHORT_LIVES, str(run.path)]) as process:
        states = set()
        while process.poll() is None:
            states.add(run.current()["state"])
    assert process.returncode == 0 and states <= {"created", "running", "finished"}
