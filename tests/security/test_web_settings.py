"""No setting of a configuration lets a browser read a file outside the workspace or run code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gft_lite.config import (
    REGISTRY,
    DataConfig,
    GftMethod,
    RunConfig,
    load_config,
    parse_override,
    preset_names,
)
from gft_lite.runs import RunDir
from gft_lite.types import ConfigError, InputError, RewardError
from gft_lite.ui.model.run_form import SETTINGS, Choice, configured
from gft_lite.ui.queue import Jobs
from gft_lite.ui.web_settings import RULES, check_place, check_settings, rule_of, settings_of
from gft_lite.ui.workspace import Workspace

PATHS = ("/etc/passwd", "../../secret.jsonl", "link/passwd", "link/passwd:main:test", "runs/../..")
CODE = ("{file: reward.py}", "{file: /etc/reward.py, options: {a: 1}}")
FORBIDDEN: tuple[tuple[str, Any], ...] = (
    *((f"data.{key}", path) for key in ("path", "eval_path", "retention_path") for path in PATHS),
    *(("model.name", path) for path in PATHS),
    *(("model.adapter", path) for path in PATHS),
    *(("model.revision", name) for name in ("../../../etc", "/etc/passwd", "a/../../b", "-x")),
    ("model.trust_remote_code", True),
    ("reward", {"file": "reward.py"}),
    ("reward", {"file": "/etc/reward.py", "options": {"a": 1}}),
    ("reward", {"parts": [{"name": "math"}, {"file": "reward.py", "weight": 0.5}]}),
    ("reward", {"parts": [{"file": "reward.py", "label": "math"}]}),
    ("reward", "reward.py"),
)


def nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def at_the_top(key: str, value: Any) -> RunConfig:
    return load_config(preset="tiny-cpu", overrides=[f"{key}={json.dumps(value)}"])


def in_the_first_stage(key: str, value: Any) -> RunConfig:
    stages = [{"method": "sft", **nested(key, value)}, "gft"]
    return load_config(preset="tiny-cpu", overrides=[f"stages={json.dumps(stages)}"])


def in_a_later_stage(key: str, value: Any) -> RunConfig:
    stages = ["sft", {"method": "gft", **nested(key, value)}]
    return load_config(preset="tiny-cpu", overrides=[f"stages={json.dumps(stages)}"])


def over_a_stage(key: str, value: Any) -> RunConfig:
    overrides = ["stages=[sft, gft]", f"stages.2.{key}={json.dumps(value)}"]
    return load_config(preset="tiny-cpu", overrides=overrides)


def around_harmless_stages(key: str, value: Any) -> RunConfig:
    harmless = {"data": {"path": "embedded:target_train"}, "reward": "math"}
    overrides = [f"stages={json.dumps([harmless])}", f"{key}={json.dumps(value)}"]
    return load_config(preset="tiny-cpu", overrides=overrides)


def of_the_page(more: str) -> RunConfig:
    base = load_config(preset="tiny-cpu").to_dict()
    values = tuple(base[s.key.split(".")[0]].get(s.key.split(".")[1]) for s in SETTINGS)
    return configured(Choice(("tiny-cpu",), "tiny", None, "gft", "math", (), values, more))


def in_more_settings(key: str, value: Any) -> RunConfig:
    return of_the_page(yaml.safe_dump(nested(key, value)))


def in_a_stage_of_more_settings(key: str, value: Any) -> RunConfig:
    return of_the_page(yaml.safe_dump({"stages": ["sft", nested(key, value)]}))


PLACES = (
    at_the_top,
    in_the_first_stage,
    in_a_later_stage,
    over_a_stage,
    around_harmless_stages,
    in_more_settings,
    in_a_stage_of_more_settings,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws")
    (workspace.root / "link").symlink_to("/etc")
    (workspace.root / "reward.py").write_text("def score(response, target): return 1.0\n")
    return workspace


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize(("key", "value"), FORBIDDEN, ids=str)
def test_refused_in_every_place_of_a_configuration(
    workspace: Workspace, place: Callable[[str, Any], RunConfig], key: str, value: Any
) -> None:
    with pytest.raises(InputError) as refused:
        Jobs(workspace).start(place(key, value))
    assert key.split(".")[0] in str(refused.value)
    assert not list(workspace.runs_dir.iterdir())


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_what_is_harmless_is_taken_in_every_place(
    workspace: Workspace, place: Callable[[str, Any], RunConfig]
) -> None:
    """Else the test above could pass because nothing is ever taken."""
    for key, value in (
        ("data.path", "uploads/data-1/parts-1/train.jsonl"),
        ("data.eval_path", "openai/gsm8k:main:test"),
        ("data.retention_path", "embedded:old_skill_test"),
        ("data.columns", {"prompt": "question", "teachers": ["a", "b"]}),
        ("data.split", "test"),
        ("reward", {"parts": [{"name": "math"}, {"name": "length", "max_chars": 400}]}),
        ("train.learning_rate", 0.001),
    ):
        check_settings(place(key, value), workspace)


@pytest.mark.parametrize(("key", "value"), FORBIDDEN, ids=str)
def test_refused_when_a_run_goes_on(workspace: Workspace, key: str, value: Any) -> None:
    """The configuration on disk can have been changed after the run was queued."""
    stages = [{"method": "sft"}, {"method": "gft", **nested(key, value)}]
    for number, wrong in enumerate((nested(key, value), {"stages": stages}), 1):
        run = RunDir.create(workspace.runs_dir / f"gft-{number}", yaml.safe_dump(wrong))
        run.set_status("stopped", step=1, steps=4)
        with pytest.raises(InputError):
            Jobs(workspace).resume(run.path.name)
        assert run.status()["state"] == "stopped"


@pytest.mark.parametrize(
    "preset", ["/etc/passwd", "../presets/tiny-cpu", "tiny-cpu.yaml", ["/etc/passwd"], {"a": 1}]
)
def test_a_preset_is_a_name_and_never_a_path(preset: Any) -> None:
    with pytest.raises(ConfigError, match="unknown preset"):
        load_config(preset=preset)
    with pytest.raises(ConfigError, match="unknown key 'preset'"):
        load_config(preset="tiny-cpu", overrides=[f"preset={json.dumps(preset)}"])
    with pytest.raises(ConfigError, match="unknown key 'preset'"):
        of_the_page(yaml.safe_dump({"preset": preset}))


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system [ls]", "!!python/name:os.system"])
def test_yaml_makes_no_objects(tag: str) -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_override(f"data.path={tag}")
    with pytest.raises(ConfigError, match="not valid YAML"):
        of_the_page(f"data:\n  path: {tag}")


@pytest.mark.parametrize("text", ["file:///etc/passwd", "https://evil.example/a", "s3://a/b.jsonl"])
def test_an_address_is_a_path_in_the_workspace_and_is_not_opened(
    workspace: Workspace, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gft_lite.data import load_examples
    from gft_lite.types import DataError

    check_place("data.path", text, workspace)
    monkeypatch.chdir(workspace.root)
    with pytest.raises(DataError, match="no such file"):
        load_examples(text)


# --- the list of rules ---


def every_setting() -> set[str]:
    configs = [RunConfig(method=entry.config()) for entry in REGISTRY.values()]
    return {setting.key for config in configs for setting in settings_of(config)}


def test_every_setting_of_the_schema_has_a_rule() -> None:
    """Only what runs a model's code is closed; a new closed setting belongs into this test."""
    closed = {
        setting.key
        for entry in REGISTRY.values()
        for setting in settings_of(RunConfig(method=entry.config()))
        if rule_of(setting).__name__ == "_command_line_only"
    }
    assert closed == {"model.trust_remote_code"}
    assert set(RULES) <= every_setting(), "a rule for a setting that is not there"


