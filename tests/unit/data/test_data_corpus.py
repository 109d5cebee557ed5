"""Small files of every convention, good and broken, and what must be said of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gft_lite.data import check_file, load_examples
from gft_lite.types import DataError

CORPUS = Path(__file__).parents[2] / "data_corpus"

# file: (format, rows, examples, {bad row: what its reason says}, what the notes say)
READ: dict[str, tuple[str, int, int, dict[int, str], list[str]]] = {
    "canonical.jsonl": ("canonical", 2, 2, {}, []),
    "canonical_turns.jsonl": ("canonical", 1, 1, {}, []),
    "numbered_columns.jsonl": (
        "canonical",
        1,
        1,
        {},
        ["expert_1,expert_2 → expert", "teacher_1,teacher_2,teacher_3 → teachers"],
    ),
    "list_columns.jsonl": ("prompt-completion", 1, 1, {}, []),
    "several_rows_one_prompt.jsonl": ("canonical", 4, 2, {}, []),
    "alpaca.json": ("alpaca", 2, 2, {}, []),
    "dolly.jsonl": ("alpaca", 1, 1, {}, []),
    "sharegpt.json": ("sharegpt", 1, 1, {}, []),
    "messages.jsonl": ("messages", 2, 2, {}, []),
    "tool_turns.jsonl": ("messages", 2, 1, {2: "turn 2 (assistant) is a tool call"}, []),
    "oasst.jsonl": (
        "oasst",
        7,
        2,
        {6: "has no reply in this file", 7: "answers a message that is not in the file"},
        [],
    ),
    "guanaco.jsonl": ("text", 1, 1, {}, []),
    "chatml_text.jsonl": ("text", 1, 1, {}, []),
    "trl_prompt_completion.jsonl": ("prompt-completion", 1, 1, {}, []),
    "trl_conversational.jsonl": ("prompt-completion", 1, 1, {}, []),
    "trl_preference.jsonl": ("preference", 1, 1, {}, []),
    "trl_implicit_prompt.jsonl": ("preference", 1, 1, {}, []),
    "trl_prompt_only.jsonl": ("prompt-only", 2, 2, {}, []),
    "gsm8k.jsonl": ("gsm8k", 3, 3, {}, []),
    "math.jsonl": ("solution", 1, 1, {}, []),
    "numinamath.jsonl": ("solution", 1, 1, {}, []),
    "openr1.jsonl": ("solution", 1, 1, {}, []),
    "magpie.jsonl": ("alpaca", 1, 1, {}, []),
    "deepseek_think.jsonl": ("prompt-completion", 1, 1, {}, []),
    "gft_official.jsonl": ("gft-official", 1, 1, {}, []),
    "question_answer.jsonl": ("question-answer", 1, 1, {}, []),
    "question_prose.jsonl": ("question-prose", 1, 1, {}, []),
    "columns.json": ("canonical", 2, 2, {}, []),
    "wrapped.json": ("canonical", 1, 1, {}, []),
    "comma.csv": ("canonical", 1, 1, {}, []),
    "semicolon.csv": ("canonical", 2, 2, {}, []),
    "tabs.tsv": ("canonical", 1, 1, {}, []),
    "bar.csv": ("canonical", 1, 1, {}, []),
    "caret.csv": ("canonical", 2, 2, {}, []),
    "latin1.csv": ("canonical", 1, 1, {}, ["read as cp1252 (a guess", "heißt naïve", "iconv"]),
    "cyrillic.csv": ("canonical", 1, 1, {}, ["read as cp1251", "Сколько"]),
    "shift_jis.csv": ("canonical", 1, 1, {}, ["read as cp932", "二足す三"]),
    "utf16.csv": ("canonical", 1, 1, {}, ["is UTF-16 and was read as that"]),
    "bom.jsonl": ("canonical", 1, 1, {}, []),
    "crlf.jsonl": ("canonical", 2, 2, {}, []),
    "mixed_types.jsonl": (
        "canonical",
        8,
        1,
        {
            2: "is a number, text is needed",
            3: "is an object, text is needed",
            4: "entry 2 is a number",
            5: "is a list, not an object",
            6: "is null, not an object",
            7: "is not JSON",
            8: "is true/false",
        },
        [],
    ),
    "nested_nulls.jsonl": (
        "messages",
        6,
        1,
        {
            2: "turn 2 is null",
            3: "turn 1 has an unknown role",
            4: "turn 2 (assistant) is missing or empty",
            5: "is missing or empty",
            6: "has no turns",
        },
        [],
    ),
    "duplicate_keys.jsonl": ("canonical", 2, 1, {2: "the key 'prompt' stands twice"}, []),
    "broken_lines.jsonl": ("canonical", 3, 1, {2: "is not JSON", 3: "stops in the middle"}, []),
    "empty_responses.jsonl": (
        "canonical",
        4,
        1,
        {2: "is empty", 3: "is empty", 4: "is empty"},
        [],
    ),
    "ragged.csv": (
        "canonical",
        4,
        1,
        {2: "has 1 cells", 3: "has 3 cells", 4: "is never closed"},
        [],
    ),
    "doubtful.jsonl": ("canonical", 8, 7, {}, []),
    "held_out.jsonl": ("canonical", 2, 2, {}, []),
}

# file: what the message must say
REFUSED: dict[str, list[str]] = {
    "mixed_encodings.jsonl": ["line 2, byte 54", "0xf6", "other lines are", "iconv -f WINDOWS"],
    "two_headers.csv": ["the header names 'prompt' twice"],
    "half.json": ["line 1", "stops in the middle", "write or download it again"],
    "uneven_columns.json": ["different lengths", "'prompt' 2"],
    "empty.jsonl": ["is empty; give a file"],
    "only_header.csv": ["holds no rows"],
    "web_page.jsonl": ["is a web page; download the raw file"],
    "lfs_pointer.jsonl": ["Git LFS pointer", "git lfs pull"],
    "unknown_columns.jsonl": ["no known format", "'frage', 'antwort'", "--map prompt="],
    "mapped.jsonl": ["no known format", "--map prompt="],
}


def test_every_file_of_the_corpus_is_in_a_table() -> None:
    names = {path.name for path in CORPUS.iterdir()}
    assert names == set(READ) | set(REFUSED) and len(names) >= 40


@pytest.mark.parametrize("name", READ)
def test_read(name: str) -> None:
    form, rows, examples, bad, notes = READ[name]
    report = check_file(CORPUS / name)
    loaded = load_examples(CORPUS / name, skip_bad_rows=True)
    assert (report.recognised.format, report.rows, report.groups) == (form, rows, examples)
    assert len(loaded.examples) == examples
    assert loaded.rows_read == rows == examples + loaded.joined_rows + len(loaded.bad_rows)
    assert {found.row for found in report.bad_rows} == set(bad)
    for found in report.bad_rows:
        assert bad[found.row] in found.reason
    for note in notes:
        assert note in " ".join(report.recognised.notes)
    assert report.recognised.why and (notes or not report.recognised.notes)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    for read in (check_file, load_examples):
        with pytest.raises(DataError) as caught:
            read(CORPUS / name)
        for phrase in [name, *REFUSED[name]]:
            assert phrase in str(caught.value)


def test_what_became_of_them() -> None:
    """Texts of the files whose counts alone say too little."""

    def experts(name: str) -> list[tuple[str, ...]]:
        return [example.experts for example in load_examples(CORPUS / name).examples]

    assert experts("latin1.csv") == [("Gutgläubig natürlich",)]
    assert experts("cyrillic.csv") == [("Два плюс три будет пять.",)]
    assert experts("shift_jis.csv") == [("二足す三は五です。",)]
    assert experts("utf16.csv") == [("Trusting",)]
    assert experts("semicolon.csv") == [("Yes, again.",), ("Nothing.",)]
    assert experts("deepseek_think.jsonl")[0][0].startswith("<think>\nTwo and three.\n</think>")
    assert experts("several_rows_one_prompt.jsonl")[0] == ("2 + 3 is 5.", "Five.")
    (openr1,) = load_examples(CORPUS / "openr1.jsonl").examples
    assert len(openr1.teachers) == 2 and openr1.teachers[0].startswith("<think>")


def test_oasst_threads() -> None:
    """The best-ranked reply is the expert, whatever its place; a path becomes the prompt."""
    first, second = load_examples(CORPUS / "oasst.jsonl", skip_bad_rows=True).examples
    assert (first.experts, first.teachers) == (("2 + 3 is 5.",), ("It is 6.",))
    assert [turn.content for turn in second.prompt] == [
        "What is 2 + 3?",
        "2 + 3 is 5.",
        "And plus 1?",
    ]
    assert (first.row, second.row) == (1, 4)


def test_mapping_of_every_kind() -> None:
    columns = {
        "prompt": r"{frage}\n\n{hinweis}",
        "expert": r"{antwort}\nThat is {{{pruefung.wert}}}.",
        "teachers": ["r1", "qwen"],
        "answer": "pruefung.wert",
    }
    (example,) = load_examples(CORPUS / "mapped.jsonl", columns=columns).examples
    assert example.question == "What is 2 + 3?\n\nUse your fingers."
    assert example.experts == ("2 + 3 is 5.\nThat is {5}.",)
    assert (example.teachers, example.answer) == (("5", "6"), "5")
    listed = columns | {"teachers": ["qwen", "r1"]}
    (again,) = load_examples(CORPUS / "mapped.jsonl", columns=listed).examples
    assert again.teachers == ("6", "5")


def test_older_forms_of_mapping_are_converted(tmp_path: Path) -> None:
    """`a+b` is the template with a blank line, an empty cell leaves none; `a,b` is the list."""
    older = {"prompt": "frage+hinweis", "expert": "antwort", "teachers": "r1,qwen"}
    loaded = load_examples(CORPUS / "mapped.jsonl", columns=older)
    assert loaded.examples[0].question == "What is 2 + 3?\n\nUse your fingers."
    assert loaded.examples[0].teachers == ("5", "6")
    assert loaded.recognised.notes == (
        r"prompt=frage+hinweis is an older form of mapping; write prompt: '{frage}\n\n{hinweis}'",
        "teachers=r1,qwen is an older form of mapping; write teachers: [r1, qwen]",
    )
    rows = [{"q": "one", "hint": hint, "a": "1"} for hint in ("", None, "two")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for prompt in ("q+hint", "hint+q"):
        found = load_examples(path, columns={"prompt": prompt, "answer": "a"}).examples
        both = "one\n\ntwo" if prompt == "q+hint" else "two\n\none"
        assert [example.question for example in found] == ["one", both]
    three = load_examples(path, columns={"prompt": "q+hint+a", "answer": "a"}).examples
    assert [example.question for example in three] == ["one\n\n1", "one\n\ntwo\n\n1"]


@pytest.mark.parametrize(
    ("said", "phrase"),
    [
        ({"prompt": "{frage}{hinweiss}"}, "no column 'hinweiss'"),
        ({"prompt": "{fragen}"}, "Did you mean 'frage'"),
        ({"prompt": "frage", "expert": ["r1", "nothing"]}, "no column 'nothing'"),
        ({"prompt": "frage", "expert": "{pruefung}"}, "is an object; only text and numbers"),
    ],
)
def test_mapping_mistakes(said: dict[str, str | list[str]], phrase: str) -> None:
    with pytest.raises(DataError, match=phrase):
        load_examples(CORPUS / "mapped.jsonl", columns={"expert": "antwort"} | said)
