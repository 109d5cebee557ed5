"""Adapters side by side: identities, sameness in words, paired figures, the page."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from adapter_maker import call, make_adapter

from gft_lite.adapters.compare import Comparison, Row, compare, load_adapters
from gft_lite.assets import resolve
from gft_lite.config import LoraConfig, ModelConfig
from gft_lite.data import load_examples
from gft_lite.evaluation.accuracy import evaluate
from gft_lite.models import load_policy
from gft_lite.models.fingerprint import WEIGHTS, file_sha256
from gft_lite.models.multi_adapter import add_adapter, using
from gft_lite.report.compare_page import write_compare_page
from gft_lite.rewards import build_scorer
from gft_lite.types import DataError, Example, Message, ModelError

TINY = ModelConfig(name="tiny")
REWARD = {"name": "length", "max_chars": 12}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two different adapters, a copy of the first, and one that changes nothing."""
    top = tmp_path_factory.mktemp("adapters")
    made = {name: make_adapter(top / name, seed) for name, seed in (("a", 1), ("b", 2))}
    (top / "again").mkdir()
    for file in (top / "a").iterdir():
        (top / "again" / file.name).write_bytes(file.read_bytes())
    load_policy(TINY, LoraConfig(), seed=0).save_adapter(top / "zero")
    return {**made, "again": top / "again", "zero": top / "zero"}


@pytest.fixture(scope="module")
def examples() -> tuple[Example, ...]:
    return load_examples(resolve("embedded:target_test"), limit=5).examples


@pytest.fixture(scope="module")
def found(folders: dict[str, Path], examples: tuple[Example, ...]) -> Comparison:
    with build_scorer(REWARD) as scorer:
        loaded = load_adapters(TINY, list(folders.values()))
        return compare(loaded, examples, scorer, k=2, max_new_tokens=24)


@pytest.mark.slow
def test_every_column_proves_what_it_is(found: Comparison, folders: dict[str, Path]) -> None:
    assert [c.name for c in found.columns] == ["base", "a", "b", "again", "zero"]
    base, a, b, again, zero = (column.identity for column in found.columns)
    assert base.adapter_sha256 is None and base.max_logit_difference == 0
    assert a.adapter_sha256 == file_sha256(folders["a"] / WEIGHTS)
    assert a.max_logit_difference > a.mean_logit_difference > 0
    assert b.max_logit_difference != a.max_logit_difference
    assert again.max_logit_difference == a.max_logit_difference
    assert zero.adapter_sha256 is not None and zero.max_logit_difference == 0
    assert found.base_weights_sha256 is not None


def test_sameness_is_said_in_words(found: Comparison) -> None:
    assert len(found.remarks) == 2
    assert any("a and again are the same adapter" in remark for remark in found.remarks)
    assert any("zero does not differ from the base" in remark for remark in found.remarks)


def test_an_adapter_with_itself(folders: dict[str, Path], examples: tuple[Example, ...]) -> None:
    with build_scorer(REWARD) as scorer:
        loaded = load_adapters(TINY, [folders["a"]] * 2)
        twice = compare(loaded, examples[:2], scorer, max_new_tokens=8)
    assert [c.name for c in twice.columns] == ["base", "a", "a (2)"]
    assert "a and a (2) are the same adapter" in twice.remarks[0]
    itself = twice.pairs[-1]
    assert (itself.counts.p_value, itself.reward.difference) == (1.0, 0.0)
    assert "no significant difference" in itself.in_words()


def test_a_column_is_what_the_adapter_alone_would_give(
    found: Comparison, folders: dict[str, Path], examples: tuple[Example, ...]
) -> None:
    alone = load_policy(ModelConfig(name="tiny", adapter=str(folders["b"])), None)
    with build_scorer(REWARD) as scorer:
        wanted = evaluate(alone, examples, scorer, k=2, max_new_tokens=24)
    assert found.columns[2].evaluation == wanted


def test_switching_leaves_nothing_behind(folders: dict[str, Path]) -> None:
    policy = load_policy(TINY, None)
    ids = policy.chat.prompt_ids((Message("user", "What is 2 + 2?"),))
    from gft_lite.models.multi_adapter import prompt_logits

    before = prompt_logits(policy, ids)
    add_adapter(policy, "a", folders["a"])
    add_adapter(policy, "b", folders["b"])
    with using(policy, "a"):
        a = prompt_logits(policy, ids)
    with using(policy, "b"):
        b = prompt_logits(policy, ids)
    with using(policy, None):
        assert prompt_logits(policy, ids).equal(before)
    with using(policy, "a"):
        assert prompt_logits(policy, ids).equal(a)
    assert not a.equal(b) and not a.equal(before)


def test_pairs_and_rows(found: Comparison) -> None:
    assert len(found.pairs) == 10
    for pair in found.pairs:
        counts = pair.counts
        assert counts.both + counts.only_a + counts.only_b + counts.neither == 5
    order = [row.disagreement for row in found.rows]
    assert order == sorted(order, reverse=True)
    assert Row("?", None, ("x", "y"), (True, False)).disagreement == 2
    assert Row("?", None, ("x", "y"), (False, False)).disagreement == 1
    assert Row("?", None, ("x", "x"), ()).disagreement == 0


class Tags(HTMLParser):
    """Counts tags, and collects whatever would load something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [v for k, v in attrs if k in ("src", "href") and v and v != "data:,"]


def test_the_page_is_self_contained_and_escaped(folders: dict[str, Path], tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script> & <b>2 + 2</b>?"
    asked = [Example((Message("user", nasty),))]
    found = compare(load_adapters(TINY, [folders["a"]]), asked, None, max_new_tokens=8)
    file = write_compare_page(found, tmp_path / "page.html")
    reader = Tags()
    reader.feed(file.read_text(encoding="utf-8"))
    assert "script" not in reader.tags and "b" not in reader.tags and not reader.loads
    assert "&lt;script&gt;" in file.read_text(encoding="utf-8")


def test_the_command(
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask = ["compare", "--model", "tiny", "--adapter", folders["a"], "--adapter", folders["zero"]]
    data = ["--data", "embedded:target_test", "--limit", "3", "--max-new-tokens", "16"]
    page = tmp_path / "c.html"
    assert call(monkeypatch, *ask, *data, "--html", page, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [c["name"] for c in document["columns"]] == ["base", "a", "zero"]
    assert document["pairs"][0]["in_words"] and page.is_file()
    assert call(monkeypatch, *ask, "--prompt", "What is 2 + 2?", "--max-new-tokens", "8") == 0
    assert "zero does not differ from the base" in capsys.readouterr().out


def test_bad_input_to_compare(
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, "compare", "--adapter", folders["a"]) == 2
    assert "--data or texts with --prompt" in capsys.readouterr().err
    assert call(monkeypatch, "compare", "--adapter", tmp_path, "--prompt", "x") == 2
    assert "no run and no checkpoint" in capsys.readouterr().err
    with pytest.raises(DataError, match="nothing to compare on"):
        compare(load_adapters(TINY, []), [], None)
    with pytest.raises(ModelError, match=r"'tiny'.*'other/base'"):
        load_adapters(ModelConfig(name="other/base"), [folders["a"]])
