"""GFT → export → TRL's real GRPOTrainer, and → GRPO in our own pipeline, on the embedded model."""

import importlib.util
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import SMALL
from torch import Tensor

from gft_lite.assets import resolve
from gft_lite.config import ModelConfig, RunConfig, load_config
from gft_lite.data import load_examples
from gft_lite.export import export
from gft_lite.models import Policy, load_policy
from gft_lite.models.batching import TokenSequence, collate
from gft_lite.models.validation import read_record
from gft_lite.rewards import Scorer, build_scorer
from gft_lite.training.worker import train
from gft_lite.types import Response

MakeConfig = Callable[..., RunConfig]
ODD_WORDS = ("wind", "snow", "boats", "glass", "cats", "music", "iron", "trees")
EXAMPLE = Path(__file__).parents[2] / "examples" / "continue_with_trl.py"


@pytest.fixture(scope="module")
def example() -> Any:
    """The script people run, as a module."""
    spec = importlib.util.spec_from_file_location("continue_with_trl", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps of GFT on the embedded model, exported as an adapter."""
    folder = tmp_path_factory.mktemp("handover")
    config = load_config(
        preset="tiny-cpu",
        overrides=[*SMALL, "train.steps=3", "data.eval_path=null", "data.retention_path=null"],
    )
    run = train(config, folder / "run")
    return export(run.run_dir, "adapter", folder / "adapter").out


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    # graded, so that two steps find contrast whatever the model can do
    with build_scorer({"name": "length", "min_chars": 300}) as made:
        yield made


def sequences(policy: Policy, count: int = 6) -> list[TokenSequence]:
    examples = load_examples(resolve("embedded:target_test"), limit=count).examples
    return [
        TokenSequence(
            policy.chat.prompt_ids(e.prompt),
            policy.chat.response_ids(Response(e.experts[0], "expert")),
        )
        for e in examples
    ]


@torch.no_grad()
def ours(adapter: Path | None) -> Tensor:
    """Log-probs of fixed answers under base + adapter, by this project's own code."""
    policy = load_policy(ModelConfig(name="tiny", adapter=str(adapter) if adapter else None), None)
    return policy.token_logps(collate(sequences(policy), 0)).logps


@torch.no_grad()
def theirs(trainer: Any, adapter: str | None) -> Tensor:
    """The same by TRL's code, under the adapter that TRL switches to for its reference."""
    from trl.trainer.utils import use_adapter

    policy = load_policy(ModelConfig(name="tiny"), None)
    rows = []
    with use_adapter(trainer.model, adapter_name=adapter):
        trainer.model.eval()
        for s in sequences(policy):
            ids = torch.tensor([s.prompt_ids + s.response_ids])
            logps, _, _ = trainer._get_per_token_logps_and_entropies(
                trainer.model, ids, torch.ones_like(ids), len(s.response_ids)
            )
            rows.append(logps[0])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def reference_name(trainer: Any) -> str | None:
    """What GRPOTrainer 1.16.0 switches to for reference log-probs."""
    return "ref" if "ref" in trainer.model.peft_config else None


def make(example: Any, exported: Path, scorer: Scorer, out: Path, **settings: Any) -> Any:
    # questions unlike those it knows: its samples differ, so that two steps find contrast
    asked = [{"prompt": f"Tell me about {w} and rain.", "answer": w} for w in ODD_WORDS]
    rows = out.with_name(f"{out.name}.jsonl")
    rows.write_text("".join(json.dumps(row) + "\n" for row in asked))
    return example.make_trainer(
        exported,
        example.load_rows(str(rows), None),
        scorer,
        output_dir=str(out),
        max_steps=2,
        learning_rate=1e-3,
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=24,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        **settings,
    )


@pytest.mark.slow
def test_trl_continues_the_adapter_with_gft_as_the_reference(
    example: Any, exported: Path, scorer: Scorer, tmp_path: Path
) -> None:
    trainer = make(example, exported, scorer, tmp_path, reference="gft", beta=0.1)
    wanted, base = ours(exported), ours(None)
    assert not torch.allclose(wanted, base, atol=1e-3), "three steps of GFT changed nothing"
    assert reference_name(trainer) == "ref"
    assert torch.allclose(theirs(trainer, "ref"), wanted, atol=1e-5)
    assert torch.allclose(theirs(trainer, "default"), wanted, atol=1e-5)

    before = {n: p.clone() for n, p in trainer.model.named_parameters() if ".default." in n}
    assert before and all(p.requires_grad for p in before.values())
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == 2 and all(math.isfinite(entry["loss"]) for entry in logged)
    assert logged[0]["kl"] == pytest.approx(0, abs=1e-6) and logged[1]["kl"] > 1e-6
    after = dict(trainer.model.named_parameters())
    assert any(not torch.equal(after[name], value) for name, value in before.items())
    assert torch.allclose(theirs(trainer, "ref"), wanted, atol=1e-5), "the reference moved"
    assert not torch.allclose(theirs(trainer, "default"), wanted, atol=1e-3)


@pytest.mark.slow
def test_the_base_as_reference_when_so_chosen(
    example: Any, exported: Path, scorer: Scorer, tmp_path: Path
) -> None:
    trainer = make(example, exported, scorer, tmp_path, reference="base", beta=0.1)
    assert reference_name(trainer) is None
    assert torch.allclose(theirs(trainer, None), ours(None), atol=1e-5)


@pytest.mark.slow
def test_what_trl_saved_comes_back_to_us(
    example: Any, exported: Path, scorer: Scorer, tmp_path: Path
) -> None:
    trainer = make(example, exported, scorer, tmp_path / "trl", beta=0.0)
    trainer.train()
    trainer.model.save_pretrained(str(tmp_path / "saved"), selected_adapters=["default"])
    base = str(exported / "base")
    again = load_policy(ModelConfig(name=base, adapter=str(tmp_path / "saved")), None)
    with torch.no_grad():
        found = again.token_logps(collate(sequences(again), 0)).logps
    assert torch.allclose(found, theirs(trainer, "default"), atol=1e-5)


@pytest.mark.slow
def test_grpo_as_the_next_stage_of_our_own_pipeline(
    exported: Path, small_config: MakeConfig, tmp_path: Path
) -> None:
    config = small_config(
        "method.name=grpo",
        "method.kl_coef=0.1",
        f"model.adapter={exported}",
        "model.reference=start",
        "train.steps=2",
        "reward=length",
        "reward.min_chars=300",
        "group.temperature=2.0",
        "data.eval_path=null",
        "data.retention_path=null",
    )
    result = train(config, tmp_path / "rl")
    record = read_record(result.adapter)
    assert record is not None
    assert [stage["method"] for stage in record["stages"]] == ["gft", "grpo"]
    assert record["stages"][1]["reference"] == "start"
    before, after = read_record(exported), record
    assert before is not None
    assert record["stages"][1]["started_from"] == before["weights_sha256"]
    assert after["weights_sha256"] != before["weights_sha256"]
