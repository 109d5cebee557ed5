"""Rewards that misbehave, and scoring processes that are killed: real files, real processes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from adapter_maker import make_adapter

from gft_lite.config import RunConfig, load_config
from gft_lite.evaluation.accuracy import evaluate
from gft_lite.models import Policy
from gft_lite.report import run_warnings
from gft_lite.rewards import Scorer, Target, build_scorer
from gft_lite.runs import RunDir
from gft_lite.training.worker import train
from gft_lite.types import Example, Message, RewardError, Score

TEXTS = ("first", "act", *("x" * n for n in range(6, 12)))
FINE = [Score(len(text) / 100) for text in TEXTS]
FILE = """
import ctypes, os, signal, subprocess, sys, threading, time

def everywhere(act):
    for name in os.listdir("/proc/self/fd"):
        try:
            act(int(name))
        except OSError:
            pass

def act():
    {act}

def reward(response, answer):
    if response == "act":
        act()
    return len(response) / 100  # so that a score at the wrong place shows
"""


def reward_file(folder: Path, text: str) -> dict[str, str]:
    (folder / "mine.py").write_text(text)
    return {"file": str(folder / "mine.py")}


def scorer_of(folder: Path, text: str, timeout_seconds: float = 20.0) -> Scorer:
    spec = reward_file(folder, text)
    return build_scorer(spec, timeout_seconds=timeout_seconds, allow_custom=True)


def score_all(scorer: Scorer, *texts: str) -> list[Score]:
    return scorer.score([(text, Target("a")) for text in texts])


# --- what a reward does to the descriptors and the process it runs in ---

HARMLESS = {
    "writes to 1": 'os.write(1, b"junk")',
    "writes to low numbers": 'for n in range(1, 200): ctypes.CDLL(None).write(n, b"junk", 4)',
    "prints to the first stdout": 'print("junk", file=sys.__stdout__, flush=True)',
    "output of a program": 'subprocess.run(["echo", "junk"])',
    "closes low numbers": "os.closerange(0, 256)",
    "closes standard error": "os.close(2)",
    "reads standard input": 'assert sys.stdin.read() == "" and os.read(0, 9) == b""',
    "a fork that returns": "os.fork()",
    "a fork that stays": "os.fork() or (os.setsid(), time.sleep(3), os._exit(0))",
    "a program that stays": 'subprocess.Popen(["sleep", "30"])',
    "a thread that prints on": (
        "threading.Thread(target=lambda: [print(n) or time.sleep(0.01) for n in range(999)])"
        ".start()"
    ),
    "control characters": r'print("\033[2J\033]0;title\007")',
}
BROKEN = {
    "a frame of its own": (
        'everywhere(lambda n: os.write(n, b\'\\n{"number": 1, "value": 1, "verdict": "ok"}\\n\'))',
        "wrote into the channel",
    ),
    "writes to all": ('everywhere(lambda n: os.write(n, b"junk"))', "wrote into the channel"),
    "closes all": ("os.closerange(0, 1 << 16)", "closed descriptors"),
    "ends the process": ("os._exit(0)", "exit code 0"),
    "sys.exit": ("sys.exit(0)", "SystemExit: 0 (mine.py:12)"),
    "an interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt (mine.py:12)"),
    "kills its group": ("os.killpg(0, signal.SIGKILL)", "killed by SIGKILL, twice"),
    "an alarm": ("signal.setitimer(signal.ITIMER_REAL, 0.01); time.sleep(9)", "killed by SIGALRM"),
    "a crash": ("ctypes.string_at(0)", "killed by SIGSEGV, twice"),
    "a text that breaks": (
        'raise type("Odd", (Exception,), {"__str__": lambda self: 1 / 0})()',
        "Odd (mine.py:12)",
    ),
    "a text without end": ('raise ValueError("x" * 10**7)', "ValueError: xxx"),
    "endless recursion": ("act()", "RecursionError"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_disturbs_nothing(tmp_path: Path, name: str) -> None:
    with scorer_of(tmp_path, FILE.replace("{act}", HARMLESS[name])) as scorer:
        started = time.monotonic()
        assert score_all(scorer, *TEXTS) == FINE
        assert score_all(scorer, "first") == FINE[:1]
        assert time.monotonic() - started < 10
        assert not scorer.failures


@pytest.mark.parametrize("name", BROKEN)
def test_what_costs_the_reward_of_one_response(tmp_path: Path, name: str) -> None:
    act, message = BROKEN[name]
    with scorer_of(tmp_path, FILE.replace("{act}", act)) as scorer:
        assert score_all(scorer, *TEXTS) == [FINE[0], Score(0.0, "error"), *FINE[2:]]
        failure = scorer.failures["mine"]
        assert message in failure.message, failure
        assert len(failure.message) < 400 and len(failure.traceback) < 6000


@pytest.mark.slow
def test_endless_output_is_shown_up_to_a_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = FILE.replace("{act}", 'while True: print("\\033[2Jjunk" * 1000)')
    with scorer_of(tmp_path, text, timeout_seconds=1.0) as scorer:
        scores = score_all(scorer, *TEXTS[:3])
        assert scores == [FINE[0], Score(0.0, "timeout"), FINE[2]]
    shown = capsys.readouterr().err
    assert "junk" in shown and "the reward prints too much" in shown
    assert len(shown) < 100_000 and "\033" not in shown


def test_what_a_reward_prints_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        'print("while loading")\ndef reward(response, answer):\n    print(response)\n    return 1'
    )
    with scorer_of(tmp_path, text) as scorer:
        score_all(scorer, "héllo")
    assert capsys.readouterr().err == "while loading\nhéllo\n"


@pytest.mark.parametrize(
    ("act", "message"),
    [
        ("import os; os._exit(4)", "exit code 4"),
        ("import sys; sys.exit('not today')", "SystemExit: not today"),
        ("import os; os.closerange(0, 1 << 16)", "closed descriptors"),
        ("import os; [os.write(int(n), b'x') for n in os.listdir('/proc/self/fd')[3:-1]]", ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("import os; os.write(2, b'the last words'); os._exit(5)", "the last words"),
    ],
)
def test_a_file_that_breaks_while_it_is_loaded(tmp_path: Path, act: str, message: str) -> None:
    with pytest.raises(RewardError, match="could not be loaded") as raised:
        scorer_of(tmp_path, f"{act}\ndef reward(response, answer):\n    return 0.5\n")
    assert message in str(raised.value)


ORPHANS = """
import ctypes, sys
import psutil
from gft_lite.rewards import Target, build_scorer

