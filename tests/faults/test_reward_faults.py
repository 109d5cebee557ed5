"""Rewards that misbehave, and scoring processes that are killed: real files, real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from gft_lite.rewards import Scorer, Target, build_scorer
from gft_lite.types import RewardError, Score

FINE = Score(0.5)
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
    return 0.5
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
        assert score_all(scorer, "first", "act", *"abcdef") == [FINE] * 8
        assert score_all(scorer, "again") == [FINE]
        assert time.monotonic() - started < 10
        assert not scorer.failures


@pytest.mark.parametrize("name", BROKEN)
def test_what_costs_the_reward_of_one_response(tmp_path: Path, name: str) -> None:
    act, message = BROKEN[name]
    with scorer_of(tmp_path, FILE.replace("{act}", act)) as scorer:
        scores = score_all(scorer, "first", "act", *"abcdef")
        assert scores == [FINE, Score(0.0, "error"), *[FINE] * 6]
        failure = scorer.failures["mine"]
        assert message in failure.message, failure
        assert len(failure.message) < 400 and len(failure.traceback) < 6000


def test_endless_output_is_shown_up_to_a_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = FILE.replace("{act}", 'while True: print("\\033[2Jjunk" * 1000)')
    with scorer_of(tmp_path, text, timeout_seconds=1.0) as scorer:
        scores = score_all(scorer, "first", "act", "last")
        assert scores == [FINE, Score(0.0, "timeout"), FINE]
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
assert scorer.score([("act", Target("a"))])[0].value == 0.5
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


def kill_scoring_processes(stop: threading.Event, killed: list[int]) -> None:
    """Kill every scoring process of this process as soon as it is seen, and never one twice."""
    while not stop.wait(0.01):
        for child in psutil.Process().children():
            if child.pid not in killed:
                os.kill(child.pid, signal.SIGKILL)
                killed.append(child.pid)


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
