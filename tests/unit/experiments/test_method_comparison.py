"""Methods on one file, for real on the embedded model: the split, what is equal, what is chosen,
what an interrupted comparison does, and the refusals."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gft_lite.assets import resolve
from gft_lite.cli import app
from gft_lite.cli.methods import parse_entries
from gft_lite.config import DataConfig, RunConfig, load_config
from gft_lite.data import load_examples, normalized_prompt, split_file
from gft_lite.experiments import MethodComparison, Variant, run_comparison
from gft_lite.experiments.rows import Row, equal, learning_rates
from gft_lite.experiments.split import split, write
from gft_lite.runs import RunDir
from gft_lite.types import ConfigError, DataError, Example, RewardError, RunError

FEW = (
    "train.steps=2",
    "train.prompts_per_step=2",
    "group.self=2",
    "group.teacher=0",
    "group.max_new_tokens=32",
    "eval.k=2",
    "eval.every=0",
    "train.log_kl_every=0",
)


@pytest.fixture(scope="module")
def own_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 embedded problems under other column names, one prompt twice, two without an expert."""
    path = tmp_path_factory.mktemp("own") / "mine.jsonl"
    examples = load_examples(resolve("embedded:target_train"), limit=60).examples
    with path.open("w", encoding="utf-8") as file:
        for number, e in enumerate(examples):
            row = {"q": e.question, "a": e.answer}
            row |= {"worked": e.experts[0]} if number > 1 else {"worked": None}
            file.write(json.dumps(row) + "\n")
        file.write(json.dumps({"q": examples[9].question.upper(), "a": "7", "worked": "7"}) + "\n")
    return path


SFT, GFT = parse_entries("sft", None), parse_entries("gft", None)
COLUMNS = {"prompt": "q", "answer": "a", "expert": "worked"}


@pytest.fixture
def common(own_file: Path) -> Callable[..., RunConfig]:
    def make(*overrides: str) -> RunConfig:
        own = [f"data.path={json.dumps(str(own_file))}", f"data.columns={json.dumps(COLUMNS)}"]
        own += ["data.retention_path=embedded:old_skill_test"]
        return load_config(preset="tiny-cpu", overrides=[*FEW, *own, *overrides])

    return make


def prompts(examples: Iterable[Example]) -> set[str]:
    return {normalized_prompt(example) for example in examples}


def contest(config: RunConfig, entries: list[Variant], out: Path, **more: Any) -> MethodComparison:
    return run_comparison(
        config, entries, out, title="t", lead="l", document="methods.json", **more
    )


# --- the split ----------------------------------------------------------------------------------


