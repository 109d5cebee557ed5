"""Events: every field is documented, the page is current, a real run writes nothing else, and lines
of other versions can be read."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gft_lite.config import RunConfig
from gft_lite.runs import RunDir
from gft_lite.runs.events import ENVELOPE, EVENTS, EvalEvent, OutOfMemoryEvent, StepEvent
from gft_lite.training.worker import resume, train

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "scripts"))
from events_reference import fields_of_events  # noqa: E402


def test_the_page_of_events_is_current() -> None:
    command = [sys.executable, ROOT / "scripts" / "events_reference.py", "--check"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_every_field_of_every_event_is_documented() -> None:
    documented = fields_of_events()
    for event in EVENTS.values():
        assert event.__doc__ and documented[event.__name__]
        for name, _, meaning in documented[event.__name__]:
            assert meaning.endswith("."), f"{event.__name__}.{name}"


@pytest.mark.slow
def test_a_run_writes_only_documented_events_and_fields(
    small_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    """A GFT run with evaluations, a memory probe and stored KL, stopped once and resumed."""
    config = small_config(
        "train.steps=2",
        "train.checkpoint_every=1",
        "train.log_kl_every=1",
        "train.keep_best=true",
        "train.dry_step=true",
        "eval.every=1",
        "eval.quick_examples=2",
    )
    run = RunDir(tmp_path / "run")

    def stop_once(event: dict[str, object]) -> None:
        if event["type"] == "step" and event["step"] == 1:
            run.request_stop()

    assert train(config, run.path, on_event=stop_once).state == "stopped"
    assert resume(run.path).state == "finished"
    lines = list(run.events())
    expected = {"started", "dry_step", "step", "eval", "best", "checkpoint", "stopped", "finished"}
    assert {line["type"] for line in lines} == expected
    documented = fields_of_events()
    for line in lines:
        names = {name for name, _, _ in documented[EVENTS[line["type"]].__name__]}
        assert line.keys() - names <= ENVELOPE.keys(), line["type"]


def test_an_event_is_read_as_it_was_recorded(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", "")
    memory = OutOfMemoryEvent(step=3, phase="rollout", before=8, after=4)
    step = StepEvent(step=3, loss=0.5, reward_self=0.25)
    run.event_log.record(memory)
    run.event_log.record(step)
    assert [event["type"] for event in run.event_log.drain()] == ["out_of_memory", "step"]
    assert list(run.event_log.drain()) == []
    assert list(run.read(StepEvent)) == [step] and list(run.read(OutOfMemoryEvent)) == [memory]
    (line,) = run.events("step")
    assert line["reward_self"] == 0.25 and "reward_teacher" not in line


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ({"step": 2, "loss": 1.0, "of_a_later_version": 1}, StepEvent(step=2, loss=1.0)),
        ({"step": 2}, StepEvent(step=2)),
        ({"step": 2, "loss": "high", "reward_self": [1], "seconds": True}, StepEvent(step=2)),
        ({"step": 2, "reward_self": None}, StepEvent(step=2)),
    ],
    ids=["unknown field", "missing fields", "no numbers", "null"],
)
def test_lines_of_other_versions_are_read(line: dict[str, object], event: StepEvent) -> None:
    assert StepEvent.from_dict(line) == event


def test_nested_values_are_read_whole() -> None:
    event = EvalEvent.from_dict({"step": 4, "final": True, "target": {"greedy_accuracy": 0.5}})
    assert event.final and event.target == {"greedy_accuracy": 0.5} and event.old_skill is None