def test_a_new_setting_is_refused_until_it_has_a_rule(workspace: Workspace) -> None:
    class NewData(DataConfig):
        template_file: str | None = None
        shuffle: bool = False

    class NewMethod(GftMethod):
        hook: str = ""
        gain: float = 1.0
        files: tuple[int, ...] = ()

    class NewConfig(RunConfig):
        data: NewData = NewData()
        method: NewMethod = NewMethod()
        plugin: str | None = None

    check_settings(NewConfig(method=NewMethod(gain=2.0)), workspace)  # a number: free
    for config, key in (
        (NewConfig(data=NewData(template_file="x")), "data.template_file"),
        (NewConfig(data=NewData(shuffle=True)), "data.shuffle"),
        (NewConfig(method=NewMethod(hook="x")), "method.hook"),
        (NewConfig(method=NewMethod(files=(1,))), "method.files"),
        (NewConfig(plugin="x"), "plugin"),
    ):
        with pytest.raises(ConfigError, match=f"^{key} can only be set from the command line"):
            check_settings(config, workspace)


def test_every_preset_can_be_chosen_in_the_browser(workspace: Workspace) -> None:
    for name in preset_names():
        check_settings(load_config(preset=name), workspace)


def test_python_rewards_are_refused_with_the_reason(workspace: Workspace) -> None:
    for spec in CODE:
        with pytest.raises(RewardError, match="only be named on the command line"):
            check_settings(load_config(overrides=[f"reward={spec}"]), workspace)
