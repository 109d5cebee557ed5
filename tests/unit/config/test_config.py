"""How a configuration is put together: layers, `--set`, and one sentence for every mistake."""

import math
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from gft_lite.config import (
    GftMethod,
    GrpoMethod,
    RunConfig,
    config_from_dict,
    load_config,
    load_preset,
    parse_override,
    preset_names,
)
from gft_lite.config.methods import REGISTRY
from gft_lite.rewards import REWARDS, read_spec
from gft_lite.types import ConfigError, RewardError

PRESET_TOKENS = load_preset("tiny-cpu")["group"]["max_new_tokens"]


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "run.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def complaint(*overrides: str, path: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides=overrides)
    return str(caught.value).removeprefix("configuration: ")


# --- layers ---


def test_later_layers_win(tmp_path: Path) -> None:
    file = written(tmp_path, "train: {steps: 7, seed: 3}\n")
    config = load_config(file, preset="tiny-cpu", overrides=["train.steps=5", "train.steps=6"])
    assert config.train.steps == 6, "the last --set"
    assert config.train.seed == 3, "the file, over the schema"
    assert config.group.max_new_tokens == PRESET_TOKENS != RunConfig().group.max_new_tokens
    assert config.train.weight_decay == RunConfig().train.weight_decay
    assert load_config(file, preset="tiny-cpu").train.steps == 7, "the file, over the preset"


def test_a_file_may_name_its_preset_and_the_command_line_another(tmp_path: Path) -> None:
    file = written(tmp_path, "preset: tiny-cpu\ntrain: {steps: 7}\n")
    config = load_config(file)
    assert (config.train.steps, config.group.max_new_tokens) == (7, PRESET_TOKENS)
    assert load_config(file, preset="tiny-cpu") == config
    unknown = written(tmp_path, "preset: tiny-cpus\n")
    assert "did you mean 'tiny-cpu'?" in complaint(path=unknown)
    assert load_config(unknown, preset="tiny-cpu") == load_config(preset="tiny-cpu")


def test_a_card_and_a_model_go_together_in_any_order(tmp_path: Path) -> None:
    config = load_config(preset=["qwen3-1.7b", "8gb"])
    assert config == load_config(preset=["8gb", "qwen3-1.7b"])
    assert config.model.name == "Qwen/Qwen3-1.7B", "the model's, not the card's"
    assert config.model.load_in_4bit and config.train.rollout_batch == 16, "the card's"
    assert load_config(written(tmp_path, "preset: [8gb, qwen3-1.7b]\n")) == config
    with pytest.raises(ConfigError, match="6gb and 8gb are both for a card; name one"):
        load_config(preset=["6gb", "8gb"])


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "# nothing\n")) == RunConfig()


def test_what_is_embedded_is_the_default_and_only_for_the_embedded_model() -> None:
    assert RunConfig().model.name == "tiny"
    assert RunConfig().data.path == "embedded:target_train"
    assert load_config(overrides=["model.name=some/model"]).data.path is None
    assert load_config(overrides=["data.path=mine.jsonl"]).data.path == "mine.jsonl"


# --- one choice replaces another ---


def test_another_method_starts_from_its_own_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, "method: {name: gft, tau: 0.7, kl_coef: 0.5}\n")
    for override in ("method=grpo", "method.name=grpo"):
        assert load_config(file, overrides=[override]).method == GrpoMethod()
    assert load_config(file, overrides=["method.name=sft"]).method.name == "sft"
    back = load_config(file, overrides=["method=sft", "method=gft"])
    assert back.method == GftMethod(), "nothing is left of the file's options"


def test_the_same_method_keeps_its_options(tmp_path: Path) -> None:
    for text in ("method: {name: gft, tau: 0.7}\n", "method: {tau: 0.7}\n"):
        file = written(tmp_path, text)
        for override in ("method.name=gft", "method=gft", "method.kl_coef=0.0"):
            assert load_config(file, overrides=[override]).method == GftMethod(tau=0.7)
    assert load_config(overrides=["method.tau=0.3"]).method == GftMethod(tau=0.3)


def test_another_reward_drops_the_options_of_the_first(tmp_path: Path) -> None:
    file = written(tmp_path, "reward: {name: length, max_chars: 40}\n")
    assert load_config(file, overrides=["reward.min_chars=2"]).reward == {
        "name": "length",
        "max_chars": 40,
        "min_chars": 2,
    }
    assert load_config(file, overrides=["reward=math"]).reward == "math"
    assert load_config(file, overrides=["reward={file: r.py}"]).reward == {"file": "r.py"}
    parts = load_config(file, overrides=["reward={parts: [math]}"])
    assert parts.reward == {"parts": ["math"]}
    plain = written(tmp_path, "reward: length\n")
    assert load_config(plain, overrides=["reward.max_chars=40"]).reward == {
        "name": "length",
        "max_chars": 40,
    }


# --- --set ---


