"""Damaged checkpoints: a resumed run ends in the same bits, or in a sentence."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from forked import ForkServer, assert_equal, evidence, short_run

from gft_lite.runs import RunDir

pytestmark = pytest.mark.slow

SETTINGS = ("method=sft", "train.keep_checkpoints=3", "train.log_groups_every=0")
NEWEST, OLDER = "step-000004", "step-000002"
WEIGHTS = "adapter/adapter_model.safetensors"
Damage = Callable[[Path], object]


class Cut(NamedTuple):
    """A run killed at step 5 with checkpoints of steps 2 and 4, and the same run uninterrupted."""

    path: Path
    whole: dict[str, Any]


@pytest.fixture(scope="module")
def cut(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Cut:
    folder = tmp_path_factory.mktemp("damage")
    whole = short_run(folder / "whole", *SETTINGS)
    server.whole(whole.path)
    run = short_run(folder / "run", *SETTINGS)
    assert server.work(run.path, die_at={"step": 5}).code == -9
    assert [c.name for c in run.checkpoints()] == [OLDER, NEWEST]
    return Cut(run.path, evidence(whole))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0" * 16)


def turn_into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def take_from_older(name: str) -> Damage:
    return lambda at: shutil.copyfile(at.parent / OLDER / name, at / name)


def write(name: str, text: str) -> Damage:
    return lambda at: (at / name).write_text(text)


def on(name: str, damage: Damage) -> Damage:
    return lambda at: damage(at / name)


def edit_record(**fields: Any) -> Damage:
    def damage(at: Path) -> None:
        record = json.loads((at / "state.json").read_text())
        (at / "state.json").write_text(json.dumps({**record, **fields}))

    return damage


def replace_by_older(at: Path) -> None:
    shutil.rmtree(at)
    shutil.copytree(at.parent / OLDER, at)


def replace_by_file(at: Path) -> None:
    shutil.rmtree(at)
    at.write_text("gone")


def empty(at: Path) -> None:
    shutil.rmtree(at)
    at.mkdir()


def dangle(at: Path) -> None:
    at.rename(at.with_name("elsewhere"))
    at.symlink_to(at.with_name("nowhere"))


def forbid(path: Path) -> None:
    path.chmod(0)


# what is done to the newest checkpoint → words of the message that names it
DAMAGES: dict[str, tuple[Damage, str]] = {
    "optimizer cut short": (on("optimizer.pt", halve), "optimizer.pt is damaged"),
    "optimizer empty": (write("optimizer.pt", ""), "optimizer.pt is damaged"),
    "optimizer missing": (on("optimizer.pt", Path.unlink), "it has no optimizer.pt"),
    "optimizer with a changed bit": (on("optimizer.pt", flip), "optimizer.pt is damaged"),
    "optimizer of another step": (take_from_older("optimizer.pt"), "optimizer.pt is damaged"),
    "optimizer a folder": (on("optimizer.pt", turn_into_folder), "optimizer.pt cannot be read"),
    "optimizer longer": (on("optimizer.pt", lengthen), "optimizer.pt is damaged"),
    "weights cut short": (on(WEIGHTS, halve), f"{WEIGHTS} is damaged"),
    "weights empty": (write(WEIGHTS, ""), f"{WEIGHTS} is damaged"),
    "weights missing": (on(WEIGHTS, Path.unlink), f"it has no {WEIGHTS}"),
    "weights with a changed bit": (on(WEIGHTS, flip), f"{WEIGHTS} is damaged"),
    "weights of another step": (take_from_older(WEIGHTS), f"{WEIGHTS} is damaged"),
    "weights a folder": (on(WEIGHTS, turn_into_folder), "safetensors cannot be read"),
    "adapter missing": (on("adapter", shutil.rmtree), "it has no adapter/"),
    "adapter settings changed": (
        write("adapter/adapter_config.json", "{}"),
        "adapter_config.json is damaged",
    ),
    "record cut short": (on("state.json", halve), "state.json is not valid JSON"),
    "record empty": (write("state.json", ""), "state.json is not valid JSON"),
    "record missing": (on("state.json", Path.unlink), "it has no state.json"),
    "record a list": (write("state.json", "[4]"), "state.json is not the record of a checkpoint"),
    "record with another step": (edit_record(step=6), "state.json is damaged"),
    "record with another count": (edit_record(trained_tokens=1), "state.json is damaged"),
    "record a folder": (on("state.json", turn_into_folder), "state.json cannot be read"),
    "all of another step": (replace_by_older, "its state.json is that of step 2"),
    "folder empty": (empty, "it has no state.json"),
    "folder a file": (replace_by_file, "it is not a folder"),
    "folder a broken link": (dangle, "it is not a folder"),
    "folder missing": (shutil.rmtree, "it is missing"),
}


def damaged_copy(cut: Cut, folder: Path, *damages: Damage) -> RunDir:
    """A copy of the cut run with one damage to each checkpoint, the newest first."""
    run = RunDir(folder / cut.path.name)
    shutil.copytree(cut.path, run.path, symlinks=True)
    for damage, checkpoint in zip(damages, reversed(run.checkpoints()), strict=False):
        damage(checkpoint)
    return run


@pytest.mark.parametrize(
    "name",
    list(DAMAGES),
)
def test_the_older_checkpoint_is_used_and_the_damaged_one_named(
    server: ForkServer, cut: Cut, tmp_path: Path, name: str
) -> None:
    damage, words = DAMAGES[name]
    run = damaged_copy(cut, tmp_path, damage)
    server.whole(run.path)
    (event,) = run.events("checkpoint_skipped")
    assert event["path"] == NEWEST and words in event["message"]
    assert event["message"].endswith("; the run continues from step 2")
    assert [e["resumed"] for e in run.events("started")] == [False, True]
    assert_equal(run, cut.whole)
    kept = run.checkpoints_dir / f"damaged-{NEWEST}"
    assert name == "folder missing" or kept.exists() or kept.is_symlink(), "nothing is deleted"


def test_unreadable_file(server: ForkServer, cut: Cut, tmp_path: Path) -> None:
    run = damaged_copy(cut, tmp_path, on("optimizer.pt", forbid))
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    server.whole(run.path)
    (event,) = run.events("checkpoint_skipped")
    assert "optimizer.pt cannot be read (Permission denied)" in event["message"]
    assert_equal(run, cut.whole)


def test_leftovers_are_no_checkpoints(server: ForkServer, cut: Cut, tmp_path: Path) -> None:
    run = damaged_copy(cut, tmp_path)
    for name in (".step-000005.tmp", ".step-000002.old"):
        shutil.copytree(run.checkpoints_dir / OLDER, run.checkpoints_dir / name)
    (run.checkpoints_dir / "step-odd").mkdir()
    (run.checkpoints_dir / "notes.txt").write_text("mine")
    server.whole(run.path)
    assert not list(run.events("checkpoint_skipped"))
    assert_equal(run, cut.whole)
    assert (run.checkpoints_dir / "notes.txt").exists()


def test_no_checkpoint_left_begins_again(server: ForkServer, cut: Cut, tmp_path: Path) -> None:
    run = damaged_copy(cut, tmp_path)
    shutil.rmtree(run.checkpoints_dir)
    server.whole(run.path)
    (event,) = run.events("checkpoint_skipped")
    assert event["message"].endswith("the run continues from step 0")
    assert_equal(run, cut.whole)


@pytest.mark.parametrize("name", ["optimizer empty", "weights with a changed bit"])
def test_all_checkpoints_damaged(server: ForkServer, cut: Cut, tmp_path: Path, name: str) -> None:
    damage, words = DAMAGES[name]
    run = damaged_copy(cut, tmp_path, damage, DAMAGES["record missing"][0])
    before = {path: path.stat().st_size for path in run.checkpoints_dir.rglob("*")}
    ended = server.work(run.path)
    assert ended.code == 2 and ended.output.startswith("error: "), ended.output
    assert f"no checkpoint can be used ({NEWEST}: {words}" in ended.output
    assert f"{OLDER}: it has no state.json" in ended.output
    assert f"delete {run.checkpoints_dir} to begin again at step 0" in ended.output
    assert {path: path.stat().st_size for path in run.checkpoints_dir.rglob("*")} == before
    shutil.rmtree(run.checkpoints_dir)
    server.whole(run.path)
    assert_equal(run, cut.whole)


def test_checkpoints_a_file(server: ForkServer, cut: Cut, tmp_path: Path) -> None:
    run = damaged_copy(cut, tmp_path)
    shutil.rmtree(run.checkpoints_dir)
    run.checkpoints_dir.write_text("")
    ended = server.work(run.path)
    assert ended.code == 2 and f"{run.checkpoints_dir} is not a folder" in ended.output


# --- checkpoints of older versions, without hashes ---


def without_hashes(checkpoint: Path) -> None:
    record = json.loads((checkpoint / "state.json").read_text())
    old = {key: record[key] for key in ("step", "sizes")}
    (checkpoint / "state.json").write_text(json.dumps(old))


def test_an_old_checkpoint_still_loads(server: ForkServer, cut: Cut, tmp_path: Path) -> None:
    run = damaged_copy(cut, tmp_path, without_hashes, without_hashes)
    server.whole(run.path)
    assert not list(run.events("checkpoint_skipped"))
    assert_equal(run, cut.whole)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("optimizer cut short", "optimizer.pt cannot be read"),
        ("optimizer empty", "optimizer.pt cannot be read"),
        ("optimizer missing", "it has no optimizer.pt"),
        ("optimizer a folder", "optimizer.pt cannot be read"),
        ("weights cut short", "is truncated or no safetensors file"),
        ("weights empty", "is truncated or no safetensors file"),
        ("weights missing", "has no adapter_model.safetensors"),
        ("adapter missing", "has no adapter_model.safetensors"),
    ],
)
def test_a_damaged_old_checkpoint_is_named(
    server: ForkServer, cut: Cut, tmp_path: Path, name: str, words: str
) -> None:
    run = damaged_copy(cut, tmp_path, without_hashes, without_hashes)
    DAMAGES[name][0](run.checkpoints_dir / NEWEST)
    server.whole(run.path)
    (event,) = run.events("checkpoint_skipped")
    assert words in event["message"]
    assert_equal(run, cut.whole)
