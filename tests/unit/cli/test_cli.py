"""The installed command as a user calls it: results on stdout, everything else on stderr, an exit
code that says whose fault it was, and nothing overwritten."""

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pytest
from samples import SMALL

from gft_lite.cli import main
from gft_lite.config import preset_names
from gft_lite.runs import RunDir

COMMAND = Path(sys.executable).with_name("gft-lite")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "GFT_LITE_DEBUG": ""}
GOOD = {"prompt": "Ben has 3 coins. How many?", "expert": "#### 3", "answer": "3"}
QUICK = [f"--set={s}" for s in (*SMALL, "data.eval_path=null", "data.retention_path=null")]
MANY = 4321  # steps of a run that is not meant to reach its end
PATIENCE_SECONDS = 240  # on a machine that has other work
TRAIN = ("train", "--preset", "tiny-cpu", *QUICK)


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def call_here(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`call` without a process of its own."""
    stdout, stderr = io.StringIO(), io.StringIO()
    argv, code = ["gft-lite", *arguments], 0
    with (
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, ENVIRONMENT),
        mock.patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return subprocess.CompletedProcess(argv, code, stdout.getvalue(), stderr.getvalue())


def ok(folder: Path, *arguments: str) -> str:
    ran = call(folder, *arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def document(folder: Path, *arguments: str) -> Any:
    """What --json prints: one document, which json.loads reads only if nothing else is there."""
    return json.loads(ok(folder, *arguments, "--json"), parse_constant=pytest.fail)


def contents(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def refused(folder: Path, *arguments: str) -> str:
    """The message of a call that must fail for its input and leave everything as it was.

    The command runs in this process: a new one would take half a second for each of many cases.
    """
    before = contents(folder)
    ran = call_here(folder, *arguments)
    assert ran.returncode == 2, (ran.returncode, ran.stderr)
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    assert contents(folder) == before, "something was written"
    return ran.stderr


def rows(folder: Path, *entries: dict[str, Any], name: str = "rows.jsonl") -> str:
    (folder / name).write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return name


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with the finished run `runs/one`, and what training it printed."""
    folder = tmp_path_factory.mktemp("finished")
    arguments = [*TRAIN, "--set=train.steps=2", "--set=data.eval_path=embedded:target_test"]
    return folder, document(folder, *arguments, "--out", "runs/one")


# --- bad input: data ---

FILES: dict[str, tuple[bytes, str]] = {
    "empty.jsonl": (b"", "is empty; give a file with at least one row"),
    "binary.jsonl": (bytes(range(1, 32)) * 40, "binary"),
    "half.json": (b'[{"prompt": "a", "expert": "b"}, {"prom', "half"),
    "half.parquet": (b"PAR1" + b"\x15\x04" * 60, "half-written"),
    "numbers.csv": (b"a,b\n1,2\n", "--map prompt="),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    content, sentence = FILES[name]
    (tmp_path / name).write_bytes(content)
    for arguments in (["data", "check", name], ["train", "--data", name], ["eval", "--data", name]):
        said = refused(tmp_path, *arguments)
        assert said.startswith("error: ") and name in said and sentence in said


def test_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, sentence in (("none.jsonl", "no such file"), ("folder", "is a folder")):
        for arguments in (["data", "check", name], ["train", "--data", name]):
            assert sentence in refused(tmp_path, *arguments)


@pytest.mark.slow
def test_bad_rows_are_named_by_number_and_dropped_only_on_request(tmp_path: Path) -> None:
    entries = [GOOD, {**GOOD, "prompt": 7}, {"prompt": "no answer"}, {**GOOD, "prompt": "Other?"}]
    name = rows(tmp_path, *entries)
    said = refused(tmp_path, "train", "--data", name)
    assert "row 2, column 'prompt'" in said and "row 3" in said and "row 4" not in said
    assert "--skip-bad-rows" in said
    arguments = [*TRAIN, "--data", name, "--set=train.steps=1", "--skip-bad-rows", "--out", "run"]
    ran = call(tmp_path, *arguments)
    assert ran.returncode == 0, ran.stderr
    assert "2 rows are dropped" in ran.stderr and f"{name}, row 2, column 'prompt'" in ran.stderr
    started = next(RunDir(tmp_path / "run").events("started"))
    assert (started["examples"], started["bad_rows_dropped"]) == (2, 2)


def test_data_without_answers_names_the_field(tmp_path: Path) -> None:
    name = rows(tmp_path, {"prompt": "a", "expert": "b"})
    for arguments in (["train", "--data", name], ["eval", "--data", name]):
        said = refused(tmp_path, *arguments)
        assert f"{name}, row 1: reward 'math' needs the field 'answer'" in said
        assert "--map answer=COLUMN" in said


@pytest.mark.slow
def test_a_prompt_longer_than_the_limit(tmp_path: Path) -> None:
    long = rows(tmp_path, {**GOOD, "prompt": "word " * 3000}, GOOD)
    said = refused(tmp_path, "eval", "--data", long, "--k", "0")
    assert f"{long}, row 1: the prompt has" in said and "--max-new-tokens" in said
    ran = call(tmp_path, *TRAIN, "--data", long, "--out", "run")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f"{long}, row 1: the prompt has" in ran.stderr
    assert "raise data.max_prompt_tokens" in ran.stderr and "--skip-bad-rows" in ran.stderr
    assert not (tmp_path / "run" / "adapter").exists()


# --- bad input: settings ---


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        (["train", "none.yaml"], ["none.yaml: no such file"]),
        (["train", "bad.yaml"], ["bad.yaml: unknown key 'trian'; did you mean 'train'?"]),
        (["train", "--set", "train.stepps=3"], ["'train.stepps'; did you mean 'steps'?"]),
        (["train", "--set", "train.steps"], ["--set 'train.steps'", "section.key=value"]),
        (["train", "--set", "train.steps=many"], ["train.steps", "'many'"]),
        (["train", "--set", "reward=maths"], ["'maths'; did you mean 'math'?"]),
        (["train", "--set", "model.name=owner/model"], ["data.path is not set", "--data FILE"]),
        (["train", "--preset", "tiny-cpus"], ["unknown preset 'tiny-cpus'", "'tiny-cpu'"]),
        (["presets", "tiny-cpus"], ["unknown preset 'tiny-cpus'", "`gft-lite presets`"]),
        (["train", "--data", "good.jsonl", "--map", "prompt"], ["--map 'prompt'", "FIELD=COLUMN"]),
        (["data", "check", "good.jsonl", "--map", "=x"], ["--map '=x'", "FIELD=COLUMN"]),
        (["data", "check", "good.jsonl", "--map", "prompt=nope"], ["no column 'nope'"]),
        (["data", "check", "good.jsonl", "--format", "gsm8"], ["'gsm8'", "did you mean 'gsm8k'"]),
        (["train", "--reward-file", "mine.py"], ["mine.py"]),
        (["eval", "--data", "good.jsonl", "--reward", "nope"], ["no reward 'nope'"]),
        (["eval", "--data", "good.jsonl", "--reward", "{a: ["], ["--reward '{a: ['"]),
        (["eval", "--data", "good.jsonl", "--k", "-1"], ["--k"]),
        (["eval"], ["--data"]),
        (["resume", "nowhere"], ["nowhere is not a run directory"]),
        (["resume", "good.jsonl"], ["good.jsonl is not a run directory"]),
        (["runs", "show", "nowhere"], ["nowhere is not a run directory"]),
        (["runs", "stop", "nowhere"], ["nowhere is not a run directory"]),
        (["tarin"], ["'tarin'"]),
        (["train", "--presett", "x"], ["--presett"]),
        (["runs", "nope"], ["'nope'"]),
    ],
    ids=lambda value: " ".join(value) if value and " " not in value[0] else "",
)
def test_wrong_arguments(tmp_path: Path, arguments: list[str], sentences: list[str]) -> None:
    rows(tmp_path, GOOD, name="good.jsonl")
    (tmp_path / "bad.yaml").write_text("trian:\n  steps: 3\n")
    said = refused(tmp_path, *arguments)
    assert all(sentence in said for sentence in sentences), said


