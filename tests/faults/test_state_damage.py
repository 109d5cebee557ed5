"""Damaged run directories: each is marked as damaged, with file and remedy, and harms no other."""

import gzip
import json
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from samples import SHORTEST
from typer.testing import CliRunner, Result
from web_app import App

from gft_lite import cli
from gft_lite.config import load_config
from gft_lite.runs import BUSY, RunDir, damage_report, damaged_groups
from gft_lite.training import worker
from gft_lite.types import InputError
from gft_lite.ui.app_state import open_app_state
from gft_lite.ui.compare.adapter_registry import find_adapters
from gft_lite.ui.queue import Job, Jobs
from gft_lite.ui.train import group_inspector, run_view
from gft_lite.ui.train.event_tail import EventTails
from gft_lite.ui.workspace import Workspace

SHORT = ("train.steps=2", *SHORTEST)
STEP = {"type": "step", "step": 1, "loss": 0.5, "trained_tokens": 3, "groups": 1, "seconds": 1.0}
Damage = Callable[[Path], None]


def content(name: str, data: bytes | str) -> Damage:
    """Replace a file of the run."""
    raw = data.encode() if isinstance(data, str) else data
    return lambda run: void((run / name).write_bytes(raw))


def lines(*added: bytes | str) -> Damage:
    """Add lines to events.jsonl."""

    def damage(run: Path) -> None:
        with (run / "events.jsonl").open("ab") as file:
            for line in added:
                file.write((line.encode() if isinstance(line, str) else line) + b"\n")

    return damage


def status(**fields: Any) -> Damage:
    """A status of a run that ended well, with other fields."""
    whole = {"state": "finished", "pid": 1, "updated": 1.7e9, "step": 2, "steps": 2, **fields}
    return content("status.json", json.dumps(whole))


def in_place_of(name: str, make: Callable[[Path], object]) -> Damage:
    """Something else in place of a file: a folder, a pipe, a link to itself, nothing."""

    def damage(run: Path) -> None:
        if (run / name).is_dir():
            shutil.rmtree(run / name)
        else:
            (run / name).unlink()
        make(run / name)

    return damage


def groups(value: object) -> Damage:
    return content("groups/step-000002.json.gz", gzip.compress(json.dumps(value).encode()))


def void(_: object) -> None: ...


def loop(path: Path) -> None:
    """Nobody can read it, root included."""
    path.symlink_to(path)


@dataclass(frozen=True)
class Kind:
    """A kind of damage. state: what the run then is. file: named by a sentence about the damage;
    empty where nothing is damaged."""

    damage: Damage
    state: str
    file: str = ""
    pipeline: bool = False


DEEP = "[" * 100_000
STATUS, CONFIG, EVENTS = "status.json", "config.yaml", "events.jsonl"
GROUPS, RECORD = "groups/step-000002.json.gz", "adapter/gft_lite.json"
STAGE = "stage-1-sft"