@pytest.mark.parametrize("number", ["2e-4", "2.0e-4", "0.0002", "2E-4"])
def test_both_ways_to_write_a_small_number(number: str, tmp_path: Path) -> None:
    """PyYAML reads 2e-4 as a string; the schema makes it the number that was meant."""
    assert load_config(overrides=[f"train.learning_rate={number}"]).train.learning_rate == 2e-4
    file = written(tmp_path, f"train:\n  learning_rate: {number}\n")
    assert load_config(file).train.learning_rate == 2e-4


def test_values_are_yaml() -> None:
    assert parse_override("a.b=[1, x]") == {"a": {"b": [1, "x"]}}
    assert parse_override("a=b=c") == {"a": "b=c"}
    assert parse_override("a.b=") == {"a": {"b": None}}
    config = load_config(overrides=["model.load_in_4bit=yes", "lora.targets=[q_proj, v_proj]"])
    assert config.model.load_in_4bit is True
    assert config.lora.targets == ("q_proj", "v_proj")
    preset = load_config(preset="tiny-cpu", overrides=["data.eval_path=null"])
    assert preset.data.eval_path is None


@pytest.mark.parametrize(
    "text", ["train.steps", "=5", ".steps=5", "train.=5", "train..steps=5", ""]
)
def test_set_without_key_or_value(text: str) -> None:
    assert complaint(text) == (
        f"--set {text!r}: write it as section.key=value, e.g. train.steps=20"
    )


def test_set_with_broken_yaml() -> None:
    assert complaint("reward={a: [") == "--set 'reward={a: [': the value is not valid YAML"


# --- mistakes ---


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("trian.steps=4", "unknown key 'trian'; did you mean 'train'?"),
        ("train.step=4", "unknown key 'train.step'; did you mean 'steps'?"),
        ("group.slef=3", "unknown key 'group.slef'; did you mean 'self'?"),
        ("method.tua=1", "unknown key 'method.tua'; did you mean 'tau'?"),
        ("method.name=gtf", "unknown method 'gtf'; did you mean 'gft'?"),
        ("method=gtf", "unknown method 'gtf'; did you mean 'gft'?"),
        ("lora.zzz=1", "unknown key 'lora.zzz' (known: r, alpha, dropout, targets)"),
        (
            "train.steps=many",
            "train.steps: input should be a valid integer, unable to parse string as an integer "
            "(got 'many')",
        ),
        ("train.steps=0", "train.steps: input should be greater than or equal to 1 (got 0)"),
        (
            "train.steps=2.5",
            "train.steps: input should be a valid integer, got a number with a fractional part "
            "(got 2.5)",
        ),
        ("lora.dropout=1", "lora.dropout: input should be less than 1 (got 1)"),
        ("method.tau=.nan", "method.tau: input should be a finite number (got nan)"),
        (
            "model.backend=HF",
            "model.backend: input should be 'auto', 'hf' or 'unsloth' (got 'HF')",
        ),
        ("data.path=5", "data.path: input should be a valid string (got 5)"),
        (
            "data.columns.prompt=5",
            "data.columns.prompt: canonical field → column of the file, where recognition needs "
            "help (got 5)",
        ),
        ("train=5", "train: expected keys below it, as in `train: {key: value}` (got 5)"),
        ("method=5", "method: expected keys below it, as in `method: {key: value}` (got 5)"),
        (
            "reward=5",
            "reward: reward name, or a mapping with options or named parts (see docs/rewards.md) "
            "(got 5)",
        ),
        (
            "lora.targets=[1, 2]",
            "lora.targets: `all-linear`, or a list of the names of the modules that get an adapter "
            "(got [1, 2])",
        ),
        ("train.warmup_steps=1000", "train.warmup_steps is larger than train.steps"),
        (
            "model.reference=start",
            "model.reference is 'start' but model.adapter names no adapter",
        ),
    ],
)
def test_one_sentence_for_every_mistake(override: str, sentence: str) -> None:
    assert complaint(override) == sentence