def test_models_and_adapters_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    data = rows(tmp_path, GOOD)
    said = refused(tmp_path, "eval", "--data", data, "--model", "empty")
    assert "model.name: empty is not a model folder; expected a folder with config.json" in said
    said = refused(tmp_path, "eval", "--data", data, "--adapter", "empty")
    assert said.startswith("error: empty is ") and "adapter folder" in said
    said = refused(tmp_path, *TRAIN, "--set=model.name=./empty", "--data", data, "--out", "run")
    assert "is not a model folder" in said and not (tmp_path / "run").exists()


# --- bad input: folders ---


@pytest.mark.slow
def test_another_run_is_never_touched(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = finished
    said = refused(folder, *TRAIN, "--out", "runs/one")
    assert "runs/one already holds a run; nothing was overwritten" in said and "--out" in said
    assert "runs already holds files" in refused(folder, *TRAIN, "--out", "runs")
    assert "runs/one already holds a run" in refused(folder, "demo", "--out", "runs/one")
    said = refused(folder, *TRAIN, "--out", "runs/one/config.yaml")
    assert "cannot be made" in said


@pytest.mark.slow
def test_a_finished_run_has_nothing_to_resume(finished: tuple[Path, dict[str, Any]]) -> None:
    said = refused(finished[0], "resume", "runs/one")
    assert "runs/one is finished; nothing is left to do" in said
    assert "is finished, not running" in refused(finished[0], "runs", "stop", "runs/one")


def test_a_run_with_a_broken_configuration(tmp_path: Path) -> None:
    RunDir.create(tmp_path / "run", "train: {steps: 3\n")
    assert "config.yaml, line 2: not valid YAML" in refused(tmp_path, "resume", "run")


# --- good paths ---


def test_data_check_in_words_and_as_json(tmp_path: Path) -> None:
    name = rows(tmp_path, GOOD, {**GOOD, "prompt": None}, {**GOOD, "prompt": "Other?"})
    text = ok(tmp_path, "data", "check", name)
    assert "read as 'canonical'" in text and "row 2, column 'prompt'" in text
    found = document(tmp_path, "data", "check", name)
    assert (found["rows"], found["usable"], found["bad"]) == (3, 2, 1)
    assert found["recognised"]["format"] == "canonical"
    assert found["bad_rows"][0]["row"] == 2
    mapped = rows(tmp_path, {"a b": "1 + 1?", "c": "2"}, name="other.jsonl")
    mapping = ["--map", "prompt=a b", "--map", "answer=c"]
    assert document(tmp_path, "data", "check", mapped, *mapping)["with_answer"] == 1
    assert document(tmp_path, "data", "check", "embedded:target_train")["rows"] >= 400


@pytest.mark.slow
def test_data_check_exits_with_2_if_no_row_can_be_used_or_any_is_bad_and_strict(
    tmp_path: Path,
) -> None:
    bad = {**GOOD, "prompt": None}
    some, none = rows(tmp_path, GOOD, bad), rows(tmp_path, bad, bad, name="none.jsonl")
    good = rows(tmp_path, GOOD, name="good.jsonl")
    for arguments, code, sentence in [
        ([some], 0, ""),
        ([some, "--strict"], 2, "error: rows.jsonl: 1 of 2 rows cannot be used"),
        ([good, "--strict"], 0, ""),
        ([none], 2, "error: none.jsonl: none of its 2 rows can be used"),
    ]:
        ran = call(tmp_path, "data", "check", *arguments, "--json")
        assert (ran.returncode, ran.stderr.strip()) == (code, sentence)
        report = json.loads(ran.stdout)
        assert report["rows"] == report["usable"] + report["bad"], "reported whatever the code"


def test_presets_are_listed_and_shown(tmp_path: Path) -> None:
    listed = ok(tmp_path, "presets").splitlines()
    assert [line.split()[0] for line in listed] == preset_names()
    assert all(len(line.split()) > 3 for line in listed), "each says what it is for"
    shown = ok(tmp_path, "presets", "tiny-cpu")
    assert shown.startswith("# ") and "tau: " in shown
    (tmp_path / "mine.yaml").write_text(shown)
    said = refused(tmp_path, "train", "mine.yaml", "--set", "train.nope=1")
    assert "mine.yaml: unknown key 'train.nope'" in said, "what is shown can be used as a file"


@pytest.mark.slow
def test_train_prints_one_document(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, printed = finished
    assert (printed["run_dir"], printed["state"], printed["steps"]) == ("runs/one", "finished", 2)
    assert (folder / printed["adapter"] / "adapter_model.safetensors").is_file()
    target = printed["metrics"]["target"]
    assert (target["n"], target["k"]) == (4, 2)
    run = RunDir(folder / "runs" / "one")
    assert [e["step"] for e in run.events("step")] == [1, 2]
    assert run.status()["state"] == "finished"


@pytest.mark.slow
def test_runs_are_listed_and_shown(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = finished
    assert "runs/one" in ok(folder, "runs", "list") and "2/2" in ok(folder, "runs", "list")
    (entry,) = document(folder, "runs", "list")
    assert (entry["run"], entry["state"], entry["step"]) == ("runs/one", "finished", 2)
    text = ok(folder, "runs", "show", "runs/one")
    assert text.startswith("runs/one: finished, step 2\nloss ")
    shown = document(folder, "runs", "show", "runs/one")
    assert shown["last_step"]["step"] == 2 and shown["checkpoints"] == ["step-000002"]
    assert document(tmp_path, "runs", "list") == []
    assert ok(tmp_path, "runs", "list") == ""


@pytest.mark.slow
def test_eval_prints_the_documented_keys(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, printed = finished
    found = document(
        folder, "eval", "--adapter", printed["adapter"], "--data", "embedded:target_test",
        "--limit", "3", "--k", "2", "--max-new-tokens", "60",
    )  # fmt: skip
    assert found.keys() >= {"n", "greedy_accuracy", "mean_at_k", "pass_at_k", "k"}
    assert (found["n"], found["k"]) == (3, 2)
    assert 0 <= found["mean_at_k"] <= found["pass_at_k"] <= 1
    assert 0 <= found["greedy_accuracy"] <= 1


@pytest.mark.slow
def test_names_of_files_and_columns_are_taken_as_they_are(tmp_path: Path) -> None:
    """A file called like YAML, columns with spaces and a comment sign, embedded held-out data."""
    row = {"the: question #1": "1 + 1?", "2": "#### 2", "null": "2"}
    name = rows(tmp_path, row, name="a: b #c's.jsonl")
    ok(
        tmp_path, "train", "--preset", "tiny-cpu", "--data", name, "--out", "run",
        "--map", "prompt=the: question #1", "--map", "expert=2", "--map", "answer=null",
        *[f"--set={s}" for s in (*SMALL, "train.steps=1", "eval.examples=2")],
        "--set=data.eval_path=embedded:target_test",
    )  # fmt: skip
    run = RunDir(tmp_path / "run")
    assert next(run.events("started"))["examples"] == 1
    assert list(run.events("eval"))[-1]["target"]["n"] == 2


@pytest.mark.slow
def test_where_no_folder_is_named_the_next_free_one_is_taken(tmp_path: Path) -> None:
    (tmp_path / "runs" / "sft-1").mkdir(parents=True)
    overrides = ["--set=method=sft", "--set=train.steps=1"]
    assert document(tmp_path, *TRAIN, *overrides)["run_dir"] == "runs/sft-2"


# --- ends before the end ---


@contextlib.contextmanager
def training(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A run of many quick steps in a process of its own, which never outlives the test."""
    process = subprocess.Popen(
        [COMMAND, *TRAIN, "--set=method=sft", f"--set=train.steps={MANY}", *arguments, "--out=run"],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], run: RunDir, kind: str, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if sum(1 for _ in run.events(kind)) >= count:
            return
        time.sleep(0.05)
    pytest.fail(f"no {count} events of type {kind} in {PATIENCE_SECONDS} s")


def shorten(run: RunDir, steps: int) -> None:
    """Let the resumed run end soon: the first steps do not depend on how many follow."""
    text = run.config_file.read_text()
    assert f"steps: {MANY}\n" in text
    run.config_file.write_text(text.replace(f"steps: {MANY}\n", f"steps: {steps}\n", 1))


@pytest.mark.slow
def test_ctrl_c_ends_the_run_after_its_step_and_resume_goes_on(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with training(tmp_path, "--set=train.checkpoint_every=0") as process:
        wait_for(process, run, "step", 2)
        running = call(tmp_path, "resume", "run")
        assert running.returncode == 2 and "is still running" in running.stderr
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    reached = run.status()["step"]
    assert run.status()["state"] == "stopped" and reached >= 2
    assert out.startswith(f"Stopped at step {reached}; `gft-lite resume run` continues.")
    assert [c.name for c in run.checkpoints()] == [f"step-{reached:06d}"]
    shorten(run, reached + 1)
    resumed = document(tmp_path, "resume", "run", "--accept-changes")
    assert (resumed["state"], resumed["steps"]) == ("finished", reached + 1)
    assert [e["step"] for e in run.events("step")] == list(range(1, reached + 2))


@pytest.mark.slow
def test_a_killed_run_resumes_from_its_last_checkpoint(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with training(tmp_path, "--set=train.checkpoint_every=2") as process:
        wait_for(process, run, "step", 3)  # the checkpoint of step 2 has its name
        process.kill()  # and not waited for: its number stays taken, as in a container
        assert _ended(process.pid)
        run.request_stop()  # a wish that the dead run never read is no wish to the next one
        assert run.status()["state"] == "running", "nobody could write that it ended"
        assert document(tmp_path, "runs", "show", "run")["state"] == "interrupted"
        begin = int(run.checkpoints()[-1].name.removeprefix("step-"))
        shorten(run, begin + 2)
        resumed = document(tmp_path, "resume", "run", "--accept-changes")
    assert (resumed["state"], resumed["steps"]) == ("finished", begin + 2)
    assert [e["step"] for e in run.events("step")] == list(range(1, begin + 3))
    assert [e["resumed"] for e in run.events("started")] == [False, True]


def _ended(pid: int) -> bool:
    """Whether a killed process is gone, or a zombie, within a while."""
    for _ in range(400):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False