ctypes.CDLL(None).prctl(36, 1)  # orphans become children of this process, as in a container
scorer = build_scorer({"file": sys.argv[1]}, allow_custom=True)
assert scorer.score([("act", Target("a"))])[0].verdict == "ok"
assert len(psutil.Process().children(recursive=True)) == 3
scorer.close()
assert not psutil.Process().children(recursive=True), psutil.Process().children(recursive=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can hand orphans to a process")
def test_neither_processes_nor_zombies_are_left_behind(tmp_path: Path) -> None:
    act = 'subprocess.Popen(["sleep", "60"]); os.fork() or time.sleep(60)'
    spec = reward_file(tmp_path, FILE.replace("{act}", act))
    subprocess.run([sys.executable, "-c", ORPHANS, spec["file"]], check=True, timeout=60)


# --- a scoring process that is killed from outside, or does not start ---


@pytest.mark.slow
def test_a_process_that_is_killed_is_replaced_and_the_response_scored(tmp_path: Path) -> None:
    """Killed while it sleeps between two calls, and while it scores."""
    text = """
import time
def reward(response, answer):
    time.sleep(0.2)
    return len(response) / 9
"""
    expected = [Score(n / 9) for n in (1, 2, 3)]
    with scorer_of(tmp_path, text) as scorer:
        for wait in (0.0, 0.1, 0.3):
            pid = scorer._process.pid
            assert pid is not None
            killer = threading.Timer(wait, os.kill, (pid, signal.SIGKILL))
            killer.start()
            killer.join() if not wait else None
            assert score_all(scorer, "a", "bb", "ccc") == expected
            killer.join()
            assert scorer._process.pid != pid
        assert not scorer.failures


def test_killed_twice_on_the_same_response_costs_that_response(tmp_path: Path) -> None:
    text = """
import os, signal
def reward(response, answer):
    if response == "large":
        os.kill(os.getpid(), signal.SIGKILL)  # as a system does that runs out of memory
    return 0.5
"""
    with scorer_of(tmp_path, text) as scorer:
        assert [s.verdict for s in score_all(scorer, "a", "large", "b")] == ["ok", "error", "ok"]
        assert "killed by SIGKILL, twice in a row; look whether memory" in (
            scorer.failures["mine"].message
        )


START = """
import resource, sys
from gft_lite.rewards import Target, build_scorer
from gft_lite.types import TrainingError

if sys.argv[1] == "descriptors":
    scorer = build_scorer({"name": "regex", "pattern": "a"})
    resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))
else:
    sys.executable = "/nowhere/python"
    scorer = build_scorer({"name": "regex", "pattern": "a"})
try:
    scorer.score([("a", Target("a"))])
except TrainingError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("descriptors", "Too many open files"), ("executable", "No such file or directory")],
)
def test_a_process_that_cannot_be_started(fault: str, reason: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", START, fault], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.startswith(
        f"the process that runs the reward could not be started: {reason}. Close other programs"
    )


# --- runs, evaluations and data checks with a reward that fails ---

BROKEN_REWARD = """
def reward(response, answer):
    return float(answer.missing)
"""
HUNG_REWARD = """
import time
def reward(response, answer):
    time.sleep(60)
"""
SMALLEST = (
    "train.steps=2",
    "train.prompts_per_step=2",
    "group.self=2",
    "group.max_new_tokens=64",
    "data.eval_path=null",
    "data.retention_path=null",
)
REASON = "AttributeError: 'str' object has no attribute 'missing' (mine.py:3)"


def config_of(folder: Path, text: str, *overrides: str) -> RunConfig:
    spec = json.dumps(reward_file(folder, text))
    changes = [*SMALLEST, f"reward={spec}", *overrides]
    return load_config(preset="tiny-cpu", overrides=changes)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "at"), [("gft", "training"), ("sft", "the last evaluation")])
def test_a_reward_that_always_fails_ends_the_run_with_the_reason(
    tmp_path: Path, method: str, at: str
) -> None:
    """SFT needs no reward to train: there the evaluation is what cannot be done."""
    held_out = () if at == "training" else ("data.eval_path=embedded:target_test",)
    config = config_of(tmp_path, BROKEN_REWARD, f"method={method}", "eval.examples=2", *held_out)
    with pytest.raises(RewardError, match="the reward failed on all of") as raised:
        train(config, tmp_path / "run")
    assert f"(mine: {REASON}). Correct the reward" in str(raised.value)
    run = RunDir(tmp_path / "run")
    assert run.status()["state"] == "failed" and run.status()["message"] == str(raised.value)
    (event,) = run.events("reward_error")
    assert (event["part"], event["message"]) == ("mine", REASON)
    log = run.log_file.read_text()
    for text in (event["traceback"], log):
        assert text.index("Traceback (most recent") < text.index("return float(answer.missing)")
    trained = [step["step"] for step in run.events("step")]
    assert trained == ([] if at == "training" else [1, 2]), "two steps of SFT are kept"
    assert run.adapter_dir.is_dir() == (at != "training")


@pytest.mark.slow
def test_a_reward_that_fails_now_and_then_is_recorded_once_and_warned_of(tmp_path: Path) -> None:
    text = """
def reward(response, answer):
    if len(response) % 2:
        raise ValueError("odd")
    return 0.5
"""
    config = config_of(tmp_path, text, "method=gft", "train.steps=3")
    assert train(config, tmp_path / "run").state == "finished"
    run = RunDir(tmp_path / "run")
    (event,) = run.events("reward_error")
    assert event["message"] == "ValueError: odd (mine.py:4)"
    assert 'raise ValueError("odd")' in run.log_file.read_text()
    errors = sum(step["reward_errors"] for step in run.events("step"))
    assert errors > 0
    (warning,) = [w for w in run_warnings(run) if "broke on" in w]
    assert f"broke on {errors} answer" in warning and "(mine: ValueError: odd" in warning


def test_unread_responses_are_no_failures(tmp_path: Path) -> None:
    """All unparsed: the run goes on, and what it could not learn is said."""
    with build_scorer("number") as scorer:
        scores = scorer.score([("no number here", Target("1"))] * 3)
        scorer.require_some(scores)
        assert {score.verdict for score in scores} == {"unparsed"} and not scorer.failures


def test_a_reward_that_hangs_on_everything_is_named_with_its_limit(tmp_path: Path) -> None:
    with scorer_of(tmp_path, HUNG_REWARD, timeout_seconds=0.3) as scorer:
        scores = score_all(scorer, "a", "b")
        with pytest.raises(RewardError, match=r"on all of 2 .*\(2 took longer than 0.3 s\)"):
            scorer.require_some(scores)
        scorer.require_some([*scores, Score(0.0)])
        scorer.require_some([])


def test_an_evaluation_counts_the_answers_on_which_the_reward_broke(
    tmp_path: Path, policy: Policy
) -> None:
    text = """
def reward(response, answer):
    if answer == "2":
        raise ValueError("no twos")
    return 1
"""
    examples = [Example((Message("user", "How many?"),), answer=a) for a in ("1", "2", "3")]
    with scorer_of(tmp_path, text) as scorer:
        found = evaluate(policy, examples, scorer, k=2, max_new_tokens=4)
    assert (found.errors, found.sampled_errors, found.timeouts) == (1, 2, 0)
    assert found.greedy_accuracy == pytest.approx(2 / 3)


@pytest.mark.slow
def test_the_same_adapter_whether_or_not_scoring_processes_are_killed(tmp_path: Path) -> None:
    """Killed three times, each time while a response is being scored."""
    text = """
import os, sys, time
def reward(response, answer, marks):
    with open(marks, "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(0.05)
    return (len(response) % 7) / 7
"""

    def adapter(name: str, kill_at: tuple[int, ...]) -> bytes:
        marks = tmp_path / f"{name}.marks"
        marks.touch()
        ended = threading.Event()
        killed: list[int] = []

        def watch() -> None:
            for line in kill_at:
                while not ended.wait(0.002):
                    pids = marks.read_text().split()
                    if len(pids) >= line and int(pids[-1]) not in killed:
                        killed.append(int(pids[-1]))
                        os.kill(killed[-1], signal.SIGKILL)
                        break

        watcher = threading.Thread(target=watch)
        watcher.start()
        spec = {**reward_file(tmp_path, text), "options": {"marks": str(marks)}}
        reward = f"reward={json.dumps(spec)}"
        config = config_of(tmp_path, text, "method=gft", "train.steps=3", reward)
        result = train(config, tmp_path / name)
        ended.set()
        watcher.join()
        assert len(killed) == len(kill_at)
        assert not list(RunDir(tmp_path / name).events("reward_error"))
        return (result.adapter / "adapter_model.safetensors").read_bytes()

    assert adapter("killed", (1, 5, 9)) == adapter("undisturbed", ())


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("gft-lite"), *arguments],
        cwd=folder, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


@pytest.mark.slow
def test_commands_end_with_code_2_and_one_sentence(tmp_path: Path) -> None:
    """Whatever scores: train, eval, compare, data check and data dry-run."""
    make_adapter(tmp_path / "adapter")
    spec = json.dumps(reward_file(tmp_path, BROKEN_REWARD))
    ask = ("--data", "embedded:target_test", "--limit", "2", "--max-new-tokens", "20")
    changes = [f"--set={change}" for change in SMALLEST]
    for arguments in (
        ("train", "--preset", "tiny-cpu", *changes, "--reward-file", "mine.py", "--out", "run"),
        ("eval", *ask, "--k", "1", "--reward", spec, "--json"),
        ("compare", "--adapter", "adapter", "--model", "tiny", *ask, "--reward", spec),
        ("data", "check", "embedded:target_test", "--reward", spec),
        ("data", "dry-run", "embedded:target_test", "--reward", spec, "--json"),
    ):
        ran = command(tmp_path, *arguments)
        assert (ran.returncode, ran.stdout) == (2, ""), (arguments, ran.stderr)
        assert "Traceback" not in ran.stderr
        (last,) = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
        assert last.startswith("error: the reward failed on all of") and REASON in last


@pytest.mark.slow
def test_a_run_that_learned_nothing_says_so(tmp_path: Path) -> None:
    """Equal rewards throughout: no contrast, no gradient, and an adapter that is still zero."""
    reward_file(tmp_path, "def reward(response, answer):\n    return 0.5\n")
    changes = [f"--set={change}" for change in SMALLEST]
    arguments = ("train", "--preset", "tiny-cpu", *changes, "--reward-file", "mine.py")
    ran = command(tmp_path, *arguments, "--out", "run")
    assert ran.returncode == 0, ran.stderr
    assert "Finished 2 steps" in ran.stdout
    assert "Nothing was learned: every gradient was zero." in ran.stdout
    assert "warning: 100.0\u00a0% of the groups had equal rewards" in ran.stderr
    assert "warning: 2 steps had no group with contrast and changed nothing." in ran.stderr
    again = command(tmp_path, *arguments, "--out", "other", "--json")
    assert json.loads(again.stdout)["updates"] == 0
    assert "warning: 2 steps had no group with contrast" in again.stderr