def test_a_split_is_disjoint_by_prompt_and_the_same_whatever_the_order(
    own_file: Path, tmp_path: Path
) -> None:
    data = DataConfig(path=str(own_file), columns=COLUMNS)
    found = split(data, 12, choosing=True)
    parts = [prompts(part) for part in (found.train, found.choose, found.measure)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert [len(part) for part in parts] == [48, 3, 9]
    assert len(found.train) + len(found.choose) + len(found.measure) == 61
    turned = tmp_path / "turned.jsonl"
    turned.write_text("".join(reversed(own_file.read_text().splitlines(keepends=True))))
    again = split(DataConfig(path=str(turned), columns=COLUMNS), 12, choosing=True)
    assert [prompts(part) for part in (again.train, again.choose, again.measure)] == parts
    aside = split_file(own_file, tmp_path / "parts", 12, columns=COLUMNS).held_out
    assert prompts(load_examples(aside).examples) == parts[1] | parts[2]


def test_at_most_a_fifth_is_held_out(own_file: Path) -> None:
    data = DataConfig(path=str(own_file), columns=COLUMNS)
    assert len(prompts(split(data, 200, choosing=False).measure)) == 12
    with pytest.raises(DataError, match=r"of its 10 prompts too few.*--eval"):
        split(data.model_copy(update={"limit": 10}), 200, choosing=False)


def test_a_held_out_file_that_shares_prompts_is_counted(own_file: Path, tmp_path: Path) -> None:
    held = tmp_path / "held.jsonl"
    held.write_text("".join(own_file.read_text().splitlines(keepends=True)[:8]))
    data = DataConfig(path=str(own_file), columns=COLUMNS, eval_path=str(held))
    found = split(data, 200, choosing=True)
    assert (found.leaked, len(found.choose), len(found.measure)) == (8, 2, 6)
    small = data.model_copy(update={"eval_path": str(held), "limit": None})
    held.write_text(held.read_text().splitlines(keepends=True)[0] * 1)
    with pytest.raises(DataError, match="too few to choose learning rates"):
        split(small, 200, choosing=True)


def test_what_is_written_is_read_back_the_same(own_file: Path, tmp_path: Path) -> None:
    data = DataConfig(path=str(own_file), columns=COLUMNS, system_prompt="Be brief.")
    found = split(data, 12, choosing=False)
    written = write(found, data, tmp_path / "data")
    assert written.columns == {} and written.system_prompt == "Be brief."
    again = load_examples(str(written.path), format=written.format).examples
    plain = [(e.prompt, e.experts, e.answer) for e in found.train]
    assert [(e.prompt, e.experts, e.answer) for e in again] == plain


# --- training -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_comparison_on_an_own_file(common: Callable[..., RunConfig], tmp_path: Path) -> None:
    """Base, two methods, one of them at two rates; then the same again, which trains nothing."""
    entries = parse_entries("sft, gft", "sft=3e-4:1e-3")
    trained: list[str] = []
    out = tmp_path / "out"
    found = contest(
        common(), entries, out, hold_out=12, on_event=lambda name, event: trained.append(name)
    )
    base, sft, gft = found.rows
    assert [row.method for row in found.rows] == ["base", "sft", "gft"]
    assert base.kl_nats_per_token == 0 and base.steps == 0
    assert set(trained) == {"sft-lr-0.0003", "sft-lr-0.001", "gft"}
    assert sft.run in {"sft-lr-0.0003", "sft-lr-0.001"} and set(sft.chosen_on) == {
        "sft-lr-0.0003",
        "sft-lr-0.001",
    }
    best = max(sft.chosen_on.values())
    assert sft.chosen_on[sft.run] == best
    assert sft.learning_rate == float(sft.run.removeprefix("sft-lr-"))
    assert (gft.learning_rate, gft.chosen_on) == (1e-3, {})
    for row in (sft, gft):
        steps = list(RunDir(out / row.run).events("step"))
        assert row.trained_tokens == sum(e["trained_tokens"] for e in steps)
        assert row.peak_memory_gib and row.seconds > 0 and row.steps == 2
        assert row.old_skill_greedy is not None and row.target_interval is not None
    assert found.data["measure"] == 9 and found.data["choose"] == 3
    # the two prompts without an expert: GFT has them, SFT has not, and it is said
    assert gft.examples - sft.examples in (0, 1, 2)
    if gft.examples > sft.examples:
        assert any("sft could train on" in sentence for sentence in found.equal)
    assert "the best of 0.0003, 0.001 on 3 other held-out prompts" in found.rates

    document = json.loads((out / "methods.json").read_text(encoding="utf-8"))
    assert document["rows"][1]["target_mean_at_2"] == sft.target_mean_at_k
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Equal for all" in page and "mean@2" in page and "Peak memory" in page

    trained.clear()
    again = contest(
        common(), entries, out, hold_out=12, on_event=lambda name, event: trained.append(name)
    )
    assert again == found and trained == []
    with pytest.raises(RunError, match=r"another comparison.*train\.seed; nothing was overwritten"):
        contest(common("train.seed=4"), entries, out, hold_out=12)


@pytest.mark.slow
def test_an_interrupted_comparison_goes_on(
    common: Callable[..., RunConfig], tmp_path: Path
) -> None:
    entries = parse_entries("sft,dft", None)
    config = common("data.eval_path=embedded:target_test", "eval.examples=4")

    def stop(name: str, event: dict[str, Any]) -> None:
        if name == "dft" and event["type"] == "step" and event["step"] == 1:
            RunDir(tmp_path / "out" / "dft").request_stop()

    with pytest.raises(KeyboardInterrupt):
        contest(config, entries, tmp_path / "out", on_event=stop)
    names: list[str] = []
    found = contest(
        config, entries, tmp_path / "out", on_event=lambda name, event: names.append(name)
    )
    assert set(names) == {"dft"}, "SFT was finished"
    assert [row.steps for row in found.rows] == [0, 2, 2]
    orders = [
        [
            [group["prompt"] for group in RunDir(tmp_path / "out" / name).read_groups(step)]
            for step in (1, 2)
        ]
        for name in ("sft", "dft")
    ]
    assert orders[0] == orders[1], "same prompts in the same order"


# --- refusals -----------------------------------------------------------------------------------


def test_nothing_begins_where_one_entry_cannot_be_trained(
    common: Callable[..., RunConfig], tmp_path: Path
) -> None:
    entries = parse_entries("sft,grpo", None)
    with pytest.raises(ConfigError, match=r"grpo: method 'grpo' compares.*raise group\.self"):
        contest(common("group.self=1"), entries, tmp_path / "out")
    bare = tmp_path / "bare.jsonl"
    bare.write_text("".join(f'{{"prompt": "{n}?", "expert": "yes"}}\n' for n in range(30)))
    with pytest.raises(RewardError, match=r"gft: .*row 1: reward 'math' needs the field 'answer'"):
        contest(load_config(overrides=[*FEW, f"data.path={bare}"]), GFT, tmp_path / "out")
    with pytest.raises(RewardError, match=r"held out, row .*needs the field 'answer'"):
        contest(load_config(overrides=[*FEW, f"data.path={bare}"]), SFT, tmp_path / "out")
    with pytest.raises(ConfigError, match="stages: methods are compared one by one"):
        contest(common("stages=[sft]"), entries, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("methods", "rates", "sentence"),
    [
        ("sft,gtf", None, r"--methods: unknown method 'gtf'; did you mean 'gft'"),
        ("sft,sft", None, "--methods names 'sft' twice"),
        (" , ", None, "--methods names no method"),
        ("sft", "gft=1e-3", r"--rates 'gft=1e-3': write it as METHOD=RATE:RATE.*\(sft\)"),
        ("sft", "sft=fast", "'fast' is not a learning rate"),
        ("sft", "sft=1e-3:", "'' is not a learning rate"),
        ("sft", "sft=-1", "'-1' is not a learning rate"),
        ("sft", "sft=nan", "'nan' is not a learning rate"),
    ],
)
def test_methods_and_rates_that_are_none(methods: str, rates: str | None, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse_entries(methods, rates)


# --- what is said -------------------------------------------------------------------------------


def a_row(method: str, **more: Any) -> Row:
    known: dict[str, Any] = {
        "target_greedy": 0.5,
        "target_interval": None,
        "target_mean_at_k": 0.5,
        "target_pass_at_k": 0.5,
        "old_skill_greedy": None,
        "kl_nats_per_token": 0.0,
        "response_tokens": 9.0,
        "steps": 9,
        "examples": 10,
        "learning_rate": 1e-4,
    }
    return Row(method=method, **(known | more))


def test_what_was_not_equal_is_said() -> None:
    config = load_config(overrides=["train.max_tokens=1000", "train.steps=9"])
    rows = [a_row("sft", examples=8, trained_tokens=400), a_row("gft", trained_tokens=1100)]
    said = equal(config, rows, leaked=3)
    assert "1,000 response tokens were trained on, 9 steps at most" in said[0]
    assert said[1].startswith("sft could train on 8 of the 10 prompts only")
    assert said[2].startswith("sft ended at 9 steps with 400 of the 1,000 tokens; raise --steps")
    assert said[3].startswith("3 held-out prompts are in the training file as well")
    assert len(said) == 4


def test_one_rate_for_all_is_called_what_it_is() -> None:
    assert "chosen for none of them" in learning_rates([a_row("sft"), a_row("gft")], 0)
    said = learning_rates([a_row("sft"), a_row("gft", learning_rate=3e-4)], 0)
    assert said == "Learning rates: sft 0.0001 (as given); gft 0.0003 (as given)."


# --- the command --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_prints_one_document(own_file: Path, tmp_path: Path) -> None:
    """Budget reached after one step of at most three; report from what is on disk."""
    ran = CliRunner().invoke(
        app,
        [
            *("compare-methods", "--data", str(own_file), "--methods", "dft", "--json"),
            *("--map", "prompt=q", "--map", "answer=a", "--map", "expert=worked"),
            *("--steps", "3", "--token-budget", "20", "--rates", "dft=1e-3"),
            *("--hold-out", "5", "--set", "eval.k=2", "--out", str(tmp_path / "out")),
        ],
    )
    assert ran.exit_code == 0, ran.output
    document = json.loads(ran.stdout)
    assert document == json.loads((tmp_path / "out" / "methods.json").read_text())
    base, dft = document["rows"]
    assert base["method"] == "base" and dft["method"] == "dft"
    assert (dft["steps"], dft["learning_rate"]) == (1, 1e-3)
    assert dft["trained_tokens"] >= 20 and dft["old_skill_greedy"] is not None
    assert document["data"]["measure"] == 5
    assert load_config(tmp_path / "out" / "dft" / "config.yaml").train.max_tokens == 20
    (tmp_path / "out" / "report.html").unlink()
    assert CliRunner().invoke(app, ["report", str(tmp_path / "out")]).exit_code == 0
    assert "Methods compared" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
