"""The forecast: shapes against published models, bytes against the allocator's own record."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import sampled
from trainer_maker import make_trainer

from gft_lite.config import ModelConfig, RunConfig, card_presets, load_config, preset_names
from gft_lite.memory import (
    GIB,
    KNOWN,
    Forecast,
    forecast,
    known_shape,
    settings_that_fit,
    shape_from_config,
    shape_of,
    smaller_models,
    too_large,
)
from gft_lite.models import load_policy
from gft_lite.models.batching import micro_batches
from gft_lite.types import ModelError

MakeConfig = Callable[..., RunConfig]
USABLE_GIB = {"6gb": 6, "8gb": 8, "12gb": 12, "16gb": 14.6, "24gb": 24}  # a T4 lends 14.6 of 16
PUBLISHED = {
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-math-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "gemma-3-1b": 999_885_952,
    "gemma-3-4b": 4_300_079_472,
    "smollm3-3b": 3_075_098_624,
}


def preset(*names: str, overrides: tuple[str, ...] = ()) -> tuple[RunConfig, Forecast]:
    config = load_config(preset=names, overrides=overrides)
    return config, forecast(config, shape_of(config.model))


# --- shapes ---


def test_shapes_have_the_published_parameter_counts() -> None:
    assert PUBLISHED.keys() == KNOWN.keys()
    for name, parameters in PUBLISHED.items():
        assert KNOWN[name].parameters == pytest.approx(parameters, rel=1e-3), name


def test_names_find_their_shape() -> None:
    assert known_shape("Qwen/Qwen2.5-1.5B-Instruct") is KNOWN["qwen2.5-1.5b"]
    assert known_shape("Qwen/Qwen2.5-Math-1.5B") is KNOWN["qwen2.5-math-1.5b"]
    assert known_shape("Qwen/Qwen3-4B-Instruct-2507") is KNOWN["qwen3-4b"]
    assert known_shape("Qwen/Qwen2.5-72B") is None and known_shape("Qwen/Qwen2.5-1.5Bx") is None
    with pytest.raises(ModelError, match=r"hf download a/b config\.json"):
        shape_of(ModelConfig(name="a/b"))


def test_a_config_in_a_folder_goes_before_the_table(tmp_path: Path) -> None:
    tiny = shape_of(ModelConfig(name="tiny"))
    assert (tiny.layers, tiny.hidden, tiny.kv_heads, tiny.head_dim) == (4, 256, 2, 32)
    from gft_lite.assets import MODEL_DIR

    folder = tmp_path / "Qwen2.5-7B"
    folder.mkdir()
    (folder / "config.json").write_text((MODEL_DIR / "config.json").read_text())
    assert shape_of(ModelConfig(name=str(folder))) == tiny
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        shape_of(ModelConfig(name=str(folder)))


def test_configs_that_are_something_else() -> None:
    with pytest.raises(ModelError, match="mixture of experts"):
        shape_from_config({"num_experts": 8})
    with pytest.raises(ModelError, match=r"lacks the numbers.*num_attention_heads"):
        shape_from_config({"model_type": "resnet"})
    text = {
        "model_type": "gemma3_text", "num_hidden_layers": 34, "hidden_size": 2560,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
        "intermediate_size": 10240, "vocab_size": 262208,
    }  # fmt: skip
    vision = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27}
    nested = shape_from_config({"text_config": text, "vision_config": vision})
    assert nested.tied and nested.qk_norm
    assert nested.parameters == pytest.approx(PUBLISHED["gemma-3-4b"], rel=0.005)


# --- bytes ---


def allocated(work: Callable[[], Any], folder: Path) -> tuple[Any, int]:
    """What `work` returns, and the most bytes of tensors it held at once on top of those before."""
    cpu = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=cpu, profile_memory=True) as profile:
        found = work()
    profile.export_chrome_trace(str(folder / "trace.json"))
    trace = json.loads((folder / "trace.json").read_text())["traceEvents"]
    moves = sorted((e["ts"], e["args"]["Bytes"]) for e in trace if e.get("name") == "[memory]")
    live = peak = 0
    for _, size in moves:
        live += size
        peak = max(peak, live)
    return found, peak


def held(trainer: Any) -> int:
    """Bytes of the weights, adapter included."""
    stored = (t.untyped_storage() for t in trainer.policy.model.state_dict().values())
    return sum({s.data_ptr(): s.nbytes() for s in stored}.values())


FORECASTS = {
    "plain": (),
    "recomputed": ("model.gradient_checkpointing=true",),
    "4-bit": ("model.dtype=bfloat16", "model.load_in_4bit=true", "lora.r=64"),
    "4-bit recomputed": (
        "model.dtype=bfloat16",
        "model.gradient_checkpointing=true",
        "model.load_in_4bit=true",
    ),
}


@pytest.mark.parametrize("name", sampled(FORECASTS, {"plain"}))
def test_the_forecast_is_within_a_quarter_of_the_allocators_record(
    small_config: MakeConfig, tmp_path: Path, name: str
) -> None:
    """A real rollout and a real update of the embedded model. What was drawn is what is forecast:
    the settings say the lengths and tokens that came up. 16 bits under autocast, as on a GPU."""
    overrides = FORECASTS[name]
    config = small_config("train.prompts_per_step=8", "data.eval_path=null", *overrides)
    policy = load_policy(config.model, config.lora, seed=0)
    trainer = make_trainer(config, tmp_path / "run", policy)
    if config.model.dtype == "bfloat16":
        trainer.accelerator.autocast = lambda: torch.autocast("cpu", torch.bfloat16)
    else:
        trainer.accelerator.autocast = nullcontext
    (data,), rollout = allocated(lambda: trainer.rollout.draw(0), tmp_path)
    _, training = allocated(lambda: trainer._update(data.sequences), tmp_path)
    parts = list(micro_batches(data.sequences, config.train.micro_batch_tokens))
    came_up = load_config(
        preset="tiny-cpu",
        overrides=[
            "train.prompts_per_step=8",
            "group.self=3",
            "data.eval_path=null",
            *overrides,
            f"data.max_prompt_tokens={max(len(s.prompt_ids) for s in data.sequences)}",
            f"group.max_new_tokens={max(len(s.response_ids) for s in data.sequences)}",
            f"train.micro_batch_tokens={max(len(p) * len(p[0]) for p in parts)}",
        ],
    )
    found = forecast(came_up, shape_of(config.model), device="cpu")
    weights = sum(found.resident.values()) - found.resident["optimizer"]
    assert weights == pytest.approx(held(trainer), rel=0.05)
    moments = sum(
        value.nbytes
        for state in trainer.optimizer.state.values()
        for name, value in state.items()
        if name != "step"
    )
    assert found.resident["optimizer"] == moments
    phases = {name: sum(parts.values()) for name, parts in found.phases.items()}
    assert phases["rollout"] == pytest.approx(rollout, rel=0.25)
    assert phases["training"] == pytest.approx(training - moments, rel=0.25)
    assert found.tensors == pytest.approx(held(trainer) + training, rel=0.25)


# --- presets ---


@pytest.mark.parametrize("card", card_presets())
def test_every_card_preset_fits_its_card(card: str) -> None:
    _, found = preset(card)
    assert found.verdict(USABLE_GIB[card]) == "fits", found.total / GIB


def test_the_targets() -> None:
    config, found = preset("6gb", "qwen2.5-1.5b")
    assert (config.group.self_, config.data.max_prompt_tokens) == (4, 512)
    assert config.group.max_new_tokens == 512 and found.verdict(6) == "fits"
    config, found = preset("12gb", "qwen2.5-7b")
    assert (config.group.self_, config.data.max_prompt_tokens) == (4, 512)
    assert config.group.max_new_tokens == 1024 and found.verdict(12) == "fits"
    config, found = preset("16gb", "qwen2.5-7b")
    assert (config.group.self_, config.data.max_prompt_tokens) == (8, 1024)
    assert config.group.max_new_tokens == 2048 and found.verdict(16) == "fits"
    config, found = preset("paper-math-1.5b")
    assert config.group.expert + config.group.teacher + config.group.self_ == 8
    assert found.verdict(24) == "fits"


def test_the_models_of_the_presets_are_in_the_table() -> None:
    for name in preset_names():
        model = load_config(preset=name).model.name
        assert model == "tiny" or known_shape(model), name


# --- what to change ---


def test_forecasts_move_the_right_way() -> None:
    sizes = {
        change: preset("12gb", overrides=(change,))[1].total
        for change in (
            "model.load_in_4bit=false",
            "model.gradient_checkpointing=false",
            "train.micro_batch_tokens=16384",
            "train.rollout_batch=64",
            "lora.r=256",
            "train.rollout_batch=1",
        )
    }
    base = preset("12gb")[1].total
    assert sizes.pop("train.rollout_batch=1") < base
    assert all(size > base for size in sizes.values()), sizes
    assert "rollout" not in preset("12gb", overrides=("method=sft",))[1].phases


def test_advice_makes_it_fit_and_names_the_least() -> None:
    config = load_config(overrides=["model.name=Qwen/Qwen2.5-7B"])
    shape = shape_of(config.model)
    changes = settings_that_fit(config, shape, 12)
    assert changes is not None and "model.load_in_4bit=true" in changes
    smaller = load_config(overrides=["model.name=Qwen/Qwen2.5-7B", *changes])
    assert forecast(smaller, shape).verdict(12) == "fits"
    assert settings_that_fit(smaller, shape, 12) == []
    assert settings_that_fit(config, shape, 4) is None
    near = settings_that_fit(preset("12gb")[0], shape, 9.9)
    assert near == ["train.rollout_batch=8"], "a smaller batch before anything else"
    assert smaller_models(preset("12gb")[0], 8)[0] == "gemma-3-4b"


def test_a_hopeless_run_is_refused_before_it_loads() -> None:
    config = load_config(overrides=["model.name=Qwen/Qwen2.5-7B"])
    said = too_large(config, 12)
    assert said is not None and "GiB at the least (forecast), the GPU has 12.0" in said
    assert "--set model.load_in_4bit=true" in said
    assert too_large(preset("12gb")[0], 12) is None
    assert too_large(load_config(overrides=["model.name=a/b"]), 1) is None


# --- the command ---


def estimate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("gft-lite")
    return subprocess.run([command, "estimate", *arguments], capture_output=True, text=True)


def test_estimate_prints_parts_total_and_cards() -> None:
    said = estimate("--preset", "12gb", "--preset", "qwen3-8b", "--gpu-gib", "8")
    assert said.returncode == 0, said.stderr
    for words in ("Qwen/Qwen3-8B", "4-bit", "forecast", "key-value cache", "12 GiB fits"):
        assert words in said.stdout, words
    assert "Yours: 8 GiB does not fit" in said.stdout and "--preset 8gb" in said.stdout
    assert "Nothing was loaded or measured" in said.stderr


def test_estimate_json_is_the_forecast(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("preset: [qwen2.5-1.5b, 6gb]\n")
    said = estimate(str(file), "--gpu-gib", "6", "--json")
    document = json.loads(said.stdout)
    assert document["verdict"] == "fits" and "changes" not in document
    assert document["total"] == preset("6gb", "qwen2.5-1.5b")[1].total
    assert estimate("--set", "model.name=a/b").returncode == 2


def test_estimate_loads_no_torch() -> None:
    code = (
        "import sys; from gft_lite.cli import app\n"
        "app(['estimate', '--preset', '8gb'], standalone_mode=False)\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip().endswith("[]")


def test_the_table_in_the_docs_is_current() -> None:
    script = Path(__file__).parents[3] / "scripts" / "memory_table.py"
    ran = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert ran.returncode == 0, f"run scripts/memory_table.py\n{ran.stderr}"
