"""The Compare tab: the model process, what it is asked, what the page shows, and a real browser."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from web_app import PATIENCE_MS, chromium, window

from gft_lite import train
from gft_lite.config import load_config
from gft_lite.models.fingerprint import WEIGHTS, file_sha256
from gft_lite.runs import RunDir
from gft_lite.types import RunError
from gft_lite.ui import app
from gft_lite.ui.app_state import AppState, open_app_state
from gft_lite.ui.compare.adapter_registry import base_key, elsewhere, find_adapters
from gft_lite.ui.compare.compare_files import (
    AS_TRAINED,
    HELD_OUT,
    OLD_SKILL,
    known_files,
    reward_of,
)
from gft_lite.ui.compare.compare_view import Answers
from gft_lite.ui.compare.controller import CompareController, FileSettings
from gft_lite.ui.compare.downloads import handed_out
from gft_lite.ui.compare.model_client import Event, ModelProcess

SMALL = (
    "train.steps=2",
    "train.prompts_per_step=2",
    "train.learning_rate=0.02",
    "group.teacher=1",
    "group.self=3",
    "group.max_new_tokens=48",
    "eval.examples=4",
    "eval.k=2",
)
EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
TINY = {"name": "tiny"}
PROMPT = "Ann has 4 pens and buys 3 more. How many pens does Ann have now?"
LONG = (
    "Ella has 47 pens. Ella gives Olga 20 pens. Ella gets 18 pens from Olga. Ella buys 4 boxes "
    "with 9 pens in each. Ella shares the pens among 3 friends. How many does each friend get?"
)


@pytest.fixture(scope="module")
def app_state(tmp_path_factory: pytest.TempPathFactory) -> AppState:
    """Two trained runs, a copy of one, one of another base, one that ended without an adapter."""
    app_state = open_app_state(str(tmp_path_factory.mktemp("workspace")))
    runs = app_state.workspace.runs_dir
    for name, method in (("gft-1", "gft"), ("sft-1", "sft")):
        config = load_config(preset="tiny-cpu", overrides=[*SMALL, f"method.name={method}"])
        train(config, runs / name)
    shutil.copytree(runs / "gft-1", runs / "gft-2")
    shutil.copytree(runs / "gft-1", runs / "gft-3")
    away = load_config(runs / "gft-3" / "config.yaml", overrides=["model.name=someone/model"])
    (runs / "gft-3" / "config.yaml").write_text(away.to_yaml())
    early = RunDir.create(runs / "gft-4", load_config(preset="tiny-cpu").to_yaml())
    early.set_status("failed", message="no memory")
    return app_state


@pytest.fixture(scope="module")
def process(app_state: AppState) -> Iterator[ModelProcess]:
    process = ModelProcess(app_state.workspace.root, "model-process.log")
    yield process
    process.close()


@pytest.fixture(scope="module")
def controller(app_state: AppState, process: ModelProcess) -> CompareController:
    return CompareController(app_state, process)


def adapter(app_state: AppState, name: str) -> str:
    return str(app_state.workspace.runs_dir / name)


def last(process: ModelProcess, do: str, **request: Any) -> Event:
    return list(process.ask(do, **request))[-1]


def settings(**changes: Any) -> FileSettings:
    usual: dict[str, Any] = {
        "uploaded": None,
        "known": HELD_OUT,
        "retention": OLD_SKILL,
        "reward": AS_TRAINED,
        "prompts": 4,
        "k": 2,
        "longest": 48,
    }
    return FileSettings(**{**usual, **changes})


# --- the process ---


def test_answers_grow_and_every_column_proves_what_it_is(
    app_state: AppState, process: ModelProcess
) -> None:
    names = ("gft-1", "sft-1")
    events = list(
        process.ask(
            "chat",
            model=TINY,
            adapters=[adapter(app_state, name) for name in names],
            prompt=PROMPT,
            answer="7",
            reward="math",
            max_new_tokens=48,
        )
    )
    said = [event["say"] for event in events]
    assert said[0] == "starting" and said[-2:] == ["scores", "done"]
    columns = events[1]["columns"]
    assert [c["name"] for c in columns] == ["base", *names]
    weights = app_state.workspace.runs_dir / "gft-1" / "adapter" / WEIGHTS
    assert columns[1]["adapter_sha256"] == file_sha256(weights)
    assert columns[1]["max_logit_difference"] > 0 == columns[0]["max_logit_difference"]
    ended = {e["column"] for e in events if e["say"] == "text" and e["ended"]}
    assert ended == {0, 1, 2}
    assert {score["verdict"] for score in events[-2]["scores"]} <= {"ok", "unparsed"}


def test_growing_in_strides_gives_the_answer_of_one_go(
    app_state: AppState, process: ModelProcess, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {
        "model": TINY,
        "adapters": [adapter(app_state, "sft-1")],
        "max_new_tokens": 40,
    }
    prompts = (PROMPT, "Write one sentence about rain.", LONG)
    file = tmp_path / "three.jsonl"
    rows = [json.dumps({"question": prompt, "answer": "7"}) for prompt in prompts]
    file.write_text("\n".join(rows))
    whole = list(process.ask("score", data=str(file), reward="math", **asked))
    found = next(e for e in whole if e["say"] == "scored")["rows"]
    texts = {row["prompt"]: row["texts"] for row in found}
    most = 0
    for prompt in prompts:
        grown = list(process.ask("chat", prompt=prompt, **asked))
        for column in range(2):
            pieces = [e["text"] for e in grown if e["say"] == "text" and e["column"] == column]
            assert pieces[-1] == texts[prompt][column]
            assert all(pieces[-1].startswith(piece) for piece in pieces)
            most = max(most, len(pieces))
    assert most > 1, "no answer was long enough to grow"


def test_what_is_wrong_comes_back_as_a_sentence(app_state: AppState, process: ModelProcess) -> None:
    refused = last(process, "chat", model=TINY, adapters=[adapter(app_state, "gft-4")], prompt="x")
    assert refused["say"] == "refused" and "without an adapter" in refused["message"]
    assert str(app_state.workspace.root) not in refused["message"]
    assert last(process, "fly")["say"] == "refused"
    broke = last(process, "chat", model=TINY, adapters=[], prompt="x", colour="red")
    assert "log" in broke["message"] and "colour" not in broke["message"]
    long = last(process, "chat", model=TINY, adapters=[], prompt="pen " * 5000)
    assert "shorten it" in long["message"]
    nothing = last(process, "chat", model=TINY, adapters=[], prompt="x", answer="", reward="math")
    assert "answer" in nothing["message"]


def test_a_line_that_is_no_request_is_refused_and_the_next_one_served() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "gft_lite.model_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin and child.stdout
    with child:
        child.stdin.write(b'{"id": 1, "do"\n[]\n\xff\n{"id": 9, "do": "fly"}\n')
        child.stdin.flush()
        lines = [json.loads(child.stdout.readline()) for _ in range(4)]
        child.stdin.close()
        assert child.wait(timeout=20) == 0
    assert [line["say"] for line in lines] == ["refused"] * 4
    assert lines[-1]["id"] == 9


def test_a_stop_ends_the_question_and_keeps_the_model(
    app_state: AppState, process: ModelProcess
) -> None:
    before = process.pid
    events = process.ask(
        "score", model=TINY, adapters=[], data=HELD_OUT, reward="math", k=16, limit=100
    )
    assert next(events)["say"] == "part"
    began = time.monotonic()
    process.stop()
    assert list(events)[-1]["say"] == "stopped"
    assert time.monotonic() - began < 10 and process.pid == before
    process.stop()  # nothing to stop
    assert last(process, "chat", model=TINY, adapters=[], prompt="x")["say"] == "done"


def test_nobody_listening_ends_the_question(app_state: AppState, process: ModelProcess) -> None:
    events = process.ask(
        "score", model=TINY, adapters=[], data=HELD_OUT, reward="math", k=16, limit=100
    )
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert last(process, "chat", model=TINY, adapters=[], prompt="x")["say"] == "done"


def test_a_killed_process_is_a_sentence_and_the_next_question_starts_another(
    process: ModelProcess,
) -> None:
    list(process.ask("chat", model=TINY, adapters=[], prompt="x"))
    before = process.pid
    assert before
    events = process.ask(
        "score", model=TINY, adapters=[], data=HELD_OUT, reward="math", k=16, limit=100
    )
    next(events)
    os.kill(before, signal.SIGKILL)
    *_, end = events
    assert end["say"] == "refused" and "memory ran out" in end["message"]
    assert last(process, "chat", model=TINY, adapters=[], prompt="x")["say"] == "done"
    assert process.pid != before


def test_a_process_nobody_asks_gives_its_memory_back(tmp_path: Path) -> None:
    process = ModelProcess(tmp_path, "log", idle_seconds=0.2)
    list(process.ask("fly"))
    until = time.monotonic() + 10
    while process.pid and time.monotonic() < until:
        time.sleep(0.1)
    assert process.pid is None


# --- what is offered ---


def test_runs_that_cannot_be_compared_are_named_with_the_reason(app_state: AppState) -> None:
    found = find_adapters(app_state)
    tiny = [a for a in found.on("tiny") if a.config]
    assert {a.name for a in tiny} == {"gft-1", "gft-2", "sft-1"}
    said = elsewhere(found, "tiny")
    assert any("gft-3" in s and "someone/model" in s for s in said)
    assert any("gft-4" in s and "before it had an adapter" in s for s in said)
    assert elsewhere(found, "someone/model") != said


@pytest.mark.parametrize("key", ["runs/../../etc", "/etc", "runs/gft-4", "", "exports/mix-9"])
def test_an_adapter_that_is_not_offered_cannot_be_named(app_state: AppState, key: str) -> None:
    with pytest.raises(RunError, match="choose one from the list"):
        find_adapters(app_state).find(key)


def test_known_files_and_the_reward_of_the_run(app_state: AppState) -> None:
    found = find_adapters(app_state)
    assert {HELD_OUT, OLD_SKILL} <= set(known_files(app_state, found))
    assert reward_of(AS_TRAINED, found.on("tiny")) == "math"
    assert reward_of("exact", ()) == "exact"


def test_only_exports_are_handed_out(app_state: AppState, tmp_path: Path) -> None:
    secret = app_state.workspace.runs_dir / "gft-1" / "config.yaml"
    link = app_state.workspace.exports_dir / "link.yaml"
    link.symlink_to(secret)
    for file in (secret, link, tmp_path / "none"):
        with pytest.raises(RunError, match="not among the exports"):
            handed_out(app_state.workspace, file)
    link.unlink()


# --- what is asked ---


def test_wrong_choices_are_sentences_before_anything_starts(
    app_state: AppState, controller: CompareController
) -> None:
    def said(pages: Iterator[Any]) -> str:
        return list(pages)[-1][0]

    how = ("", AS_TRAINED, 16, False)
    assert "type a prompt" in said(controller.answer("tiny", [], "  ", *how))
    five = [f"runs/{name}" for name in "abcde"]
    assert "compare up to 4" in said(controller.answer("tiny", five, "x", *how))
    assert "someone/model" in said(controller.answer("tiny", ["runs/gft-3"], "x", *how))
    assert "from the list" in said(controller.answer("/etc", [], "x", *how))
    assert "a number above 0" in said(controller.score("tiny", [], settings(prompts=None)))
    assert "or drop one" in said(controller.score("tiny", [], settings(known="/etc/passwd")))
    one = "runs/gft-1"
    assert "two different" in said(controller.try_mix("tiny", one, one, 50, settings()))


def test_a_bad_file_is_a_sentence_without_folders(
    app_state: AppState, controller: CompareController
) -> None:
    file = app_state.workspace.tmp_dir / "bad.jsonl"
    file.write_bytes(b"\x00\x01 no rows here " + EVIL.encode())
    html, page = list(controller.score("tiny", [], settings(uploaded=str(file))))[-1]
    assert "failure" in html and "bad.jsonl" in html and page is None
    assert str(app_state.workspace.root) not in html and "<script" not in html
    assert not list(app_state.workspace.exports_dir.glob("comparison-*"))


def test_a_file_is_scored_with_intervals_and_retention(
    app_state: AppState, controller: CompareController
) -> None:
    file = app_state.workspace.tmp_dir / "evil.jsonl"
    rows = [{"question": f"{EVIL} {n} + 1?", "answer": str(n + 1)} for n in range(3)]
    rows.append({"question": "no answer", "answer": ""})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    keys = ["runs/gft-1", "runs/gft-2"]
    pages = list(controller.score("tiny", keys, settings(uploaded=str(file))))
    html, page = pages[-1]
    assert "part 1 of 9" in "".join(shown for shown, _ in pages)
    for word in ("Figures over 3 prompts", "mean@2", "pass@2", "Old skill", "Moved from base"):
        assert word in html
    assert "gft-1 and gft-2 are the same adapter" in html
    assert "1 rows were left out" in html
    assert "<script" not in html and "<img" not in html and "&lt;script" in html
    assert page and "gft-2" in Path(page).read_text()
    assert Path(page).parent.parent == app_state.workspace.tmp_dir


def test_a_mix_is_scored_without_a_trace_and_saved_on_request(
    app_state: AppState, controller: CompareController
) -> None:
    before = {path.name for path in app_state.workspace.tmp_dir.iterdir()}
    two = ("runs/gft-1", "runs/sft-1")
    html, _ = list(controller.try_mix("tiny", *two, 25, settings(k=0, retention="")))[-1]
    assert "mix 75 to 25" in html and "same adapter" not in html
    made = {path.name for path in app_state.workspace.tmp_dir.iterdir()} - before
    assert not [name for name in made if name.startswith("trial")]
    assert "Saved as mix-1" in list(controller.save_mix("tiny", *two, 25))[-1][0]
    mix = find_adapters(app_state).find("exports/mix-1")
    assert mix.about == "75 % gft-1 + 25 % sft-1" and base_key(mix.model) == "tiny"


# --- what is shown ---


def test_every_text_is_escaped() -> None:
    answers = Answers()
    column = {
        "name": EVIL,
        "adapter_sha256": EVIL,
        "max_logit_difference": 0.5,
        "mean_logit_difference": 0.1,
    }
    answers.take({"say": "columns", "columns": [column], "remarks": [EVIL]})
    answers.take({"say": "text", "column": 0, "text": EVIL, "ended": True, "cut": True})
    answers.take({"say": "scores", "scores": [{"value": 0.5, "verdict": "ok"}]})
    html = answers.html()
    assert "<script" not in html and "<img" not in html
    assert html.count("&lt;script") >= 3 and "reward 0.50" in html and "Cut off" in html


def test_the_app_imports_no_torch() -> None:
    code = (
        "import sys; from gft_lite.ui.compare import compare_tab; "
        "from gft_lite.ui.export import export_tab; "
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]


# --- in a browser ---


@pytest.fixture(scope="module")
def open_page(app_state: AppState) -> Iterator[Callable[[int], Page]]:
    """A page of a served app, as wide as asked, on the Compare tab."""
    with chromium() as browser:
        served = app.serve(app_state, block=False)

        def open_(width: int) -> Page:
            page = window(browser).new_page()
            page.goto(served.local_url)
            page.get_by_role("tab", name="Compare").click()
            page.get_by_label("gft-3 ·").wait_for()  # the newest, of another base
            page.get_by_label("Base model").click()
            page.get_by_role("option", name="tiny (embedded").click()
            page.get_by_role("checkbox", name="gft-1 ·").wait_for()
            page.set_viewport_size({"width": width, "height": 900})
            return page

        yield open_
        served.close()


def test_from_a_prompt_to_answers_side_by_side(open_page: Callable[[int], Page]) -> None:
    page = open_page(1280)
    expect(page.get_by_text("gft-4 ended before it had an adapter")).to_be_visible()
    page.get_by_label("Prompt", exact=True).fill(f"{EVIL} {PROMPT}")
    page.get_by_text("More: expected answer").click()
    page.get_by_label("Expected answer").fill("7")
    page.get_by_role("button", name="Answer", exact=True).focus()
    page.keyboard.press("Enter")
    badges = page.locator(".columns .verdict")
    expect(badges).to_have_count(3, timeout=PATIENCE_MS)
    boxes = [page.locator(".columns article").nth(i).bounding_box() for i in range(3)]
    assert all(boxes) and len({box["y"] for box in boxes if box}) == 1, "not side by side"
    assert page.evaluate("window.hacked") is None
    page.close()


def test_on_a_phone_columns_stack_and_nothing_is_wider_than_the_screen(
    open_page: Callable[[int], Page],
) -> None:
    page = open_page(390)
    page.get_by_label("Prompt", exact=True).fill("2 + 2?")
    page.get_by_role("button", name="Answer", exact=True).click()
    cells = page.locator(".columns article")
    expect(cells).to_have_count(3, timeout=PATIENCE_MS)
    boxes = [cells.nth(i).bounding_box() for i in range(3)]
    assert len({box["x"] for box in boxes if box}) == 1, "not one below the other"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
