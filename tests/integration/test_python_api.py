"""The names a notebook uses, as README and the package's docstring show them."""

from pathlib import Path

from gft_lite import evaluate, load_config, load_examples, train, train_iter
from gft_lite.assets import resolve
from gft_lite.config import ModelConfig
from gft_lite.models import load_policy
from gft_lite.rewards import build_scorer

FEW = ("train.steps=2", "train.prompts_per_step=2", "group.self=2", "data.eval_path=null")


def test_train_then_evaluate_the_adapter(tmp_path: Path) -> None:
    config = load_config(preset="tiny-cpu", overrides=FEW)
    result = train(config, tmp_path / "run")
    assert result.state == "finished" and result.steps == 2 and result.metrics == {}
    examples = load_examples(resolve("embedded:target_test"), limit=3).examples
    policy = load_policy(ModelConfig(name="tiny", adapter=str(result.adapter)), None)
    with build_scorer("math") as scorer:
        found = evaluate(policy, examples, scorer, k=2, max_new_tokens=48)
    assert found.n == 3 and found.k == 2
    assert found.pass_at_k is not None and found.mean_at_k is not None
    assert found.mean_at_k <= found.pass_at_k


def test_train_iter_yields_what_the_run_directory_keeps(tmp_path: Path) -> None:
    config = load_config(preset="tiny-cpu", overrides=[*FEW, "method=sft"])
    kinds = [event["type"] for event in train_iter(config, tmp_path / "run")]
    assert kinds == ["started", "step", "step", "checkpoint", "finished"]
