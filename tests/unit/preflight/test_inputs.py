"""What is refused before a model loads, and in which words."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gft_lite.config import load_config
from gft_lite.preflight.filters import filter_by_prompt_length
from gft_lite.preflight.inputs import RunInputs, validate_inputs
from gft_lite.types import ConfigError, DataError, Example, InputError, Message, RewardError

FULL = {"prompt": "1 + 1?", "expert": "#### 2", "teachers": ["2"], "answer": "2"}


def rows(tmp_path: Path, *entries: dict[str, Any], name: str = "rows.jsonl") -> Path:
    """A file of these rows; texts of the prompt are numbered, for equal prompts become one."""
    path = tmp_path / name
    with path.open("w") as file:
        for number, entry in enumerate(entries):
            ask = {
                k: f"{number} + {v}" for k, v in entry.items() if k in ("prompt", "q") and v != 5
            }
            file.write(json.dumps(entry | ask) + "\n")
    return path


def without(*fields: str) -> dict[str, Any]:
    return {key: value for key, value in FULL.items() if key not in fields}


@contextmanager
def prepared(path: Path, *overrides: str) -> Iterator[RunInputs]:
    found = validate_inputs(load_config(overrides=[f"data.path={path}", *overrides]))
    with found.scorer:
        yield found


def refusal(path: Path | str, *overrides: str) -> InputError:
    with pytest.raises(InputError) as caught:
        validate_inputs(load_config(overrides=[f"data.path={path}", *overrides]))
    return caught.value


def test_refusals_come_before_torch_is_loaded(tmp_path: Path) -> None:
    """Every refusal below happens in a process that never imports torch or transformers."""
    no_answer = rows(tmp_path, without("answer"), name="no_answer.jsonl")
    no_expert = rows(tmp_path, without("expert"), name="no_expert.jsonl")
    full = rows(tmp_path, FULL)
    cases = [
        [f"data.path={no_answer}"],
        [f"data.path={no_expert}", "method=sft"],
        [f"data.path={full}", "group.self=0"],
        [f"data.path={full}", "reward=nope"],
        [f"data.path={tmp_path / 'none.jsonl'}"],
    ]
    script = (
        "import json, sys\n"
        "from gft_lite.config import load_config\n"
        "from gft_lite.preflight.inputs import validate_inputs\n"
        "from gft_lite.types import InputError\n"
        "for case in json.loads(sys.argv[1]):\n"
        "    try:\n"
        "        validate_inputs(load_config(overrides=case))\n"
        "    except InputError as error:\n"
        "        print(type(error).__name__)\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules), 'heavy import'\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, json.dumps(cases)], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [
        "RewardError",
        "DataError",
        "ConfigError",
        "RewardError",
        "DataError",
    ]


# --- reward and data ---


def test_gft_with_math_needs_answers_and_names_the_field(tmp_path: Path) -> None:
    path = rows(tmp_path, without("answer"), without("answer"))
    error = refusal(path)
    assert isinstance(error, RewardError)
    first, second = str(error).splitlines()
    assert first.startswith(f"{path}, row 1: reward 'math' needs the field 'answer'")
    assert "--map answer=COLUMN" in first
    assert second.startswith(f"{path}, row 2: ")
    assert "skip" not in str(error), "with nothing left there is nothing to skip to"


def test_rows_without_an_answer_are_named_and_dropped_on_request(tmp_path: Path) -> None:
    path = rows(tmp_path, FULL, without("answer"), FULL, without("answer"))
    said = str(refusal(path))
    assert [f"row {n}:" in said for n in (1, 2, 3, 4)] == [False, True, False, True]
    assert "--skip-bad-rows keeps the other 2 rows" in said
    with prepared(path, "data.skip_bad_rows=true") as found:
        assert [e.row for e in found.examples] == [1, 3]
        assert [row.split(":")[0] for row in found.dropped] == [f"{path}, row {n}" for n in (2, 4)]


def test_many_complaints_are_cut_short(tmp_path: Path) -> None:
    said = str(refusal(rows(tmp_path, *[without("answer")] * 40))).splitlines()
    assert len(said) == 6 and said[-1] == "… and 35 rows more"


def test_rows_that_cannot_be_read_are_dropped_on_request_and_listed(tmp_path: Path) -> None:
    path = rows(tmp_path, FULL, {**FULL, "prompt": 5}, FULL)
    assert "row 2, column 'prompt'" in str(refusal(path))
    with prepared(path, "data.skip_bad_rows=true") as found:
        assert len(found.examples) == 2 and found.left_out == 0
        assert found.dropped[0].startswith(f"{path}, row 2, column 'prompt': ")


def test_methods_without_reward_need_no_answers(tmp_path: Path) -> None:
    with prepared(rows(tmp_path, without("answer")), "method=sft") as found:
        assert len(found.examples) == 1


def test_sft_without_experts(tmp_path: Path) -> None:
    path = rows(tmp_path, without("expert"))
    error = refusal(path, "method=sft")
    assert isinstance(error, DataError)
    assert str(error).startswith(f"{path}: method 'sft' trains on expert responses")
    assert "data.columns" in str(error) and "method.name" in str(error)
    with prepared(rows(tmp_path, without("expert"), FULL), "method=sft") as found:
        assert [e.row for e in found.examples] == [2]
        assert found.left_out == 1


def test_held_out_rows_need_answers_too(tmp_path: Path) -> None:
    held_out = rows(tmp_path, without("answer"), name="held_out.jsonl")
    path = rows(tmp_path, FULL)
    for key in ("eval_path", "retention_path"):
        said = str(refusal(path, "method=sft", f"data.{key}={held_out}"))
        assert said.startswith(f"{held_out}, row 1: reward 'math' needs the field 'answer'")


# --- columns ---


def test_named_columns_hold_for_held_out_files_but_not_for_embedded_ones(tmp_path: Path) -> None:
    row = {"q": "1 + 1?", "solution": "#### 2", "a": "2"}
    train = rows(tmp_path, row)
    columns = "data.columns={prompt: q, expert: solution, answer: a}"
    held_out = rows(tmp_path, row, row, name="test.jsonl")
    own = [columns, f"data.eval_path={held_out}", "eval.examples=7"]
    with prepared(train, *own, "data.retention_path=embedded:old_skill_test") as found:
        assert [e.answer for e in found.eval_examples] == ["2", "2"]
        assert len(found.retention_examples) == 7, "canonical, whatever the training columns are"
    with prepared(train, columns, f"data.eval_path={train}") as found:
        assert len(found.eval_examples) == 1, "the training file itself, read the same way"


def test_limits_are_their_own(tmp_path: Path) -> None:
    path = rows(tmp_path, *[FULL] * 9)
    overrides = ["data.limit=4", "eval.examples=6", f"data.eval_path={path}"]
    with prepared(path, *overrides) as found:
        assert (len(found.examples), len(found.eval_examples)) == (4, 6)


# --- groups ---


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["group.self=0"], "the group has 1 of them; raise group.self"),
        (["group.self=1", "group.expert=0"], "the group has 1 of them; raise group.self"),
        (["method=grpo", "group.self=1"], "the group has 1 of them; raise group.self"),
        (["method=sft", "group.expert=0"], "set group.expert to 1 or more"),
    ],
)
def test_groups_too_small_to_compare(tmp_path: Path, overrides: list[str], sentence: str) -> None:
    error = refusal(rows(tmp_path, FULL), *overrides)
    assert isinstance(error, ConfigError)
    assert str(error).endswith(sentence)


def test_no_data_named() -> None:
    with pytest.raises(ConfigError, match="is not set: name your file with --data FILE"):
        validate_inputs(load_config(overrides=["model.name=owner/model"]))


def test_unknown_embedded_data_lists_what_there_is() -> None:
    assert "there is old_skill_test, target_test" in str(refusal("embedded:nope"))


@pytest.mark.parametrize(
    ("reward", "sentence"),
    [
        ("nope", "there is no reward 'nope'"),
        ("maths", "did you mean 'math'?"),
        ("{name: length, max_char: 3}", "has no option 'max_char'; did you mean 'max_chars'?"),
        ("{max_chars: 3}", "has no 'name'"),
        ("{file: mine.py}", "can only be named on the command line"),
    ],
)
def test_rewards_that_are_none(tmp_path: Path, reward: str, sentence: str) -> None:
    error = refusal(rows(tmp_path, FULL), f"reward={reward}")
    assert isinstance(error, RewardError)
    assert sentence in str(error)


# --- lengths ---


def test_long_prompts_are_refused_by_row_or_dropped_never_cut() -> None:
    examples = [Example((Message("user", "x" * n),), answer="1", row=n) for n in (3, 9, 4, 12)]

    def kept(limit: int, skip: bool = False) -> list[int]:
        found = filter_by_prompt_length(
            examples,
            lambda e: len(e.question),
            limit,
            "f.jsonl",
            advice="raise the limit",
            skip_bad_rows=skip,
        )
        assert len(found.examples) + len(found.dropped) == 4
        return [e.row for e in found.examples]

    assert kept(12) == [3, 9, 4, 12]
    assert kept(11, skip=True) == [3, 9, 4]
    assert kept(4, skip=True) == [3, 4]
    with pytest.raises(
        DataError, match=r"f\.jsonl, row 9: the prompt has 9 tokens, the limit is 8"
    ):
        kept(8)
    with pytest.raises(DataError, match="raise the limit"):
        kept(2, skip=True)


# --- methods and what they need -----------------------------------------------------------------


@pytest.mark.parametrize("method", ["sft", "dft", "asft", "psft", "chord"])
def test_a_method_that_imitates_needs_an_expert_in_the_data(method: str, tmp_path: Path) -> None:
    said = str(refusal(rows(tmp_path, without("expert", "teachers")), f"method={method}"))
    assert f"method '{method}' trains on expert responses, and no row has one" in said
    assert "data.columns" in said and "method.name" in said


def test_bare_final_answers_are_for_methods_that_need_no_expert(tmp_path: Path) -> None:
    bare = rows(tmp_path, {"question": "3 - 2?", "answer": "#### 1"}, name="bare.jsonl")
    said = str(refusal(bare, "method=sft"))
    assert "method 'sft' trains on expert responses, and no row has one" in said
    with prepared(bare, "method=grpo") as found:
        assert [e.answer for e in found.examples] == ["1"]


@pytest.mark.parametrize("method", ["sft", "chord"])
def test_a_method_that_imitates_needs_an_expert_in_the_group(method: str, tmp_path: Path) -> None:
    said = str(refusal(rows(tmp_path, FULL), f"method={method}", "group.expert=0"))
    assert "needs an expert: set group.expert to 1 or more" in said


@pytest.mark.parametrize("method", ["gft", "luffy"])
def test_a_mixed_group_without_any_demonstration_is_no_accident(
    method: str, tmp_path: Path
) -> None:
    """Learning from self responses alone is another method: it is asked for, not slipped into."""
    bare = rows(tmp_path, without("expert", "teachers"))
    assert "or set group.expert=0 to learn from self" in str(refusal(bare, f"method={method}"))
    with prepared(bare, f"method={method}", "group.expert=0") as found:
        assert len(found.examples) == 1
    only_teachers = rows(tmp_path, without("expert"), name="teachers.jsonl")
    assert "raise group.teacher" in str(refusal(only_teachers, f"method={method}"))
    with prepared(only_teachers, f"method={method}", "group.teacher=1") as found:
        assert len(found.examples) == 1


def test_prompts_without_a_demonstration_stay_where_others_have_one(tmp_path: Path) -> None:
    mixed = rows(tmp_path, FULL, without("expert", "teachers"))
    with prepared(mixed, "method=gft") as found:
        assert (len(found.examples), found.left_out) == (2, 0)
    with prepared(mixed, "method=sft") as found:
        assert (len(found.examples), found.left_out) == (1, 1)


@pytest.mark.parametrize(
    ("method", "group"),
    [
        ("gft", "{expert: 1, self: 0}"),
        ("gft", "{expert: 0, self: 1}"),
        ("grpo", "{self: 1}"),
        ("chord", "{self: 1}"),
        ("luffy", "{expert: 1, self: 0}"),
    ],
)
def test_a_group_of_one_has_no_contrast(method: str, group: str, tmp_path: Path) -> None:
    said = str(refusal(rows(tmp_path, FULL), f"method={method}", f"group={group}"))
    assert f"method '{method}' compares responses" in said and "raise group.self" in said
