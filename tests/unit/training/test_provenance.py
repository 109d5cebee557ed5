"""What identifies the inputs of a run: contents, not names; and what is hashed again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gft_lite.assets import MODEL_DIR
from gft_lite.config import ModelConfig, load_config
from gft_lite.runs.atomic import file_sha256
from gft_lite.training.provenance import BASE, InputSource, Provenance, base_source, rows_sha256
from gft_lite.types import Example, Message

WEIGHTS = "model.safetensors"


def inputs(*overrides: str, **sources: InputSource) -> Provenance:
    """Provenance with sources by the last part of their keys."""
    named = {f"data.{key}": source for key, source in sources.items()}
    return Provenance(load_config(preset="tiny-cpu", overrides=overrides).to_dict(), named)


def rows(name: str, digest: str, count: int = 3) -> InputSource:
    return InputSource(name, rows=count, rows_sha256=digest)


def test_every_changed_setting_is_named_with_both_values() -> None:
    changes = inputs().differences(inputs("train.steps=7", "reward={name: length, max_chars: 9}"))
    assert "train.steps was 100 and is 7" in changes
    assert 'reward was "math" and is null' in changes and len(changes) == 4
    assert inputs().differences(inputs()) == []


def test_a_setting_that_a_newer_version_added_is_no_change() -> None:
    then = inputs()
    del then.config["train"]["log_kl_every"]
    assert then.differences(inputs("train.log_kl_every=1")) == []
    assert len(then.differences(inputs("train.log_kl_every=2"))) == 1


def test_a_stage_is_named_by_its_number() -> None:
    then, now = (inputs(f"stages=[sft, {{method: gft, train: {{steps: {n}}}}}]") for n in (3, 4))
    assert then.differences(now) == ["stages.2.train.steps was 3 and is 4"]


def test_another_name_for_the_same_rows_is_no_change() -> None:
    then = inputs("data.path=a.jsonl", path=rows("a.jsonl", "1"))
    assert then.differences(inputs("data.path=b.jsonl", path=rows("b.jsonl", "1"))) == []
    assert then.differences(inputs("data.path=b.jsonl", path=rows("b.jsonl", "2"))) == [
        'data.path was "a.jsonl" and is "b.jsonl"',
        "data.path (b.jsonl): its rows changed",
    ]
    more = inputs("data.path=a.jsonl", path=rows("a.jsonl", "2", 4))
    assert then.differences(more) == ["data.path (a.jsonl): it had 3 usable rows and has 4"]


def test_rows_are_hashed_with_all_that_training_reads() -> None:
    row = Example((Message("user", "1 + 1?"),), ("2",), ("two",), "2", row=1)
    digest = rows_sha256([row, row])
    assert rows_sha256([row, replace(row, row=9)]) == digest, "the number of a row is for messages"
    system = (Message("system", "1 + 1?"),)
    others = ({"prompt": system}, {"experts": ()}, {"teachers": ("2",)}, {"answer": None})
    assert all(rows_sha256([row, replace(row, **other)]) != digest for other in others)
    assert rows_sha256([row]) != digest


def test_a_copied_base_is_the_same(tmp_path: Path) -> None:
    shutil.copytree(MODEL_DIR, tmp_path / "copy")
    then = inputs().with_base(base_source(ModelConfig()))
    copy = str(tmp_path / "copy")
    now = inputs(f"model.name={copy}").with_base(base_source(ModelConfig(name=copy)))
    assert then.differences(now) == []
    (tmp_path / "copy" / "chat_template.jinja").write_text("{{ messages }}")
    now = now.with_base(base_source(ModelConfig(name=copy)))
    assert f"model.name ({copy}): chat_template.jinja" in then.differences(now)[-1]


def test_weights_are_hashed_again_only_if_their_file_changed(tmp_path: Path) -> None:
    """A wrong hash on record shows whether it was taken from there."""
    shutil.copytree(MODEL_DIR, tmp_path / "base")
    model = ModelConfig(name=str(tmp_path / "base"))
    first = base_source(model)
    assert first and first.files[WEIGHTS] == file_sha256(tmp_path / "base" / WEIGHTS)
    wrong = replace(first, files={**first.files, WEIGHTS: "wrong"})
    again = base_source(model, wrong)
    assert again and again.files[WEIGHTS] == "wrong"
    (tmp_path / "base" / WEIGHTS).touch()
    touched = base_source(model, wrong)
    assert touched and touched.files == first.files


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in a cache as the hub's library fills it; returns its snapshot."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = tmp_path / "models--owner--model"
    snapshot = model / "snapshots" / ("c" * 40)
    for folder in (snapshot, model / "blobs", model / "refs"):
        folder.mkdir(parents=True)
    (model / "refs" / "main").write_text("c" * 40)
    for name in (WEIGHTS, "config.json"):
        blob = model / "blobs" / file_sha256(MODEL_DIR / name)
        shutil.copyfile(MODEL_DIR / name, blob)
        (snapshot / name).symlink_to(blob)
    return snapshot


def test_a_model_of_the_hub(cached: Path) -> None:
    model = ModelConfig(name="owner/model")
    first = base_source(model)
    assert first and first.commit == "c" * 40
    assert first.files == {name: file_sha256(MODEL_DIR / name) for name in (WEIGHTS, "config.json")}
    (cached / "generation_config.json").write_text("{}")  # the cache is filled as files are needed
    later = base_source(model, first)
    assert later and first.differences(later) == []
    data = bytearray((cached / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (cached / WEIGHTS).resolve().write_bytes(data)
    damaged = base_source(model, first)
    assert damaged and first.differences(damaged) == [f"{WEIGHTS} changed"]


def test_a_model_that_is_not_on_this_machine(cached: Path) -> None:
    assert base_source(ModelConfig(name="owner/other")) is None
    assert BASE not in inputs().with_base(None).sources
