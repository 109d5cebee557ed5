"""Runs of a workspace: started, queued, stopped, killed, resumed and found again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gft_lite.config import RunConfig, load_config
from gft_lite.runs import RunDir
from gft_lite.types import ConfigError, RewardError, RunError
from gft_lite.ui.queue import Jobs
from gft_lite.ui.web_settings import check_settings
from gft_lite.ui.workspace import Workspace

SHORT = (
    "train.steps=2",
    "train.prompts_per_step=1",
    "train.checkpoint_every=1",
    "group.teacher=0",
    "group.self=2",
    "group.max_new_tokens=24",
    "data.eval_path=null",
    "data.retention_path=null",
)


def config(*overrides: str) -> RunConfig:
    return load_config(preset="tiny-cpu", overrides=[*SHORT, *overrides])


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


@pytest.fixture
def jobs(workspace: Workspace) -> Iterator[Jobs]:
    jobs = Jobs(workspace)
    yield jobs
    for job in jobs.list():
        if job.state in ("starting", "running"):
            os.kill(job.status["pid"], signal.SIGKILL)


def wait(ready: Callable[[], object], seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def state(jobs: Jobs, name: str) -> str:
    jobs.advance()
    return jobs.job(name).state


# --- the life of runs ---


@pytest.mark.slow
def test_killed_then_interrupted_then_resumed_to_the_end(jobs: Jobs) -> None:
    """kill -9 leaves no word behind: another app sees from the process alone that it is gone."""
    run = jobs.start(config("train.steps=12"))
    wait(lambda: len(list(run.events("step"))) >= 2)
    pid = run.status()["pid"]
    assert pid != os.getpid() and jobs.job("gft-1").state == "running"
    os.kill(pid, signal.SIGKILL)
    wait(lambda: jobs.job("gft-1").state == "interrupted")
    assert run.status()["state"] == "running"  # what the file still says

    later = Jobs(jobs.workspace)
    assert [(job.name, job.state) for job in later.list()] == [("gft-1", "interrupted")]
    jobs.advance()  # reaps the dead worker
    later.resume("gft-1")
    wait(lambda: state(later, "gft-1") == "finished")
    assert [e["step"] for e in run.events("step")] == list(range(1, 13))
    assert [e["resumed"] for e in run.events("started")][-1] is True
    assert (run.adapter_dir / "adapter_model.safetensors").is_file()
    with pytest.raises(RunError, match="gft-1 is finished; only a run that ended early"):
        later.resume("gft-1")
    with pytest.raises(RunError, match="nothing to stop"):
        later.stop("gft-1")


@pytest.mark.slow
def test_one_trains_the_others_wait_in_order_and_another_app_goes_on(jobs: Jobs) -> None:
    for _ in range(4):
        jobs.start(config())
    assert [job.name for job in jobs.list() if job.state == "queued"][-3:] == [
        "gft-2",
        "gft-3",
        "gft-4",
    ]
    assert [jobs.place(f"gft-{n}") for n in (2, 3, 4)] == [1, 2, 3]
    jobs.stop("gft-3")
    assert jobs.job("gft-3").state == "stopped"
    assert [jobs.place(f"gft-{n}") for n in (2, 3, 4)] == [1, 0, 2]
    first = RunDir(jobs.workspace.run("gft-1"))
    wait(lambda: first.status()["state"] in ("starting", "running"))

    after_restart = Jobs(jobs.workspace)
    assert after_restart.place("gft-2") == 1
    seen: set[str] = set()

    def finished() -> bool:
        after_restart.advance()
        states = {job.name: job.state for job in after_restart.list()}
        busy = {name for name, state in states.items() if state in ("starting", "running")}
        assert len(busy) <= 1, f"{busy} train at once"
        seen.update(busy)
        return all(states[name] == "finished" for name in ("gft-1", "gft-2", "gft-4"))

    wait(finished)
    assert {"gft-2", "gft-4"} <= seen and "gft-3" not in seen
    ended = {n: jobs.job(f"gft-{n}").status["updated"] for n in (1, 2, 4)}
    assert ended[1] < ended[2] < ended[4]


@pytest.mark.slow
def test_stop_ends_after_the_step_with_a_checkpoint_and_the_process_is_gone(jobs: Jobs) -> None:
    run = jobs.start(config("train.steps=500", "train.checkpoint_every=100"))
    wait(lambda: any(run.events("step")))
    pid = run.status()["pid"]
    jobs.stop("gft-1")
    wait(lambda: state(jobs, "gft-1") == "stopped")
    reached = run.status()["step"]
    assert 1 <= reached < 500 and run.checkpoints()[-1].name == f"step-{reached:06d}"
    wait(lambda: jobs.advance() or not Path(f"/proc/{pid}").exists())


@pytest.mark.slow
def test_stopped_while_the_model_loads(jobs: Jobs) -> None:
    jobs.start(config())
    wait(lambda: jobs.job("gft-1").state == "starting")
    jobs.stop("gft-1")
    wait(lambda: not jobs._started or jobs.advance())
    assert jobs.job("gft-1").state == "stopped"


def test_a_run_that_cannot_begin_says_why(jobs: Jobs) -> None:
    run = jobs.start(config("data.path=uploads/none.jsonl"))
    wait(lambda: state(jobs, "gft-1") == "failed")
    assert "uploads/none.jsonl: no such file" in run.status()["message"]
    wait(lambda: "Traceback" in run.log_file.read_text())  # written after the state
    assert "Traceback" not in run.status()["message"]


def test_a_worker_that_ends_without_a_word_has_failed(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    jobs.start(config())
    wait(lambda: state(jobs, "gft-1") == "failed")
    assert jobs.job("gft-1").status["message"] == "the worker ended at once (code 1); see log.txt"


@pytest.mark.slow
def test_of_the_workers_of_two_apps_for_one_waiting_run_one_trains(jobs: Jobs) -> None:
    """An app that starts right after a spawn spawns too; whichever worker is later ends."""
    run = jobs.start(config("train.steps=500"))
    again = Jobs(jobs.workspace)
    again.advance()
    wait(lambda: any(run.events("step")))
    apps = (jobs, again)
    wait(lambda: not all(app._started for app in apps) or any(app.advance() for app in apps))
    assert again.job("gft-1").state == "running" and again.place("gft-1") == 0
    assert len(list(run.events("started"))) == 1 and not list(run.events("failed"))
    again.stop("gft-1")
    wait(lambda: state(jobs, "gft-1") == "stopped")


@pytest.mark.slow
def test_stopped_by_another_app_while_the_model_loads(jobs: Jobs) -> None:
    run = jobs.start(config())
    wait(lambda: jobs.job("gft-1").state == "starting")
    Jobs(jobs.workspace).stop("gft-1")
    wait(lambda: state(jobs, "gft-1") == "stopped")
    assert run.status()["step"] == 0 and not list(run.events("step"))


@pytest.mark.slow
def test_stopped_in_the_queue_after_its_worker_was_started(jobs: Jobs) -> None:
    run = jobs.start(config())
    assert (run.status()["state"], jobs.job("gft-1").state) == ("queued", "starting")
    worker = jobs._started["gft-1"]
    jobs.stop("gft-1")
    assert worker.poll() is not None and state(jobs, "gft-1") == "stopped"
    assert not list(run.events())


@pytest.mark.slow
def test_of_two_workers_on_one_run_one_trains_and_the_other_says_so(workspace: Workspace) -> None:
    """Both stand at the same gate when it opens."""
    run = RunDir.create(workspace.runs_dir / "gft-1", config("train.steps=12").to_yaml())
    command = [sys.executable, "-m", "gft_lite.worker", str(run.path)]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = {worker.pid: worker.communicate(timeout=240)[1] for worker in workers}
    refused, trained = sorted(workers, key=lambda worker: -worker.returncode)
    assert (refused.returncode, trained.returncode) == (2, 0), said
    assert f"is still running (process {trained.pid}); stop it first" in said[refused.pid]
    assert [event["step"] for event in run.events("step")] == list(range(1, 13))
    assert run.status()["state"] == "finished"


def test_jobs_never_load_torch() -> None:
    code = "import sys, gft_lite.ui.queue; print('torch' in sys.modules, 'gradio' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]


# --- what may not be asked for ---


@pytest.mark.parametrize(
    "name", ["..", "../runs", "/etc", "", ".", "gft-1/..", "gft-1/adapter", "link", "nope", "a\0b"]
)
def test_no_name_leads_out_of_the_workspace(workspace: Workspace, name: str) -> None:
    (workspace.runs_dir / "gft-1" / "adapter").mkdir(parents=True)
    (workspace.runs_dir / "link").symlink_to("/etc")
    assert workspace.run("gft-1").name == "gft-1"
    for find in (workspace.run, workspace.upload, workspace.export):
        with pytest.raises(RunError, match="of that name here; choose one"):
            find(name)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("data.path=/etc/passwd", "data.path: /etc/passwd lies outside the workspace"),
        ("data.path=../../secret.jsonl", "outside the workspace"),
        ("data.eval_path=~/x.jsonl", None),  # a relative path as it stands: no home is looked up
        ("data.retention_path=/root/x.jsonl", "data.retention_path"),
        ("model.name=/models/llama", "model.name: /models/llama lies outside"),
        ("model.adapter=/models/adapter", "only adapters of this workspace"),
        ("model.trust_remote_code=true", "can only be set from the command line"),
    ],
)
def test_nothing_outside_the_workspace_and_no_code_of_models(
    workspace: Workspace, override: str, complaint: str | None
) -> None:
    if complaint is None:
        check_settings(config(override), workspace)
        return
    with pytest.raises(ConfigError, match=complaint):
        Jobs(workspace).start(config(override))
    assert list(workspace.runs_dir.iterdir()) == []


def test_no_reward_of_ones_own_code(workspace: Workspace, tmp_path: Path) -> None:
    file = workspace.root / "reward.py"
    file.write_text("def score(response, target): return 1.0\n")
    for spec in (f"{{file: {file}}}", f"{{parts: [{{file: {file}, weight: 1}}]}}"):
        with pytest.raises(RewardError, match="only be named on the command line"):
            Jobs(workspace).start(config(f"reward={spec}"))


def test_a_link_out_of_the_workspace_is_outside(workspace: Workspace) -> None:
    (workspace.root / "away").symlink_to("/etc")
    assert workspace.contains("runs/x") and workspace.contains(workspace.root)
    assert not workspace.contains("away/passwd") and not workspace.contains("a\0b")


def test_two_new_folders_never_share_a_name(workspace: Workspace) -> None:
    made = [workspace.new(workspace.runs_dir, "gft").name for _ in range(3)]
    assert made == ["gft-1", "gft-2", "gft-3"]


def test_a_workspace_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="choose another folder with --workspace"):
        Workspace(tmp_path / "file")
