"""From a dropped file to an adapter that is compared and downloaded, in a real browser.

The tests of this file are one walk: each begins where the one before it ended.
"""

import json
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from web_app import PATIENCE_MS, App, window

from gft_lite.models.fingerprint import WEIGHTS, file_sha256
from gft_lite.runs import RunDir
from gft_lite.ui.data import datasets
from gft_lite.ui.workspace import Workspace

EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>${window.hacked=1}'
PROMPT = "Ann has 4 pens and buys 3 more. How many pens does Ann have now?"
FILE = "<img src=x onerror=hacked()> words.jsonl"
SETTINGS = {
    "train-steps": 400,
    "train-prompts_per_step": 1,
    "group-self": 2,
    "group-teacher": 1,
    "group-max_new_tokens": 120,
}
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def page(app: App, browser: Browser) -> Iterator[Page]:
    page = window(browser).new_page()
    page.goto(app.url)
    yield page
    assert page.evaluate("window.hacked") is None


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def step_shown(page: Page) -> int:
    found = re.search(r"Step (\d+) of", page.locator("#run-head").inner_text())
    return int(found.group(1)) if found else -1


def wait_for_step(page: Page, least: int) -> None:
    page.wait_for_function(
        "least => Number((document.querySelector('#run-head').innerText"
        ".match(/Step (\\d+) of/) || [0, 0])[1]) >= least",
        arg=least,
    )


def run_dir(app: App) -> RunDir:
    return RunDir(app.workspace / "runs" / "gft-1")


# --- data ---


