"""A disk that fills up: a sentence, whole files, and the same adapter once there is room."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from samples import SHORTEST

from gft_lite import cli
from gft_lite.config import load_config
from gft_lite.runs import RunDir, damage_report, damaged_groups, write_groups
from gft_lite.training import worker
from gft_lite.ui.queue import Jobs
from gft_lite.ui.workspace import Workspace

SHORT = ("train.steps=3", *SHORTEST)
KIB = 1024
WEIGHTS = "adapter/adapter_model.safetensors"
# The run needs about 15 MiB: three checkpoints of 3.3 MiB (two are kept), adapter, groups, events.
SIZES_KIB = (8, 16, 64, 1200, 2600, 4000, 7000, 10_000, 40_000)
assert len(SIZES_KIB) == 9

Disk = Callable[[int], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mounts a small file system; called again, it gets another size."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = False

    def resized(kib: int) -> Path:
        nonlocal mounted
        options = f"size={kib}k" + (",remount" if mounted else "")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode:
            pytest.skip(f"a small file system can be mounted by root only ({ran.stderr.strip()})")
        mounted = True
        return place

    yield resized
    if mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The adapter of the run on a disk with room."""
    run = tmp_path_factory.mktemp("whole") / "run"
    worker.train(load_config(preset="tiny-cpu", overrides=SHORT), run)
    assert all(event["grad_norm"] > 0 for event in RunDir(run).events("step"))  # it learns
    return (run / WEIGHTS).read_bytes()


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of a command, in this process."""
    monkeypatch.setattr(sys, "argv", ["gft-lite", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.slow
@pytest.mark.parametrize("kib", SIZES_KIB)
def test_a_run_on_a_small_disk_is_continued_to_the_same_adapter(
    kib: int,
    disk: Disk,
    whole: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = RunDir(disk(kib) / "run")
    settings = [f"--set={setting}" for setting in SHORT]
    command = ["train", "--preset", "tiny-cpu", "--out", str(run.path), *settings]
    code = called(monkeypatch, *command)
    told = capsys.readouterr().err
    assert "Traceback" not in told and "it broke" not in told
    if kib == max(SIZES_KIB):
        assert code == 0
    if code:
        last = told.strip().splitlines()[-1]
        assert code in (1, 2) and last.startswith("error: ") and "`df`" in last, told
    full = run.config_file.is_file()
    assert full or code == 2  # nothing was begun
    disk(2 * max(SIZES_KIB))
    if full:
        assert run.config() and not damage_report(run) + damaged_groups(run)
        assert run.current()["state"] in ("finished", "failed", "interrupted", "created")
        steps = [event["step"] for event in run.events("step")]
        assert steps == list(range(1, len(steps) + 1))
    if full and code:
        worker.resume(run.path)
    if not full:
        assert called(monkeypatch, *command) == 0
    assert (run.path / WEIGHTS).read_bytes() == whole
    assert run.current()["state"] == "finished" and not list(run.path.rglob("*.tmp"))


def test_a_full_disk_in_the_app_is_a_sentence_and_the_queue_goes_on(
    disk: Disk, tmp_path: Path
) -> None:
    workspace = Workspace(disk(40))
    jobs = Jobs(workspace)
    filler = workspace.root / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    from gft_lite.types import RunError

    with pytest.raises(RunError, match=r"no room is left on the disk.*`df`"):
        jobs.start(load_config(preset="tiny-cpu", overrides=SHORT))
    jobs.advance()
    assert [job.state for job in jobs.list()] in ([], ["created"], ["damaged"])
    filler.unlink()
    jobs.advance()


def test_a_write_on_a_full_disk_leaves_the_status_and_whole_events(disk: Disk) -> None:
    run = RunDir.create(disk(64) / "run", load_config(preset="tiny-cpu").to_yaml())
    run.event_log.append({"type": "step", "step": 1})
    run.set_status("running", step=1)
    filler = run.path.parent / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 512):
            pass
    long = "x" * 8192
    with pytest.raises(OSError, match="No space left"):
        run.event_log.append({"type": "step", "step": 2, "text": long})
    with pytest.raises(OSError, match="No space left"):
        run.set_status("running", step=2, message=long)
    with pytest.raises(OSError, match="No space left"):
        write_groups(run.groups_dir, 2, [{"text": os.urandom(8192).hex()}])
    assert run.status()["step"] == 1 and not list(run.path.rglob("*.tmp"))
    filler.unlink()
    run.event_log.append({"type": "step", "step": 2})
    assert [event["step"] for event in run.events()] == [1, 2]
    assert run.group_steps() == [] and not damage_report(run)
