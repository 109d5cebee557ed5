"""SIGKILL at random moments, and at every write: the resumed run is the uninterrupted one."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from forked import MEASURED, ForkServer, assert_equal, evidence, short_run

REWARD = """
def reward(response, answer):
    return min(1.0, len(response) / 60)
"""
SETTINGS: dict[str, tuple[str, ...]] = {
    "sft": ("method=sft",),
    "sft-cosine": ("method=sft", "train.schedule=cosine", "train.warmup_steps=2"),
    "sft-budget": ("method=sft", "train.max_tokens=60"),
    "dft-dropout": ("method=dft", "lora.dropout=0.1"),
    "asft": ("method=asft",),
    "psft": ("method=psft", "train.updates_per_rollout=2"),
    "chord": ("method=chord",),
    "luffy": ("method=luffy",),
    "grpo": ("method=grpo", "train.updates_per_rollout=3", "train.checkpoint_every=1"),
    "gft": ("method=gft", "group.teacher=3"),
    "gft-kl": ("method=gft", "method.kl_coef=0.05", "train.log_kl_every=2"),
    "gft-updates": ("method=gft", "train.updates_per_rollout=2", "train.checkpoint_every=3"),
    "gft-accumulation": ("method=gft", "train.micro_batch_tokens=160"),
    "gft-evals": ("method=gft", *MEASURED),
    "gft-resample": ("method=gft", "group.degenerate=resample", "group.teacher=0"),
    "gft-likely": ("method=gft", "group.choose=likely", "group.teacher=2"),
    "gft-one-checkpoint": ("method=gft", "train.keep_checkpoints=1", "train.checkpoint_every=1"),
    "gft-no-groups": ("method=gft", "train.log_groups_every=0", "train.checkpoint_every=5"),
    "gft-own-reward": ("method=gft", "reward={file: REWARD}"),
    "pipeline": ("stages=[sft, {method: gft, model: {reference: start}}]", "train.steps=3"),
    "pipeline-three": (
        "stages=[dft, {method: gft, train: {updates_per_rollout: 2}}, grpo]",
        "train.steps=2",
        "train.checkpoint_every=1",
        *MEASURED,
    ),
}
KILLS_EACH = 5  # ≥ 100 over all settings
SAMPLE = ("gft-evals", "grpo", "pipeline")


def kill_and_compare(
    server: ForkServer, folder: Path, name: str, kills: int, random_: random.Random
) -> None:
    """Kill runs of a setting at random moments until as many kills are done."""
    reward = folder / "own_reward.py"
    reward.write_text(REWARD)
    settings = [text.replace("REWARD", str(reward)) for text in SETTINGS[name]]
    whole = short_run(folder / "whole", *settings)
    seconds = server.whole(whole.path).seconds
    expected = evidence(whole)
    learned = [event["grad_norm"] for event in expected["events"] if event["type"] == "step"]
    assert sum(norm > 0 for norm in learned) >= 2, "there is something to compare"
    done, number = 0, 0
    while done < kills:
        number += 1
        assert number < 20 * kills, "the run ends before it can be killed"
        run = short_run(folder / f"killed-{number}", *settings)
        for _ in range(random_.choice((1, 1, 2))):
            ended = server.work(run.path, kill_after=random_.uniform(0, seconds))
            if ended.code == 0:
                break
            assert ended.code == -9, ended.output
            done += 1
        if run.status()["state"] != "finished":
            server.whole(run.path)
        assert_equal(run, expected)
        shutil.rmtree(run.path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_killed_twice(server: ForkServer, tmp_path: Path, name: str) -> None:
    kill_and_compare(server, tmp_path, name, 2, random.Random(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_killed_at_random_moments(server: ForkServer, tmp_path: Path, name: str) -> None:
    kill_and_compare(server, tmp_path, name, KILLS_EACH, random.Random(f"{name} again"))


def test_the_suite_covers_every_method_and_a_hundred_kills() -> None:
    from gft_lite.config import REGISTRY

    trained = " ".join(text for settings in SETTINGS.values() for text in settings)
    assert all(name in trained for name in REGISTRY)
    assert KILLS_EACH * len(SETTINGS) >= 100


# --- every write ---

WRITES: dict[str, tuple[str, ...]] = {
    "run": ("method=sft", "train.steps=2", "train.checkpoint_every=1", *MEASURED),
    "pipeline": ("stages=[sft, dft]", "train.steps=1", *MEASURED),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITES)
def test_killed_before_every_single_write(server: ForkServer, tmp_path: Path, name: str) -> None:
    """A copy of the folder before a write is what a kill at that moment leaves."""
    whole = short_run(tmp_path / "run", *WRITES[name])
    snapshots = tmp_path / "snapshots"
    ended = server.work(whole.path, snapshots=snapshots)
    assert ended.code == 0, ended.output
    expected = evidence(whole)
    moments = _distinct(sorted(snapshots.glob("*/run")))
    assert len(moments) > 40
    for moment in moments:
        shutil.rmtree(whole.path)
        moment.rename(whole.path)  # where the killed run was: records of adapters hold its path
        if whole.status()["state"] != "finished":
            ended = server.work(whole.path)
            assert ended.code == 0 and "Traceback" not in ended.output, f"{moment}: {ended.output}"
        assert_equal(whole, expected)


def _distinct(folders: list[Path]) -> list[Path]:
    """The folders without those that are equal to the one before."""
    kept: list[Path] = []
    before: Any = None
    for folder in folders:
        content = {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        relative = {p.relative_to(folder): data for p, data in content.items()}
        if relative != before:
            kept.append(folder)
        before = relative
    return kept
