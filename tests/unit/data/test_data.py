"""Every format a person may bring, read from real files, and the report on them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gft_lite.config import load_config
from gft_lite.data import FORMATS, check_file, load_examples, report_json, report_text
from gft_lite.data.readers.hub import is_hub_name
from gft_lite.preflight.inputs import validate_inputs
from gft_lite.types import DataError, Example, Message

CORPUS = Path(__file__).parents[2] / "data_corpus"


def user(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def jsonl(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def only(path: Path, **options: object) -> tuple[str, Example]:
    loaded = load_examples(path, **options)  # type: ignore[arg-type]
    assert loaded.rows_read == len(loaded.examples) == 1
    return loaded.recognised.format, loaded.examples[0]


SYSTEM, ASK, MORE, SAY = "Be short.", "1+1?", "And 2+2?", "It is 2."
OPENAI = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": ASK},
    {"role": "assistant", "content": SAY},
    {"role": "user", "content": MORE},
    {"role": "assistant", "content": "It is 4."},
]
SHAREGPT = [
    {"from": "system", "value": SYSTEM},
    {"from": "human", "value": ASK},
    {"from": "gpt", "value": SAY},
    {"from": "human", "value": MORE},
    {"from": "gpt", "value": "It is 4."},
]
CHAT_PROMPT = (
    Message("system", SYSTEM),
    Message("user", ASK),
    Message("assistant", SAY),
    Message("user", MORE),
)
ASK_TURN = [{"role": "user", "content": ASK}]
SAY_TURN = [{"role": "assistant", "content": SAY}]
NO_TURN = [{"role": "assistant", "content": "It is 3."}]
PROSE = "Because two and two are counted\ntogether, the sum is four."

# name, the row, the format it is recognised as, what becomes of it
CONVENTIONS: list[tuple[str, dict[str, object], str, Example]] = [
    (
        "canonical in full",
        {"prompt": ASK, "expert": SAY, "teachers": ["2", "3"], "answer": "2"},
        "canonical",
        Example(user(ASK), (SAY,), ("2", "3"), "2"),
    ),
    (
        "canonical with turns, several experts, a number",
        {"prompt": OPENAI[:2], "expert": [SAY, "2"], "answer": 2},
        "canonical",
        Example(CHAT_PROMPT[:2], (SAY, "2"), (), "2"),
    ),
    (
        "canonical with one teacher and nulls",
        {"prompt": ASK, "expert": None, "teachers": "3", "answer": None},
        "canonical",
        Example(user(ASK), (), ("3",)),
    ),
    (
        "prompt and answer",
        {"prompt": ASK, "answer": 2.0},
        "canonical",
        Example(user(ASK), answer="2"),
    ),
    ("a fraction", {"prompt": ASK, "answer": 0.25}, "canonical", Example(user(ASK), answer="0.25")),
    (
        "system column",
        {"system": SYSTEM, "prompt": ASK, "expert": SAY},
        "canonical",
        Example(CHAT_PROMPT[:2], (SAY,)),
    ),
    (
        "prompt and completion",
        {"prompt": ASK, "completion": SAY},
        "prompt-completion",
        Example(user(ASK), (SAY,)),
    ),
    (
        "prompt and completion as turns",
        {"prompt": ASK_TURN, "completion": SAY_TURN},
        "prompt-completion",
        Example(user(ASK), (SAY,)),
    ),
    (
        "question and response",
        {"question": ASK, "response": SAY},
        "prompt-completion",
        Example(user(ASK), (SAY,)),
    ),
    (
        "alpaca with input",
        {"instruction": "Add.", "input": "1 and 1", "output": SAY},
        "alpaca",
        Example(user("Add.\n\n1 and 1"), (SAY,)),
    ),
    (
        "alpaca without input",
        {"instruction": ASK, "input": "", "output": SAY},
        "alpaca",
        Example(user(ASK), (SAY,)),
    ),
    (
        "dolly",
        {"instruction": "Add.", "context": "1 and 1", "response": SAY, "category": "sum"},
        "alpaca",
        Example(user("Add.\n\n1 and 1"), (SAY,)),
    ),
    ("openai", {"messages": OPENAI}, "messages", Example(CHAT_PROMPT, ("It is 4.",))),
    (
        "openai, parts of text",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "+1?"}],
                },
                *SAY_TURN,
            ]
        },
        "messages",
        Example(user(ASK), (SAY,)),
    ),
    (
        "openai, prompt only",
        {"messages": ASK_TURN, "answer": "2"},
        "messages",
        Example(user(ASK), answer="2"),
    ),
    ("sharegpt", {"conversations": SHAREGPT}, "sharegpt", Example(CHAT_PROMPT, ("It is 4.",))),
    (
        "sharegpt, empty system turn",
        {"id": "x", "conversations": [{"from": "system", "value": ""}, *SHAREGPT[1:3]]},
        "sharegpt",
        Example(user(ASK), (SAY,)),
    ),
    (
        "preference as text",
        {"prompt": ASK, "chosen": SAY, "rejected": "It is 3."},
        "preference",
        Example(user(ASK), (SAY,), ("It is 3.",)),
    ),
    (
        "preference, conversational",
        {"prompt": ASK_TURN, "chosen": SAY_TURN, "rejected": NO_TURN},
        "preference",
        Example(user(ASK), (SAY,), ("It is 3.",)),
    ),
    (
        "preference, prompt inside",
        {"chosen": ASK_TURN + SAY_TURN, "rejected": ASK_TURN + NO_TURN},
        "preference",
        Example(user(ASK), (SAY,), ("It is 3.",)),
    ),
    (
        "MATH",
        {"problem": ASK, "level": "1", "solution": r"So \boxed{1} no, $\boxed{\frac{4}{2}}$."},
        "solution",
        Example(user(ASK), (r"So \boxed{1} no, $\boxed{\frac{4}{2}}$.",), (), r"\frac{4}{2}"),
    ),
    (
        "NuminaMath with its chat copy",
        {"source": "x", "problem": ASK, "solution": "It is 2.", "messages": ASK_TURN + SAY_TURN},
        "solution",
        Example(user(ASK), ("It is 2.",)),
    ),
    (
        "NuminaMath 1.5",
        {"problem": ASK, "solution": r"\boxed{3}", "answer": "2"},
        "solution",
        Example(user(ASK), (r"\boxed{3}",), (), "2"),
    ),
    (
        "prompt and ground truth",
        {"prompt": ASK, "ground_truth": "2"},
        "question-answer",
        Example(user(ASK), answer="2"),
    ),
    (
        "question and short answer",
        {"question": ASK, "answer": "2"},
        "question-answer",
        Example(user(ASK), answer="2"),
    ),
    (
        "question and long answer",
        {"question": ASK, "answer": PROSE},
        "question-prose",
        Example(user(ASK), (PROSE,)),
    ),
    (
        "Magpie",
        {"instruction": ASK, "response": SAY, "conversations": SHAREGPT[1:3], "model": "m"},
        "alpaca",
        Example(user(ASK), (SAY,)),
    ),
    (
        "OpenR1: several generations, thoughts kept",
        {"problem": ASK, "solution": SAY, "answer": "2", "generations": ["<think>a</think> 2"]},
        "solution",
        Example(user(ASK), (SAY,), ("<think>a</think> 2",), "2"),
    ),
    (
        "numbered teachers and experts",
        {"prompt": ASK, "expert": SAY, "expert_2": "2", "teacher_10": "c", "teacher_2": "b"},
        "canonical",
        Example(user(ASK), (SAY, "2"), ("b", "c")),
    ),
    (
        "numbered responses, one missing",
        {"question": ASK, "response_1": SAY, "response_2": None, "response_3": "2"},
        "prompt-completion",
        Example(user(ASK), (SAY, "2")),
    ),
    (
        "a list of responses",
        {"question": ASK, "responses": [SAY, "2"], "answer": 2},
        "prompt-completion",
        Example(user(ASK), (SAY, "2"), (), "2"),
    ),
    (
        "several rejected",
        {"prompt": ASK, "chosen": SAY, "rejected": ["3", "4"]},
        "preference",
        Example(user(ASK), (SAY,), ("3", "4")),
    ),
    (
        "TRL prompt only",
        {"prompt": ASK_TURN, "id": "7", "n": 3},
        "prompt-only",
        Example(user(ASK)),
    ),
    (
        "Guanaco",
        {"text": f"### Human: {ASK}### Assistant: no\n### Human: {MORE} ### Assistant: {SAY}"},
        "text",
        Example((*user(ASK), Message("assistant", "no"), *user(MORE)), (SAY,)),
    ),
    (
        "ChatML written out",
        {
            "text": f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{ASK}<|im_end|>\n"
            f"<|im_start|>assistant\n{SAY}<|im_end|>\n"
        },
        "text",
        Example(CHAT_PROMPT[:2], (SAY,)),
    ),
    (
        "Alpaca written out",
        {
            "text": f"{SYSTEM}\n\n### Instruction:\nAdd.\n\n### Input:\n1 and 1\n\n"
            + f"### Response:\n{SAY}"
        },
        "text",
        Example((CHAT_PROMPT[0], *user("Add.\n\n1 and 1")), (SAY,)),
    ),
    (
        "official GFT",
        {
            "data_source": "numina",
            "prompt": ASK_TURN,
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "2"},
            "extra_info": {"split": "train", "index": 0, "answer": SAY, "model_answer": ["2", "3"]},
        },
        "gft-official",
        Example(user(ASK), (SAY,), ("2", "3"), "2"),
    ),
]


@pytest.mark.parametrize(
    ("row", "name", "expected"), [c[1:] for c in CONVENTIONS], ids=[c[0] for c in CONVENTIONS]
)
def test_convention(tmp_path: Path, row: dict[str, object], name: str, expected: Example) -> None:
    found, example = only(jsonl(tmp_path, row))
    assert found == name
    assert example == Example(
        expected.prompt, expected.experts, expected.teachers, expected.answer, row=1
    )


def test_every_format_has_a_convention_here() -> None:
    named = {convention[2] for convention in CONVENTIONS}
    assert named | {"gsm8k", "oasst"} == set(FORMATS)


def test_gsm8k() -> None:
    """Annotations go, the text stays, 1,080 loses its comma."""
    loaded = load_examples(CORPUS / "gsm8k.jsonl")
    first, second, third = loaded.examples
    assert loaded.recognised.format == "gsm8k"
    assert first.experts == (
        "In May she sells 48/2 = 24 cups.\nTogether that is 48+24 = 72 cups.\n#### 72",
    )
    assert [first.answer, second.answer, third.answer] == ["72", "1080", "-2"]
    assert "####" in loaded.recognised.why and loaded.recognised.runner_up == "question-prose"


def test_gsm8k_without_a_worked_solution_has_an_answer_and_no_expert(tmp_path: Path) -> None:
    bare = ["#### 1", "  \n#### 1,024\n", "<<1+1=2>>\n#### 2", "1 + 2 = <<1+2=3>>3\n#### 3"]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"question": "q", "answer": a}) + "\n" for a in bare))
    found = load_examples(path)
    assert found.recognised.format == "gsm8k" and not found.bad_rows
    assert [e.answer for e in found.examples] == ["1", "1024", "2", "3"]
    assert [e.experts for e in found.examples] == [(), (), (), ("1 + 2 = 3\n#### 3",)]


ROWS = [{"prompt": "äöü 漢字?", "expert": "a, b\nc"}, {"prompt": "two", "expert": '"quoted"'}]
TEXTS = [(row["prompt"], row["expert"]) for row in ROWS]


def texts(path: Path) -> list[tuple[str, str]]:
    return [(example.question, example.experts[0]) for example in load_examples(path).examples]


def test_json_shapes(tmp_path: Path) -> None:
    columns = {key: [row[key] for row in ROWS] for key in ("prompt", "expert")}
    lines = "\r\n".join(json.dumps(row) for row in ROWS)
    for name, content in {
        "array.json": json.dumps(ROWS, indent=1),
        "columns.json": json.dumps(columns),
        "wrapped.json": json.dumps({"version": 1, "data": ROWS}),
        "lines.json": lines,
        "array.jsonl": json.dumps(ROWS),
        "blank.jsonl": "\n" + lines + "\n\n",
        "marked.jsonl": "\ufeff" + lines,
        "no_ending": lines,
    }.items():
        path = tmp_path / name
        path.write_text(content, encoding="utf-8", newline="")
        assert texts(path) == TEXTS, name
    single = tmp_path / "single.json"
    single.write_text(json.dumps(ROWS[0]))
    assert texts(single) == TEXTS[:1]


def test_blank_lines_keep_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "gaps.jsonl"
    path.write_text("\n" + json.dumps(ROWS[0]) + "\n\n" + json.dumps(ROWS[1]))
    assert [example.row for example in load_examples(path).examples] == [2, 4]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / ("rows.tsv" if delimiter == "\t" else "rows.csv")
    body = 'prompt,expert\r\n"äöü 漢字?","a; b\nc"\r\n\r\ntwo,"""quoted"""\r\n'
    body = body.replace(",", delimiter).replace("a; b", "a, b")
    path.write_text("\ufeff" + body, encoding="utf-8", newline="")
    assert texts(path) == TEXTS


def test_csv_cells_of_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('prompt,teachers,answer\nq,"[""a"", ""b""]",\nr,[1],7\n')
    first, second = load_examples(path).examples
    assert (first.teachers, first.answer) == (("a", "b"), None)
    assert (second.teachers, second.answer) == (("[1]",), "7")


def test_csv_long_cell(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("prompt,expert\nq," + "x" * 300_000)
    assert len(load_examples(path).examples[0].experts[0]) == 300_000


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [
        {"conversations": [{"from": "human", "value": f"{n}?"}, SHAREGPT[2]], "other": [1]}
        for n in range(1, 1501)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "chat.parquet")
    loaded = load_examples(tmp_path / "chat.parquet")
    assert loaded.rows_read == 1500 and loaded.recognised.unused == ("other",)
    assert loaded.examples[-1] == Example(user("1500?"), (SAY,), row=1500)


def test_names_decide_before_values(tmp_path: Path) -> None:
    """An expert that is a number in every row is reported, not ignored for prompt and answer."""
    path = jsonl(tmp_path, *[{"prompt": "q", "expert": n, "answer": "1"} for n in range(3)])
    report = check_file(path)
    assert report.recognised.format == "canonical" and report.bad == 3


def test_mapping(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"frage": ASK, "antwort": SAY, "answer": "x", "prompt": "other"})
    mapping = {"prompt": "frage", "expert": "antwort"}
    name, example = only(path, columns=mapping)
    assert (name, example) == ("canonical", Example(user(ASK), (SAY,), (), "x", row=1))
    assert "prompt=frage" in load_examples(path, columns=mapping).recognised.why
    _, consumed = only(path, columns={"prompt": "frage", "expert": "answer"})
    assert (consumed.experts, consumed.answer) == (("x",), None)


def test_mapping_of_a_named_format(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"q": ASK, "a": "Two: <<1+1=2>>2\n#### 2"})
    _, example = only(path, format="gsm8k", columns={"question": "q", "answer": "a"})
    assert (example.experts, example.answer) == (("Two: 2\n#### 2",), "2")


def test_bad_row_names_the_files_own_column(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"frage": 7, "antwort": SAY})
    report = check_file(path, columns={"prompt": "frage", "expert": "antwort"})
    assert report.bad_rows[0].column == "frage"


def test_named_format_overrides(tmp_path: Path) -> None:
    row = {"problem": ASK, "solution": SAY, "messages": ASK_TURN + NO_TURN}
    assert only(jsonl(tmp_path, row), format="messages")[1].experts == ("It is 3.",)


def test_limit_and_system_prompt(tmp_path: Path) -> None:
    path = jsonl(tmp_path, ROWS[0], {"prompt": OPENAI[:2], "expert": "x"}, {"prompt": 1})
    loaded = load_examples(path, limit=2, system_prompt="Think.")
    assert loaded.rows_read == 2
    assert loaded.examples[0].prompt == (Message("system", "Think."), *user("äöü 漢字?"))
    assert loaded.examples[1].prompt[0] == Message("system", SYSTEM)


def test_report(tmp_path: Path) -> None:
    """Prompts of 1, 1, 3 characters: nearest rank gives median 1, p90 3."""
    path = jsonl(
        tmp_path,
        {"prompt": "a", "expert": ["four", "sixsix"], "teachers": ["x"], "answer": 1},
        {"prompt": "a", "expert": "four", "note": "n"},
        {"prompt": "ccc", "answer": "2"},
        {"prompt": 5, "expert": "x"},
        ["no", "object"],
    )
    report = check_file(path, count_tokens=lambda text: 10 * len(text))
    assert (report.rows, report.usable, report.bad) == (5, 3, 2)
    assert (report.with_expert, report.with_teachers, report.with_answer) == (2, 1, 2)
    assert (report.experts, report.teachers, report.repeated_prompts) == (3, 1, 1)
    prompt = report.characters["prompt"]
    assert (prompt.count, prompt.shortest, prompt.median, prompt.p90, prompt.longest) == (
        3,
        1,
        1,
        3,
        3,
    )
    assert report.tokens is not None and report.tokens["expert"].longest == 60
    text = report_text(report)
    assert "jsonl, read as 'canonical'" in text and "not used   note" in text
    assert "row 4, column 'prompt': is a number, text is needed, found 5" in text
    assert "row 5: is a list, not an object with named fields, found ['no', 'object']" in text
    document = json.loads(json.dumps(report_json(report)))
    assert document["rows"] == 5 and document["bad_rows"][0]["row"] == 4
    assert document["recognised"]["format"] == "canonical" and document["bad"] == 2
    assert check_file(path).tokens is None


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The network is replaced, the rest is ours; what is asked of it."""
    import types

    asked: list[object] = []

    def load_dataset(name: str, config: str | None, split: str) -> list[dict[str, str]]:
        asked.append((name, config, split))
        return [{"question": f"{ASK} ({split})", "answer": "2 #### 2"}]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    return asked