KINDS: dict[str, Kind] = {
    # status.json
    "status is an empty object": Kind(content(STATUS, "{}"), "damaged", STATUS),
    "status is a list": Kind(content(STATUS, "[]"), "damaged", STATUS),
    "status is null": Kind(content(STATUS, "null"), "damaged", STATUS),
    "status is a text": Kind(content(STATUS, '"finished"'), "damaged", STATUS),
    "status is empty": Kind(content(STATUS, ""), "damaged", STATUS),
    "status is cut": Kind(content(STATUS, '{"state": "fini'), "damaged", STATUS),
    "status is no UTF-8": Kind(content(STATUS, b'{"state": "\xff\xfe"}'), "damaged", STATUS),
    "status is NUL bytes": Kind(content(STATUS, bytes(300)), "damaged", STATUS),
    "status is nested too deeply": Kind(content(STATUS, DEEP), "damaged", STATUS),
    "status is huge": Kind(content(STATUS, " " * 5_000_000 + "{}"), "damaged", STATUS),
    "status is a folder": Kind(in_place_of(STATUS, Path.mkdir), "damaged", STATUS),
    "status cannot be read": Kind(in_place_of(STATUS, loop), "damaged", STATUS),
    "status is a pipe": Kind(in_place_of(STATUS, os.mkfifo), "damaged", STATUS),
    "status is missing": Kind(in_place_of(STATUS, void), "damaged", STATUS),
    "state is missing": Kind(content(STATUS, '{"step": 2}'), "damaged", STATUS),
    "state is unknown": Kind(status(state="paused"), "damaged", STATUS),
    "state is a list": Kind(status(state=["running"]), "damaged", STATUS),
    "step is a text": Kind(status(step="two"), "damaged", STATUS),
    "step is negative": Kind(status(step=-1), "damaged", STATUS),
    "step is true": Kind(status(step=True), "damaged", STATUS),
    "steps is infinite": Kind(status(steps=math.inf), "damaged", STATUS),
    "steps has a thousand digits": Kind(status(steps=10**1000), "damaged", STATUS),
    "pid is a text": Kind(status(state="running", pid="1"), "damaged", STATUS),
    "message is an object": Kind(status(state="failed", message={}), "damaged", STATUS),
    "time of queueing is NaN": Kind(status(state="queued", since=math.nan), "damaged", STATUS),
    "pid is of another process": Kind(status(state="running", pid=1), "interrupted"),
    "pid is of this process": Kind(status(state="starting", pid=os.getpid()), "interrupted"),
    "the clock was set back": Kind(status(state="running", updated=4e9), "interrupted"),
    # config.yaml
    "configuration is empty": Kind(content(CONFIG, ""), "damaged", CONFIG),
    "configuration is no YAML": Kind(content(CONFIG, "train: [1, {"), "damaged", CONFIG),
    "configuration is foreign": Kind(
        content(CONFIG, "services: {web: {image: nginx}}\n"), "damaged", CONFIG
    ),
    "configuration is a list": Kind(content(CONFIG, "- 1\n"), "damaged", CONFIG),
    "configuration has other types": Kind(content(CONFIG, "train: 7\n"), "damaged", CONFIG),
    "configuration is partial": Kind(content(CONFIG, "train: {steps: 9}\n"), "damaged", CONFIG),
    "configuration is no UTF-8": Kind(content(CONFIG, b"\xff\xfe\x00"), "damaged", CONFIG),
    "configuration is NUL bytes": Kind(content(CONFIG, bytes(300)), "damaged", CONFIG),
    "configuration is nested too deeply": Kind(content(CONFIG, DEEP), "damaged", CONFIG),
    "configuration is a folder": Kind(in_place_of(CONFIG, Path.mkdir), "damaged", CONFIG),
    "configuration cannot be read": Kind(in_place_of(CONFIG, loop), "damaged", CONFIG),
    "configuration is a pipe": Kind(in_place_of(CONFIG, os.mkfifo), "damaged", CONFIG),
    "configuration is missing": Kind(in_place_of(CONFIG, void), "damaged", CONFIG),
    # events.jsonl
    "an event has no type": Kind(lines('{"step": 1}'), "finished", EVENTS),
    "an event is no object": Kind(lines("[]", "null", "7", '"step"'), "finished", EVENTS),
    "an event's type is a list": Kind(lines('{"type": ["step"]}'), "finished", EVENTS),
    "an event's step is a text": Kind(lines(json.dumps({**STEP, "step": "1"})), "finished", EVENTS),
    "an event's step is a list": Kind(
        lines(json.dumps({"type": "eval", "step": [1]})), "finished", EVENTS
    ),
    "an event is cut": Kind(lines('{"type": "step", "st'), "finished", EVENTS),
    "an event is NUL bytes": Kind(lines(bytes(100)), "finished", EVENTS),
    "an event is no UTF-8": Kind(lines(b'{"type": "\xff"}'), "finished", EVENTS),
    "an event is nested too deeply": Kind(lines(DEEP), "finished", EVENTS),
    "figures of events have other types": Kind(
        lines(
            *(
                json.dumps({**dict.fromkeys(STEP, v), "type": "step", "step": 3})
                for v in (1e400, True, None, {}, [], "x")
            )
        ),
        "finished",
    ),
    "events are a folder": Kind(in_place_of(EVENTS, Path.mkdir), "finished", EVENTS),
    "events cannot be read": Kind(in_place_of(EVENTS, loop), "finished", EVENTS),
    "events are a pipe": Kind(in_place_of(EVENTS, os.mkfifo), "finished", EVENTS),
    "the last event is being written": Kind(
        lambda run: void((run / EVENTS).open("a").write('{"type": "st')), "finished"
    ),
    # groups, adapter
    "groups are cut": Kind(
        lambda run: os.truncate(run / GROUPS, (run / GROUPS).stat().st_size // 2),
        "finished",
        GROUPS,
    ),
    "groups are empty": Kind(content(GROUPS, ""), "finished", GROUPS),
    "groups are not compressed": Kind(content(GROUPS, "[]"), "finished", GROUPS),
    "groups have a changed byte": Kind(lambda run: flip(run / GROUPS), "finished", GROUPS),
    "groups are an object": Kind(groups({}), "finished", GROUPS),
    "groups are numbers": Kind(groups([1, 2]), "finished", GROUPS),
    "groups have other types": Kind(
        groups(
            [
                {"responses": [{"probs": 7, "tokens": "x", "text": 1, "reward": [], "source": {}}]},
                {"responses": {}},
                {"prompt": 3},
            ]
        ),
        "finished",
    ),
    "groups are a folder": Kind(in_place_of(GROUPS, Path.mkdir), "finished", GROUPS),
    "groups of another program": Kind(content("groups/step-x.json.gz", "x"), "finished"),
    "the adapter's record is empty": Kind(content(RECORD, ""), "finished", RECORD),
    "the adapter's record is a list": Kind(content(RECORD, "[]"), "finished", RECORD),
    # a stage of a pipeline
    "a stage's status is an empty object": Kind(
        content(f"{STAGE}/{STATUS}", "{}"), "finished", f"{STAGE}/{STATUS}", pipeline=True
    ),
    "a stage's configuration is empty": Kind(
        content(f"{STAGE}/{CONFIG}", ""), "finished", f"{STAGE}/{CONFIG}", pipeline=True
    ),
    "a stage's configuration is missing": Kind(
        in_place_of(f"{STAGE}/{CONFIG}", void), "finished", f"{STAGE}/{CONFIG}", pipeline=True
    ),
    "a stage's events are a folder": Kind(
        in_place_of(f"{STAGE}/{EVENTS}", Path.mkdir), "finished", f"{STAGE}/{EVENTS}", pipeline=True
    ),
    "a stage has no number": Kind(
        lambda run: void((run / STAGE).rename(run / "stage-x-sft")), "finished", pipeline=True
    ),
    "a stage is a file": Kind(in_place_of(STAGE, Path.touch), "finished", pipeline=True),
}
assert len(KINDS) >= 32


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended well."""
    run = tmp_path_factory.mktemp("whole") / "run"
    worker.train(load_config(preset="tiny-cpu", overrides=SHORT), run)
    assert all(event["grad_norm"] > 0 for event in RunDir(run).events("step"))  # it learns
    return run


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline that ended well."""
    run = tmp_path_factory.mktemp("whole") / "pipeline"
    settings = [*SHORT, "stages=[sft, gft]"]
    worker.train(load_config(preset="tiny-cpu", overrides=settings), run)
    return run


@pytest.fixture
def wholes(request: pytest.FixtureRequest) -> Callable[[bool], Path]:
    """Whole runs, trained when one is first needed."""
    return lambda pipeline: request.getfixturevalue("pipeline" if pipeline else "single")


def damaged(kind: Kind, wholes: Callable[[bool], Path], target: Path) -> RunDir:
    kind.damage(shutil.copytree(wholes(kind.pipeline), target))
    return RunDir(target)


def called(*arguments: str) -> Result:
    """A command in this process; what it raises, but for input errors, is a raw error."""
    result = CliRunner().invoke(cli.app, arguments)
    raised = result.exception
    if raised is not None and not isinstance(raised, InputError | SystemExit):
        raise raised
    return result


def shown(job: Job, app_state: Any) -> list[str]:
    """Everything the page draws of a run."""
    tails = EventTails()
    snapshot = tails.snapshot(job)
    looks = [
        run_view.run_label(job),
        run_view.run_head(snapshot, app_state.jobs),
        run_view.run_curves(snapshot),
        run_view.run_warnings(tails.tail(job).warnings(job)),
    ]
    tau = group_inspector.tau_of(snapshot.record.config)
    for step in (1, 2):
        form = group_inspector.GroupForm(job.name, step, 1, "probability", tau, False)
        looks.append(group_inspector.group_view(job.run, form)[1])
    return [str(look) for look in looks]


FAST = {"status is an empty object", "configuration is empty", "an event is no object"} | {
    "groups have a changed byte",
    "the clock was set back",
}


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in KINDS]
)
def test_a_damaged_run_is_marked_and_harms_no_other(
    name: str, wholes: Callable[[bool], Path], tmp_path: Path
) -> None:
    kind = KINDS[name]
    app_state = open_app_state(str(tmp_path / "ws"))
    runs = app_state.workspace.runs_dir
    run = damaged(kind, wholes, runs / "gft-1")
    shutil.copytree(wholes(False), runs / "gft-2")

    assert run.current()["state"] == kind.state
    found = damage_report(run) + damaged_groups(run)
    assert bool(found) == bool(kind.file), found
    assert not kind.file or str(run.path / kind.file) in " ".join(found)
    assert all("\n" not in sentence and "Error" not in sentence for sentence in found)
    if kind.state == "damaged":
        assert run.current()["message"] in found and "; " in found[0]

    jobs = Jobs(app_state.workspace)
    jobs.advance()
    states = {job.name: job.state for job in jobs.list()}
    assert states == {"gft-1": kind.state, "gft-2": "finished"}
    page = " ".join(shown(jobs.job("gft-1"), app_state))
    if kind.state == "damaged":
        assert "damaged" in page and Path(kind.file).name in page
    offered = [adapter.name for adapter in find_adapters(app_state).adapters]
    assert "gft-2" in offered

    listed = json.loads(called("runs", "list", "--root", str(runs), "--json").stdout)
    of = {Path(entry["run"]).name: entry["state"] for entry in listed}
    assert (of["gft-1"], of["gft-2"]) == (kind.state, "finished")
    assert called("runs", "list", "--root", str(runs)).exit_code == 0
    document = json.loads(called("runs", "show", str(run.path), "--json").stdout)
    assert document["state"] == kind.state and document["damage"] == found
    text = called("runs", "show", str(run.path)).stdout
    assert all(sentence in text for sentence in found)
    report = called("report", str(run.path), "--out", str(tmp_path / "report.html"))
    assert report.exit_code == 0
    page = (tmp_path / "report.html").read_text()
    assert all(Path(kind.file).name in page for _ in found)
    stopped = called("runs", "stop", str(run.path))
    assert isinstance(stopped.exception, InputError)