def test_the_first_screen_says_what_to_do(page: Page) -> None:
    expect(page.get_by_role("button", name="Try it: 2 minutes, no GPU")).to_be_visible()
    tab(page, "Train")
    expect(page.locator("#run-head")).to_contain_text("No runs yet")
    tab(page, "Data")
    expect(page.locator("#data-report")).to_contain_text("Drop a file above")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("virus.exe", b"MZ\x90", "files of this kind are not read"),
        ("a.jsonl", b"", "the file is empty"),
        ("page.json", b"<!DOCTYPE html><html>", "a web page"),
        ("list.jsonl", b'{"foo": 1}\n{"foo": 2}\n', "no known format has the columns 'foo'"),
        ("x.parquet", b"PAR1 but not really", "Parquet"),
    ],
)
def test_a_bad_file_gets_a_sentence(
    page: Page, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    tab(page, "Data")
    page.locator("#upload input[type=file]").set_input_files(file)
    shown = page.locator("#data-report .failure, .toast-body").filter(has_text=said)
    expect(shown.first).to_be_visible()
    assert "Traceback" not in page.inner_text("body")
    for close in page.locator(".toast-close").all():
        close.click()
    if page.get_by_label("Clear").is_visible():
        page.get_by_label("Clear").click()


def test_a_dropped_file_is_read_scored_and_rendered(page: Page, tmp_path: Path) -> None:
    rows = [
        {
            "prompt": f"{EVIL} What is {n} + {n}?",
            "expert": f"{EVIL}\n#### {2 * n}",
            "teachers": [f"wrong {EVIL}\n#### 0"],
            "answer": str(2 * n),
        }
        for n in range(1, 41)
    ]
    rows[3]["expert"] = "I do not know."
    file = tmp_path / FILE
    file.write_text("\n".join(map(json.dumps, rows)) + '\n{"prompt": ""}\n')
    page.locator("#upload input[type=file]").set_input_files(file)
    report = page.locator("#data-report")
    expect(report).to_contain_text("40 of 41 rows can be used")
    expect(report.locator("figure")).to_have_count(3)
    expect(page.locator("#dry-run")).to_contain_text("Experts right")
    page.locator("#dry-run summary").first.click()
    expect(page.locator("#dry-run .failed")).to_contain_text("I do not know.")
    expect(page.locator("#examples .rendered")).to_have_count(5)
    expect(page.locator("#examples mark.trained").nth(1)).to_contain_text(EVIL)
    assert page.locator("#data-report img, #dry-run img, #examples img").count() == 0
    expect(page.locator("#files input")).to_have_value(re.compile("words.jsonl"))


def test_a_second_tab_a_reload_and_the_way_back_offer_the_file(page: Page, app: App) -> None:
    other = page.context.new_page()
    other.goto(app.url)
    for arrive in (
        lambda: None,
        other.reload,
        lambda: (other.goto("about:blank"), other.go_back()),
    ):
        arrive()
        tab(other, "Data")
        other.locator("#files input").click()
        expect(other.get_by_role("option", name=re.compile("words.jsonl"))).to_be_visible()
    sent = app.workspace / "tmp" / "later.jsonl"  # arrives while the tab is open
    sent.write_text('{"question": "1 + 1?", "answer": "2"}\n')
    datasets.add_file(Workspace(app.workspace), str(sent), sent.name)
    other.locator("#files input").blur()
    other.locator("#files input").click()
    expect(other.get_by_role("option", name=re.compile("later.jsonl"))).to_be_visible()
    other.close()
    page.reload()
    tab(page, "Data")
    page.locator("#files input").click()
    page.get_by_role("option", name=re.compile("words.jsonl")).click()
    expect(page.locator("#data-report")).to_contain_text("40 of 41 rows can be used")
    expect(page.locator("#examples .rendered")).to_have_count(5)


# --- training ---


def test_settings_show_what_will_run_and_refuse_what_is_wrong(page: Page) -> None:
    page.locator("#use").click()
    expect(page.locator("#train-data input")).to_have_value(re.compile(r"words.*held out"))
    for name, value in SETTINGS.items():
        page.locator(f"#set-{name} input").fill(str(value))
    page.get_by_role("button", name="More settings").click()
    more = page.locator("#more-settings textarea")
    for wrong, said in (
        ("train: {stepz: 1}", "did you mean 'steps'"),
        (
            "model: {trust_remote_code: true}",
            "model.trust_remote_code can only be set from the command line",
        ),
        (
            "stages: [sft, {data: {path: /etc/passwd}}]",
            "stages.2: data.path: /etc/passwd lies outside",
        ),
        ("reward: {file: /tmp/x.py}", "only be named on the command line"),
        ("data: {path: /etc/passwd}", "lies outside the workspace"),
    ):
        more.fill(wrong)
        expect(page.locator("#config-wrong")).to_contain_text(said)
        expect(page.locator("#start-run")).to_be_disabled()
    more.fill("train: {checkpoint_every: 1000}")
    expect(page.locator("#config-wrong .failure")).to_have_count(0)
    page.get_by_role("button", name="Exactly what will run").click()
    expect(page.locator("#exactly")).to_contain_text("train.steps=400")
    expect(page.locator("#start-run")).to_be_enabled()


def test_the_run_starts_and_its_curves_move(page: Page, app: App) -> None:
    page.locator("#start-run").click()
    expect(page.locator("#run-head .state")).to_contain_text("training")
    wait_for_step(page, 2)
    curve = page.locator("#run-curves svg desc").first
    before, step = curve.text_content(), step_shown(page)
    wait_for_step(page, step + 2)
    expect(curve).not_to_have_text(before or "")
    expect(page.locator("#run-curves figure").nth(7)).to_be_attached()
    config = run_dir(app).config_file.read_text()
    assert "uploads/data-" in config and "parts-1/train.jsonl" in config


def test_what_is_shown_is_at_most_two_seconds_old(page: Page, app: App) -> None:
    """The page is asked about a step right after it was written, while the run goes on."""
    took = []
    for _ in range(3):
        reached = run_dir(app).status()["step"]
        before = time.monotonic()
        wait_for_step(page, reached)
        took.append(time.monotonic() - before)
        wait_for_step(page, reached + 1)
    assert min(took) < 2, took


def test_a_second_tab_and_a_reload_find_the_run(page: Page, app: App) -> None:
    other = page.context.new_page()
    other.goto(app.url)
    expect(other.locator("#run-head .state")).to_contain_text("training")
    wait_for_step(other, 2)
    other.close()
    page.reload()
    expect(page.locator("#run-head .state")).to_contain_text("training")
    expect(page.locator("#run-curves svg").first).to_be_visible()


def test_the_app_may_die_in_the_middle_of_a_run(page: Page, app: App) -> None:
    pid, step = run_dir(app).status()["pid"], run_dir(app).status()["step"]
    app.kill()
    page.goto("about:blank")  # the open page would load itself again once the app is back
    app.start()
    page.goto(app.url)
    expect(page.locator("#run-head .state")).to_contain_text("training")
    wait_for_step(page, step + 1)
    assert run_dir(app).status()["pid"] == pid  # the same process all the time


def test_the_inspector_opens_a_group_and_tries_another_tau(page: Page) -> None:
    page.get_by_role("tab", name="Inside a group").click()
    view = page.locator("#group-view")
    expect(view.locator(".answers li")).to_have_count(4)
    expect(view.locator(".badge").first).to_have_text("expert")
    expect(view).to_contain_text("advantage")
    expect(view.locator(".tokens span[title]").nth(10)).to_be_attached()
    expect(view.locator(".prompt .said")).to_contain_text(EVIL)
    assert view.locator("img").count() == 0
    line = view.locator(".what-if")
    tau = page.locator("#inspect-tau input[type=number]")
    tau.fill("0")
    tau.press("Tab")
    expect(line).to_contain_text("With τ = 0, 0 of")
    tau.fill("1")
    tau.press("Tab")
    expect(line).to_contain_text("With τ = 1")
    expect(line).not_to_contain_text(", 0 of")


def test_stop_then_continue(page: Page, app: App) -> None:
    tab(page, "Train")
    page.locator("#stop").click()
    expect(page.locator("#run-head .state")).to_contain_text("stopped")
    run = run_dir(app)
    reached = run.status()["step"]
    assert run.checkpoints()[-1].name == f"step-{reached:06d}" and reached < 400
    page.locator("#continue").click()
    wait_for_step(page, reached + 1)
    expect(page.locator("#run-head .state")).to_contain_text("training")
    steps = [event["step"] for event in run.events("step")]
    assert steps == list(range(1, len(steps) + 1))


def test_another_run_waits_and_can_be_taken_from_the_queue(page: Page) -> None:
    tab(page, "Model & method")
    page.locator("#start-run").click()
    expect(page.locator("#run-head .state")).to_contain_text("waiting")
    expect(page.locator("#run-head")).to_contain_text("next in the queue")
    page.locator("#stop").click()
    expect(page.locator("#run-head .state")).to_contain_text("stopped")
    page.locator("#run-list label").filter(has_text="gft-1").click()
    expect(page.locator("#run-head .state")).to_contain_text("training")
    page.locator("#stop").click()
    expect(page.locator("#run-head .state")).to_contain_text("stopped")
    assert page.evaluate("window.hacked") is None


# --- what came of it ---


def test_base_and_adapter_answer_side_by_side(page: Page, app: App) -> None:
    tab(page, "Compare")
    expect(page.get_by_role("checkbox", name="gft-1 ·")).to_be_checked()
    expect(page.get_by_text("gft-2 ended before it had an adapter")).to_be_visible()
    page.get_by_label("Prompt", exact=True).fill(PROMPT)
    page.get_by_text("More: expected answer").click()
    page.get_by_label("Expected answer").fill("7")
    page.get_by_role("button", name="Answer", exact=True).click()
    columns = page.locator(".columns article")
    expect(columns.locator(".verdict")).to_have_count(2)
    expect(columns.locator("h3")).to_have_text(["0base", "Agft-1"])
    trained = file_sha256(run_dir(app).adapter_dir / WEIGHTS)
    proof = columns.nth(1).locator(".proof")
    expect(proof).to_contain_text(f"Weights {trained[:12]}")
    moved = re.search(r"by ([\d.e-]+) on average", proof.inner_text())
    assert moved and float(moved.group(1)) > 0
    assert "####" in columns.nth(0).locator("pre").inner_text()  # the base answers as it was taught


def test_the_adapter_can_be_taken_home(page: Page, app: App) -> None:
    tab(page, "Export")
    page.get_by_role("button", name="Write it").click()
    expect(page.get_by_text("Ready: gft-1-adapter")).to_be_visible()
    with page.expect_download() as caught:
        page.get_by_role("button", name="Download", exact=True).click()
    assert caught.value.suggested_filename == "gft-1-adapter.zip"
    with zipfile.ZipFile(caught.value.path()) as packed:
        weights = packed.read(f"gft-1-adapter/{WEIGHTS}")
        settings = json.loads(packed.read("gft-1-adapter/adapter_config.json"))
    assert weights == (run_dir(app).adapter_dir / WEIGHTS).read_bytes()
    assert (settings["peft_type"], settings["r"]) == ("LORA", 16)
    assert page.evaluate("window.hacked") is None