def test_every_mistake_is_named_at_once() -> None:
    said = complaint("train.steps=0", "trian=1", "method.tau=-1")
    assert said.count("; ") == 3
    assert all(key in said for key in ("train.steps", "'trian'", "method.tau"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("train:\n  steps: 3\n bad: [\n", ", line 3: not valid YAML; check indentation and colons"),
        ("train: {steps: 3\n", ", line 2: not valid YAML; check indentation and colons"),
        ("- a\n- b\n", ": expected sections like `train:`, found a list"),
        ("just words\n", ": expected sections like `train:`, found a str"),
        (b"\x00\xff\xfe binary", ": cannot be read as text"),
        (b"a\x01b", ": not valid YAML"),
        ("trian: {steps: 3}\n", ": unknown key 'trian'; did you mean 'train'?"),
        ("3: 4\n", ": 3: keys should be strings"),
        ("preset: [tiny-cpus]\n", "unknown preset 'tiny-cpus'; did you mean 'tiny-cpu'?"),
        ("preset: {tiny-cpu: 1}\n", "unknown preset {'tiny-cpu': 1}; did you mean 'tiny-cpu'?"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    file = written(tmp_path, text)
    said = complaint(path=file)
    assert said.startswith(f"{file}{sentence}" if sentence[0] in ":," else sentence)


def test_files_that_are_none(tmp_path: Path) -> None:
    assert complaint(path=tmp_path / "none.yaml") == f"{tmp_path / 'none.yaml'}: no such file"
    assert complaint(path=tmp_path).startswith(f"{tmp_path}: cannot be read as text")


# --- round trip ---


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["method=sft", "group.self=0"],
        ["method.tau=0.35", "group.self=7", "lora.targets=[q_proj]"],
        ["reward={parts: [{name: math, weight: 0.9}, {name: length, max_chars: 9}]}"],
        ["data.columns={prompt: 'a: b #c', answer: ö}", "data.system_prompt='two\n\n lines: ü'"],
        ["train.learning_rate=1e-7", "model.name=owner/name", "model.revision='123'"],
    ],
)
def test_written_and_read_again_is_the_same(tmp_path: Path, overrides: list[str]) -> None:
    for preset in (None, *preset_names()):
        config = load_config(preset=preset, overrides=overrides)
        text = config.to_yaml()
        assert load_config(written(tmp_path, text)) == config
        assert load_config(written(tmp_path, text)).to_yaml() == text


@settings(deadline=None)
@example("\x85\u2028 and \u2029")
@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_any_text_survives_the_round_trip(text: str) -> None:
    import yaml

    config = config_from_dict({"data": {"path": text}, "model": {"name": "owner/name"}})
    assert config_from_dict(yaml.safe_load(config.to_yaml())) == config


def test_self_is_called_self() -> None:
    config = load_config(overrides=["group.self=9"])
    assert config.group.self_ == 9
    assert config.to_dict()["group"]["self"] == 9
    assert "self_" not in config.to_yaml()


def test_a_configuration_does_not_change() -> None:
    config = load_config()
    with pytest.raises(ValueError, match="frozen"):
        config.train.steps = 5  # type: ignore[misc]


# --- magnitudes ---


def numbers_of(section: type[BaseModel], prefix: str = "") -> list[str]:
    """The keys of every number of a configuration, those of all methods included."""
    keys = []
    for name, about in section.model_fields.items():
        key = f"{prefix}{about.alias or name}"
        if isinstance(about.annotation, type) and issubclass(about.annotation, BaseModel):
            keys += numbers_of(about.annotation, f"{key}.")
        elif {about.annotation, *get_args(about.annotation)} & {int, float}:
            keys.append(key)
    return keys


NUMBERS = [(key, "gft") for key in numbers_of(RunConfig)] + [
    (f"method.{key}", name) for name, entry in REGISTRY.items() for key in numbers_of(entry.config)
]


@pytest.mark.parametrize(("key", "method"), NUMBERS)
@pytest.mark.parametrize(
    "value", [".inf", "-.inf", ".nan", "inf", "nan", f"1{'0' * 30}", "1.0e+300"]
)
def test_no_number_is_infinite_or_absurd(key: str, method: str, value: str, tmp_path: Path) -> None:
    """On the command line and in a file; 10^30 fits into no setting."""
    with pytest.raises(ConfigError, match=re.escape(key)) as told:
        load_config(overrides=[f"method={method}", f"{key}={value}"])
    assert "\n" not in str(told.value) and len(str(told.value)) < 200
    section, name = key.split(".")
    file = tmp_path / "run.yaml"
    settings = {"method": {"name": method}}
    settings.setdefault(section, {})[name] = "VALUE"
    file.write_text(yaml.safe_dump(settings).replace("VALUE", value))
    with pytest.raises(ConfigError, match=re.escape(key)):
        load_config(file)


def test_the_magnitudes_of_all_settings_are_checked() -> None:
    assert len(NUMBERS) > 45 and {("train.learning_rate", "gft"), ("method.gamma", "luffy")} <= {
        *NUMBERS
    }


@pytest.mark.parametrize(
    "text", [f"1{'0' * 5000}", "2024-13-45", "[" * 100_000], ids=["digits", "date", "nested"]
)
def test_what_yaml_chokes_on_is_a_sentence(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not valid YAML") as told:
        load_config(overrides=[f"train.steps={text}"])
    assert len(str(told.value)) < 300
    (tmp_path / "run.yaml").write_text(f"train: {{steps: {text}}}")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "number", "rel_tol": math.inf},
        {"name": "number", "abs_tol": math.nan},
        {"name": "length", "max_chars": 10**30},
        {"parts": [{"name": "math", "weight": math.inf}]},
        {"parts": [{"name": "math", "weight": 1e300}]},
        {"parts": [{"name": "math", "weight": 10**400}]},
    ],
)
def test_no_option_or_weight_of_a_reward_is_infinite_or_absurd(spec: dict[str, Any]) -> None:
    with pytest.raises(RewardError, match="at most 1,000,000,000"):
        read_spec(spec, REWARDS, allow_custom=False)