@pytest.mark.parametrize(
    "name",
    [
        "status is an empty object",
        "status is a text",
        "status is missing",
        "step is negative",
        "pid is of another process",
        "an event is no object",
        "groups have a changed byte",
        "a stage's status is an empty object",
        "a stage's configuration is empty",
        "a stage's configuration is missing",
    ],
)
@pytest.mark.slow
def test_a_damaged_run_is_resumed_to_the_same_adapter(
    name: str, wholes: Callable[[bool], Path], tmp_path: Path
) -> None:
    """From its first checkpoint, as if its process had been killed after it."""
    kind = KINDS[name]
    weights = "adapter/adapter_model.safetensors"
    whole = (wholes(kind.pipeline) / weights).read_bytes()
    run = damaged(kind, wholes, tmp_path / "run")
    shutil.rmtree(run.adapter_dir)
    for stage in run.stages() or [run]:
        shutil.rmtree(stage.checkpoints()[-1])
    if run.current()["state"] == "finished":
        run.set_status("running", step=2, steps=run.config().train.steps)
    worker.resume(run.path)
    assert run.current()["state"] == "finished" and not damage_report(run)
    assert (run.path / weights).read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, k in KINDS.items() if k.file == CONFIG])
def test_a_run_without_its_configuration_is_never_resumed_with_another(
    name: str, wholes: Callable[[bool], Path], tmp_path: Path
) -> None:
    """An empty file would be the default settings."""
    run = damaged(KINDS[name], wholes, tmp_path / "run")
    run.set_status("stopped", step=1, steps=2)
    weights = (run.adapter_dir / "adapter_model.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"config\.yaml"):
        worker.resume(run.path)
    assert (run.adapter_dir / "adapter_model.safetensors").read_bytes() == weights


@pytest.mark.slow
def test_a_workspace_of_damaged_runs_still_serves_and_trains(
    wholes: Callable[[bool], Path], tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "ws")
    for number, kind in enumerate(KINDS.values(), 1):
        damaged(kind, wholes, workspace.runs_dir / f"sft-{number}")
    app = App(workspace.root)
    try:
        client = Client(app.url, verbose=False)
        states = {run["name"]: run["state"] for run in client.predict(api_name="/runs")}
        expected = {f"sft-{n}": kind.state for n, kind in enumerate(KINDS.values(), 1)}
        assert states == expected
        for name, state in states.items():
            assert client.predict(name, api_name="/run")["state"] == state
        healthy = client.predict("tiny-cpu", list(SHORT), api_name="/start_run")
        until = time.monotonic() + 240
        while (state := client.predict(healthy, api_name="/run")["state"]) != "finished":
            assert state in (*BUSY, "queued") and time.monotonic() < until
            time.sleep(0.5)
        assert "Traceback" not in app.log.read_text()
    finally:
        app.end()