def test_hub_rows_come_through_datasets(hub: list[object]) -> None:
    loaded = load_examples("no-such-owner/sums:main", split="test")
    assert hub == [("no-such-owner/sums", "main", "test")]
    assert (loaded.recognised.kind, loaded.examples[0].answer) == ("hub", "2")


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("no-such-owner/sums", (None, "train")),
        ("no-such-owner/sums:main:test", ("main", "test")),
        ("no-such-owner/sums::test", (None, "test")),
    ],
)
def test_a_hub_name_may_carry_its_split(
    hub: list[object], name: str, asked: tuple[str | None, str]
) -> None:
    load_examples(name)
    assert hub == [("no-such-owner/sums", *asked)]


@pytest.mark.parametrize("name", ["a/b:", "a/b::", "a/b:c:", "a/b:c:d:e", "a:b/c"])
def test_what_is_no_hub_name(name: str) -> None:
    assert not is_hub_name(name)


def test_a_run_trains_on_one_split_of_a_hub_set_and_measures_on_another(hub: list[object]) -> None:
    config = load_config(
        overrides=[
            "data.path=no-such-owner/sums:main",
            "data.eval_path=no-such-owner/sums:main:test",
        ]
    )
    prepared = validate_inputs(config)
    prepared.scorer.close()
    asked = [prepared.examples[0].question, prepared.eval_examples[0].question]
    assert asked == [f"{ASK} (train)", f"{ASK} (test)"]


@pytest.mark.slow
def test_hub_offline_says_what_to_do() -> None:
    code = (
        "import os\nos.environ['HF_HUB_OFFLINE'] = '1'\n"
        "from gft_lite.data import load_examples\nfrom gft_lite.types import DataError\n"
        "try:\n    load_examples('no-such-owner/no-such-set')\n"
        "except DataError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "'no-such-owner/no-such-set' is not a file here" in done.stdout, done.stderr
    assert "download its Parquet or JSONL file" in done.stdout


def test_a_missing_path_in_an_existing_folder_is_no_hub_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    for path in ("data/train", "owner/train.jsonl"):
        with pytest.raises(DataError, match="no such file"):
            load_examples(path)


def test_import_is_light() -> None:
    code = (
        "import sys, gft_lite.data\n"
        "heavy = ('torch', 'datasets', 'pyarrow', 'pandas', 'numpy')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
