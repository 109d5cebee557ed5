"""Where adapters come from, what is refused, and mixing them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_maker import call, make_adapter
from safetensors.torch import load_file, save_file

from gft_lite.adapters import FIXED_PROMPTS, adapter_folder, bare_record, model_of, write_record
from gft_lite.adapters.mix import Part, greedy_soup, mix
from gft_lite.assets import MODEL_DIR, resolve
from gft_lite.config import LoraConfig, ModelConfig, RunConfig
from gft_lite.data import load_examples
from gft_lite.models import load_policy, load_tokenizer
from gft_lite.models.fingerprint import (
    RECORD,
    WEIGHTS,
    BaseIdentity,
    file_sha256,
    identity_of,
    template_sha256,
)
from gft_lite.models.multi_adapter import plain_lora
from gft_lite.models.validation import read_record
from gft_lite.rewards import build_scorer
from gft_lite.runs import RunDir
from gft_lite.training.worker import RunResult, train
from gft_lite.types import ConfigError, ModelError, RunError

MakeConfig = Callable[..., RunConfig]
TINY = ModelConfig(name="tiny")


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    top = tmp_path_factory.mktemp("parts")
    return make_adapter(top / "a", 1), make_adapter(top / "b", 2)


@pytest.fixture
def recorded(adapters: tuple[Path, Path], tmp_path: Path) -> Path:
    """An adapter with a record."""
    folder = tmp_path / "recorded"
    shutil.copytree(adapters[0], folder)
    write_record(folder, bare_record(TINY, load_tokenizer(TINY), [{"method": "gft"}]))
    return folder


def load(folder: Path, base: str = "tiny") -> Any:
    return load_policy(ModelConfig(name=base, adapter=str(folder)), None)


def other_base(folder: Path) -> Path:
    """The embedded model with one weight changed."""
    shutil.copytree(MODEL_DIR, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] + 1e-3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


# --- provenance ---


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    from samples import SMALL

    from gft_lite.config import load_config

    overrides = [*SMALL, "train.steps=2", "eval.examples=2", "data.limit=20"]
    config = load_config(preset="tiny-cpu", overrides=overrides)
    return train(config, tmp_path_factory.mktemp("run") / "run")


@pytest.mark.slow
def test_a_run_writes_where_its_adapter_comes_from(finished: RunResult) -> None:
    record = read_record(finished.adapter)
    assert record is not None
    base, here = record["base"], identity_of(str(MODEL_DIR))
    assert (base["name"], base["config_sha256"]) == ("tiny", here.config_sha256)
    assert base["weights_sha256"] == here.weights_sha256
    assert record["chat_template_sha256"] == template_sha256(load_tokenizer(TINY))
    data = Path(resolve("embedded:target_train"))
    assert record["data"]["sha256"] == file_sha256(data)
    assert record["weights_sha256"] == file_sha256(finished.adapter / WEIGHTS)
    assert record["config"]["train"]["steps"] == 2
    assert [s["method"] for s in record["stages"]] == ["gft"]
    assert record["metrics"]["target"] == json.loads(json.dumps(finished.metrics["target"]))
    assert not list(finished.run_dir.glob(".adapter*"))


def test_runs_checkpoints_and_adapters_are_found(finished: RunResult, tmp_path: Path) -> None:
    assert adapter_folder(finished.run_dir) == finished.adapter
    checkpoint = RunDir(finished.run_dir).checkpoints()[-1]
    assert adapter_folder(checkpoint) == checkpoint / "adapter"
    assert model_of(checkpoint).name == model_of(finished.adapter).name == "tiny"
    RunDir.create(tmp_path / "new", "model: {}\n")
    with pytest.raises(ModelError, match="run without an adapter yet"):
        adapter_folder(tmp_path / "new")


# --- what is refused ---


def test_a_base_that_moved_is_recognised(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(MODEL_DIR, tmp_path / "moved")
    load(recorded, str(tmp_path / "moved"))


def test_another_base_is_refused_with_both_names(recorded: Path, tmp_path: Path) -> None:
    other = other_base(tmp_path / "other")
    with pytest.raises(ModelError, match=rf"trained on 'tiny'.*{other}.*model\.name=tiny"):
        load(recorded, str(other))
    record = json.loads((recorded / RECORD).read_text())
    record["base"]["weights_sha256"] = "0" * 64  # the same name, other weights
    (recorded / RECORD).write_text(json.dumps(record))
    with pytest.raises(ModelError, match=r"its weights: 000000000000, here: [0-9a-f]{12}"):
        load(recorded)


def test_identities() -> None:
    here, unknown = identity_of(str(MODEL_DIR)), BaseIdentity(None, None)
    assert identity_of("nobody/has-this") == identity_of("not a name") == unknown
    assert here.equals(here) and not here.differs_from(here)
    assert not here.equals(unknown) and not here.differs_from(unknown)


def test_a_template_that_differs_is_refused(recorded: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(MODEL_DIR, base)
    template = base / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|im_end|>", "<|im_end|> "))
    with pytest.raises(ModelError, match="another chat template"):
        load(recorded, str(base))


@pytest.mark.parametrize("keep", [0, 6, 200, -1])
def test_truncated_weights_are_refused(
    adapters: tuple[Path, Path],
    tmp_path: Path,
    keep: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(adapters[0], tmp_path / "a")
    whole = (tmp_path / "a" / WEIGHTS).read_bytes()
    (tmp_path / "a" / WEIGHTS).write_bytes(whole[:keep])
    ask = ["--adapter", tmp_path / "a", "--data", "embedded:target_test", "--limit", "1"]
    assert call(monkeypatch, "eval", *ask) == 2
    assert "is truncated or no safetensors file" in capsys.readouterr().err


def test_missing_pickled_and_foreign_weights_are_refused(recorded: Path) -> None:
    weights = recorded / WEIGHTS
    whole = load_file(weights)
    save_file({"x": torch.zeros(2)}, weights)
    with pytest.raises(ModelError, match="no LoRA weights"):
        load(recorded)
    first = next(iter(whole))
    save_file({**whole, first: whole[first] + 1}, weights)
    with pytest.raises(ModelError, match=r"not the file that gft_lite\.json was written for"):
        load(recorded)
    weights.rename(recorded / "adapter_model.bin")
    with pytest.raises(ModelError, match="pickled"):
        load(recorded)


def test_an_adapter_of_which_parts_are_missing_is_refused(
    adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    """PEFT only warns, and the model would answer as the base in the layers left out."""
    shutil.copytree(adapters[0], tmp_path / "a")
    weights = load_file(tmp_path / "a" / WEIGHTS)
    odd = {k.replace("layers.1.", "layers.77."): v for k, v in weights.items()}
    save_file(odd, tmp_path / "a" / WEIGHTS)
    with pytest.raises(ModelError, match="does not fit the model"):
        load(tmp_path / "a")


def test_broken_records_are_refused(recorded: Path) -> None:
    (recorded / RECORD).write_text("{}")
    with pytest.raises(ModelError, match="not a record"):
        load(recorded)
    (recorded / RECORD).write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        load(recorded)


# --- mixing ---


def updates(folder: Path) -> dict[str, torch.Tensor]:
    """B·A·alpha/r of every layer."""
    config = json.loads((folder / "adapter_config.json").read_text())
    weights = load_file(folder / WEIGHTS)
    scale = config["lora_alpha"] / config["r"]
    return {
        name: weights[name.replace("lora_A", "lora_B")] @ weights[name] * scale
        for name in weights
        if "lora_A" in name
    }


def test_a_linear_mix_is_the_weighted_sum_of_the_updates(
    adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    parts = [Part(adapters[0], 0.25), Part(adapters[1], 0.75)]
    mix(TINY, parts, tmp_path / "m")
    a, b, mixed = updates(adapters[0]), updates(adapters[1]), updates(tmp_path / "m")
    assert mixed.keys() == a.keys()
    for name, value in mixed.items():
        wanted = 0.25 * a[name] + 0.75 * b[name]
        assert (value - wanted).abs().max() <= 1e-6 * wanted.abs().max() + 1e-8
    record = read_record(tmp_path / "m")
    assert record is not None and record["stages"][0]["parts"][1]["weight"] == 0.75
    load(tmp_path / "m")


def test_a_mix_of_equal_parts_is_the_part(adapters: tuple[Path, Path], tmp_path: Path) -> None:
    """TIES and linear of an adapter with itself: nothing to elect, nothing lost at density 1."""
    a = updates(adapters[0])
    for how in ("linear", "ties"):
        out = tmp_path / how
        mix(TINY, [Part(adapters[0], 0.5)] * 2, out, how=how, density=1.0)  # type: ignore[arg-type]
        scale = 1.0 if how == "linear" else 0.5  # TIES takes the mean of what agrees: ½·ΔW each
        for name, value in updates(out).items():
            gap = (value - scale * a[name]).abs().max()
            assert gap <= 2e-5 * a[name].abs().max(), how


@pytest.mark.slow
@pytest.mark.parametrize("how", ["dare_linear", "dare_ties"])
def test_dare_is_seeded_and_loads(adapters: tuple[Path, Path], tmp_path: Path, how: Any) -> None:
    parts = [Part(folder, 0.5) for folder in adapters]
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        mix(TINY, parts, tmp_path / name, how=how, seed=seed, rank=8)
    sums = [file_sha256(tmp_path / n / WEIGHTS) for n in ("one", "same", "other")]
    assert sums[0] == sums[1] != sums[2]
    load(tmp_path / "one")


@pytest.mark.slow
def test_greedy_soup_keeps_what_does_not_hurt(adapters: tuple[Path, Path], tmp_path: Path) -> None:
    examples = load_examples(resolve("embedded:target_test"), limit=4).examples
    load_policy(TINY, LoraConfig(), seed=0).save_adapter(tmp_path / "zero")
    parts = [Part(p, 0.0) for p in (*adapters, tmp_path / "zero")]
    with build_scorer({"name": "length", "max_chars": 60}) as scorer:
        made = greedy_soup(TINY, parts, tmp_path / "soup", examples, scorer, max_new_tokens=24)
    kept = [taste for taste in made.tastes if taste.kept]
    assert made.tastes[0].kept and made.tastes[0].alone == max(t.alone for t in made.tastes)
    best = made.tastes[0].alone
    for taste in made.tastes[1:]:
        assert taste.kept == (taste.with_it >= best)
        best = max(best, taste.with_it) if taste.kept else best
    assert sum(p.weight for p in made.parts) == pytest.approx(1)
    assert sum(p.weight > 0 for p in made.parts) == len(kept)
    load(tmp_path / "soup")


def test_what_cannot_be_mixed(
    adapters: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    two = [Part(folder, 0.5) for folder in adapters]
    with pytest.raises(ConfigError, match="two adapters or more"):
        mix(TINY, two[:1], tmp_path / "m")
    with pytest.raises(ConfigError, match="density"):
        mix(TINY, two, tmp_path / "m", how="ties", density=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(RunError, match="already holds files"):
        mix(TINY, two, tmp_path / "full")
    shutil.copytree(adapters[0], tmp_path / "dora")
    config = json.loads((tmp_path / "dora" / "adapter_config.json").read_text())
    (tmp_path / "dora" / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    with pytest.raises(ModelError, match="not a plain LoRA adapter"):
        plain_lora(tmp_path / "dora")
    ask = ["mix", "--adapter", adapters[0], "--adapter", adapters[1], "--out", tmp_path / "m"]
    assert call(monkeypatch, *ask, "--weight", "1") == 2
    assert call(monkeypatch, *ask, "--how", "greedy") == 2
    assert "--data FILE" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
    assert call(monkeypatch, *ask, "--json") == 0
    assert json.loads(capsys.readouterr().out)["how"] == "linear"


def test_fixed_prompts_are_short() -> None:
    tokenizer = load_tokenizer(TINY)
    assert all(len(tokenizer(text)["input_ids"]) < 64 for text in FIXED_PROMPTS)
