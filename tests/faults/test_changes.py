"""Inputs that change before a run is continued: named and refused, or accepted and recorded."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from forked import Ended, ForkServer, assert_equal, evidence, new_run, write_rows
from safetensors.torch import load_file, save_file

from gft_lite.assets import MODEL_DIR
from gft_lite.config import LoraConfig, ModelConfig, load_config
from gft_lite.models import load_policy
from gft_lite.models.validation import INDEX
from gft_lite.runs import RunDir

pytestmark = pytest.mark.slow

REWARD = "def reward(response, answer):\n    return min(1.0, len(response) / 60)\n"
SETTINGS = (
    "train.steps=3",
    "train.prompts_per_step=2",
    "train.checkpoint_every=1",
    "train.log_kl_every=0",
    "group.teacher=1",
    "group.self=2",
    "group.max_new_tokens=8",
    "eval.examples=4",
    "eval.k=1",
    "model.name=base",
    "model.adapter=start",
    "data.path=train.jsonl",
    "data.eval_path=held_out.jsonl",
    "data.retention_path=old.jsonl",
    "reward={file: own_reward.py}",
)
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


class Cut(NamedTuple):
    """A folder with a run killed at step 2 and all that it was made from; and the same run
    uninterrupted."""

    folder: Path
    whole: dict[str, Any]


def make_base(folder: Path) -> None:
    """The embedded model with its weights in two files."""
    shutil.copytree(MODEL_DIR, folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {FIRST: names[::2], SECOND: names[1::2]}
    for file, own in parts.items():
        save_file({name: tensors[name] for name in own}, folder / file, metadata={"format": "pt"})
    weight_map = {name: file for file, own in parts.items() for name in own}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def make_start(folder: Path, base: str) -> None:
    """An adapter that is not zero, as another tool writes it: without a record."""
    policy = load_policy(ModelConfig(name=base), LoraConfig(), seed=3)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.01)
    policy.save_adapter(folder)


@pytest.fixture(scope="module")
def cut(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Cut:
    folder = tmp_path_factory.mktemp("changes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_base(Path("base"))
        make_start(Path("start"), "base")
        write_rows(Path("train.jsonl"))
        write_rows(Path("held_out.jsonl"), first=40)
        write_rows(Path("old.jsonl"), first=80)
        Path("own_reward.py").write_text(REWARD)
        config = load_config(preset="tiny-cpu", overrides=SETTINGS)
    whole, run = (new_run(folder / name, config) for name in ("whole", "run"))
    assert server.work(whole.path, cwd=folder).code == 0
    assert server.work(run.path, cwd=folder, die_at={"step": 2}).code == -9
    assert [c.name for c in run.checkpoints()] == ["step-000001"]
    return Cut(folder, evidence(whole))


@pytest.fixture
def copy(cut: Cut, tmp_path: Path) -> Path:
    """A copy of all of it, to be changed."""
    shutil.copytree(cut.folder, tmp_path / "copy")
    return tmp_path / "copy"


def resume(server: ForkServer, folder: Path, *, accept: bool = False) -> Ended:
    ended = server.work(folder / "run", cwd=folder, accept=accept)
    assert "Traceback" not in ended.output, ended.output
    return ended


# --- the changes ---


def edit_line(name: str, number: int) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines()
        row = json.loads(lines[number])
        lines[number] = json.dumps({**row, "answer": "0"})
        (folder / name).write_text("\n".join(lines) + "\n")

    return change


def add_row(folder: Path) -> None:
    write_rows(folder / "more.jsonl", first=500)
    with (folder / "train.jsonl").open("a") as file:
        file.write((folder / "more.jsonl").read_text().splitlines()[0] + "\n")


def reorder(folder: Path) -> None:
    lines = (folder / "train.jsonl").read_text().splitlines(keepends=True)
    (folder / "train.jsonl").write_text("".join(reversed(lines)))


def other_reward(folder: Path) -> None:
    (folder / "own_reward.py").write_text(REWARD.replace("60", "61"))


def change_weight(name: str) -> Callable[[Path], object]:
    """One bit of the last tensor; size and time of modification stay."""

    def change(folder: Path) -> None:
        path = folder / name
        stat, data = path.stat(), bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    return change


def edit_json(name: str, **fields: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**document, **fields}))

    return change


def edit_config(**sections: dict[str, Any]) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        file = folder / "run" / "config.yaml"
        config = yaml.safe_load(file.read_text())
        for section, fields in sections.items():
            config[section] |= fields
        file.write_text(yaml.safe_dump(config))

    return change


def other_file(folder: Path) -> None:
    write_rows(folder / "other.jsonl", first=200)
    edit_config(data={"path": "other.jsonl"})(folder)


def damage_record(folder: Path) -> None:
    (folder / "run" / "inputs.json").write_text("{}")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a row of the data": (edit_line("train.jsonl", 7), "data.path (train.jsonl): its rows changed"),
    "one row more": (
        add_row,
        "data.path (train.jsonl): it had 30 usable rows and has 31",
    ),
    "the order of the rows": (reorder, "data.path (train.jsonl): its rows changed"),
    "a held-out row": (
        edit_line("held_out.jsonl", 1),
        "data.eval_path (held_out.jsonl): its rows changed",
    ),
    "a retention row": (
        edit_line("old.jsonl", 2),
        "data.retention_path (old.jsonl): its rows changed",
    ),
    "another data file": (other_file, 'data.path was "train.jsonl" and is "other.jsonl"'),
    "the reward's code": (other_reward, "own_reward.py): its code changed"),
    "the first shard of the base": (
        change_weight(f"base/{FIRST}"),
        f"model.name (base): {FIRST} changed",
    ),
    "the second shard of the base": (
        change_weight(f"base/{SECOND}"),
        f"model.name (base): {SECOND} changed",
    ),
    "the tokenizer of the base": (
        edit_json("base/tokenizer_config.json", model_max_length=77),
        "model.name (base): tokenizer_config.json changed",
    ),
    "the settings of the base": (
        edit_json("base/config.json", rms_norm_eps=1e-3),
        "model.name (base): config.json changed",
    ),
    "the starting adapter": (
        change_weight("start/adapter_model.safetensors"),
        "model.adapter (start): adapter_model.safetensors changed",
    ),
    "the learning rate": (
        edit_config(train={"learning_rate": 0.002}),
        "train.learning_rate was 0.001 and is 0.002",
    ),
    "more steps": (edit_config(train={"steps": 4}), "train.steps was 3 and is 4"),
    "an option of the method": (edit_config(method={"tau": 0.2}), "method.tau was 0.1 and is 0.2"),
    "the seed": (edit_config(train={"seed": 5}), "train.seed was 0 and is 5"),
    "no held-out file": (
        edit_config(data={"eval_path": None}),
        'data.eval_path was "held_out.jsonl" and is null',
    ),
    "the record itself": (damage_record, "inputs.json is damaged"),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_refused_and_named(server: ForkServer, copy: Path, name: str) -> None:
    change, words = CHANGES[name]
    change(copy)
    before = {p: p.read_bytes() for p in (copy / "run/checkpoints").rglob("*") if p.is_file()}
    ended = resume(server, copy)
    assert ended.code == 2, ended.output
    assert f"error: {copy / 'run'} was started with other inputs: " in ended.output
    assert words in ended.output and "--accept-changes" in ended.output
    assert ended.output.count("\n") == 1, "one sentence, and only what changed"
    assert before == {p: p.read_bytes() for p in before}, "nothing is lost"


@pytest.mark.parametrize(
    "name",
    ["a row of the data", "more steps", "the second shard of the base"],
)
def test_accepted_and_recorded(server: ForkServer, copy: Path, name: str) -> None:
    change, words = CHANGES[name]
    change(copy)
    assert resume(server, copy).code == 2
    ended = resume(server, copy, accept=True)
    assert ended.code == 0, ended.output
    run = RunDir(copy / "run")
    (event,) = run.events("inputs_accepted")
    assert any(words in one for one in event["changes"]) and event["step"] == 1
    for record in (
        json.loads((run.path / "inputs.json").read_text())["accepted"],
        json.loads((run.adapter_dir / "gft_lite.json").read_text())["stages"][-1]["inputs"][
            "accepted_changes"
        ],
    ):
        assert record == [{"step": 1, "changes": event["changes"]}]


def test_put_back_is_no_change(server: ForkServer, cut: Cut, copy: Path) -> None:
    text = (copy / "train.jsonl").read_text()
    CHANGES["a row of the data"][0](copy)
    assert resume(server, copy).code == 2
    (copy / "train.jsonl").write_text(text)
    assert resume(server, copy).code == 0
    assert evidence(RunDir(copy / "run"))["run adapter"].keys() == cut.whole["run adapter"].keys()


def test_contents_are_compared_not_names(server: ForkServer, cut: Cut, copy: Path) -> None:
    """The run and its files are in another folder; data and reward have another name too."""
    (copy / "train.jsonl").rename(copy / "renamed.jsonl")
    (copy / "own_reward.py").rename(copy / "mine.py")
    edit_config(data={"path": "renamed.jsonl"}, reward={"file": "mine.py"})(copy)
    ended = resume(server, copy)
    assert ended.code == 0, ended.output
    weights = "adapter_model.safetensors"
    found = evidence(RunDir(copy / "run"))["run adapter"][weights]
    assert found == cut.whole["run adapter"][weights]


def test_untouched(server: ForkServer, cut: Cut, copy: Path) -> None:
    ended = resume(server, copy)
    assert ended.code == 0, ended.output
    run = RunDir(copy / "run")
    assert_equal(run, cut.whole)
    kinds = {event["type"] for event in run.events()}
    assert not kinds & {"inputs_accepted", "inputs_unknown", "environment_changed"}
    sources = json.loads((run.adapter_dir / "gft_lite.json").read_text())["stages"][-1]["inputs"][
        "sources"
    ]
    assert set(sources) == {
        "data.path",
        "data.eval_path",
        "data.retention_path",
        "reward.file",
        "model.adapter",
        "model.name",
    }
    assert {FIRST, SECOND, "config.json", "tokenizer.json"} <= set(sources["model.name"]["files"])


def test_a_run_without_a_record_is_continued(server: ForkServer, cut: Cut, copy: Path) -> None:
    (copy / "run" / "inputs.json").unlink()
    ended = resume(server, copy)
    assert ended.code == 0, ended.output
    run = RunDir(copy / "run")
    (event,) = run.events("inputs_unknown")
    assert "no change can be found" in event["message"]
    assert (run.path / "inputs.json").is_file()
    assert_equal(run, cut.whole)


def test_other_versions_are_told_not_refused(server: ForkServer, copy: Path) -> None:
    run = RunDir(copy / "run")
    lines = run.events_file.read_text().splitlines()
    started = json.loads(lines[0])
    started["versions"]["torch"] = "1.0"
    run.events_file.write_text("\n".join([json.dumps(started), *lines[1:]]) + "\n")
    assert resume(server, copy).code == 0
    (event,) = run.events("environment_changed")
    assert f"torch 1.0 → {torch.__version__}" in event["message"]
