"""Markup in names, data, errors and records stays text, in every tab and report, in a real browser.

The workspace is filled with runs, files and records whose every text is markup that would run.
"""

import gzip
import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect
from web_app import PATIENCE_MS, App, window

from gft_lite.config import load_config
from gft_lite.report import write_run_report
from gft_lite.runs import RunDir
from gft_lite.training.worker import train
from gft_lite.ui.data import datasets
from gft_lite.ui.workspace import Workspace

pytestmark = pytest.mark.browser

EVIL = (
    '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    '<svg onload=window.hacked=1><a href="javascript:window.hacked=1">a</a>'
    "[b](javascript:window.hacked=1)'\"><iframe srcdoc='<script>parent.hacked=1</script>'>"
    "</textarea></style></title>${window.hacked=1}{{7*7}}$\\href{javascript:window.hacked=1}{c}$"
)
IN_A_NAME = "<img src=x onerror=window.hacked=1>"  # a file name has no slash
COLUMN = '<svg onload="window.hacked=1">'
HACKED = """() => [window.hacked ?? null, document.querySelectorAll(
  'img[src="x"], svg[onload], a[href^="javascript:"], iframe[srcdoc]').length]"""
SHORT = (
    "train.steps=2",
    "train.prompts_per_step=2",
    "group.self=2",
    "group.max_new_tokens=24",
    "eval.examples=2",
    "eval.k=1",
)
expect.set_options(timeout=PATIENCE_MS)


def poisoned(value: Any, keep: tuple[str, ...] = ()) -> Any:
    """The same document with markup for every text, but for the values of some keys."""
    if isinstance(value, dict):
        return {k: v if k in keep else poisoned(v, keep) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(item, keep) for item in value]
    return EVIL if isinstance(value, str) else value


def fill(workspace: Workspace) -> None:
    """Uploads, runs in every state and a mix, with markup wherever a text can stand."""
    sent = workspace.tmp_dir / f"{IN_A_NAME}.jsonl"
    rows = [
        {"question": f"{EVIL} {n}?", "answer": f"{EVIL}\n#### {n}", COLUMN: EVIL}
        for n in range(1, 21)
    ]
    sent.write_text("\n".join(map(json.dumps, rows)) + f'\n{{"question": "{IN_A_NAME}"}}\n')
    data = datasets.add_file(workspace, str(sent), sent.name)
    parts = workspace.upload(data.name) / "parts-1"
    parts.mkdir()
    for part in ("train", "held_out"):
        shutil.copy(workspace.upload(data.name) / data.source, parts / f"{part}.jsonl")
    datasets.save(
        workspace, datasets.replace(data, parts=parts.name, train=20, held_out=20, title=EVIL[:75])
    )

    run = RunDir(workspace.runs_dir / "gft-1")
    train(load_config(preset="tiny-cpu", overrides=SHORT), run.path)
    for file in run.groups_dir.glob("*.json.gz"):
        groups = json.loads(gzip.decompress(file.read_bytes()))
        file.write_bytes(gzip.compress(json.dumps(poisoned(groups, ("source", "kind"))).encode()))
    record_file = run.adapter_dir / "gft_lite.json"
    record = json.loads(record_file.read_text())
    events = [poisoned(event, ("type", "state")) for event in run.events()]
    run.events_file.write_text("".join(f"{json.dumps(event)}\n" for event in events))

    config = yaml.safe_load(run.config_file.read_text())
    config["model"]["name"] = EVIL
    config["data"]["path"] = f"/{EVIL}"  # refused when the run is to go on
    for name, status in (
        (f"gft-{IN_A_NAME}", {"state": "failed", "message": EVIL}),
        ("gft-3", {"state": "finished"}),
        ("gft-5", {"state": "interrupted", "stage": EVIL, "message": EVIL}),
    ):
        other = workspace.runs_dir / name
        shutil.copytree(run.path, other)
        (other / "config.yaml").write_text(yaml.safe_dump(config))
        status = {"pid": 1, "updated": 1.0, "step": 2, "steps": 2, **status}
        (other / "status.json").write_text(json.dumps(status))
    (workspace.runs_dir / "gft-6").mkdir()
    (workspace.runs_dir / "gft-6" / "config.yaml").write_text(f"{EVIL}: [")
    mix = workspace.exports_dir / "mix-1"
    shutil.copytree(run.adapter_dir, mix)
    stages = [{"method": EVIL, "parts": [{"adapter": EVIL, "weight": 0.5}]}]
    base = {**record["base"], "name": "tiny"}
    text = json.dumps({**poisoned(record), "base": base, "stages": stages})
    (mix / "gft_lite.json").write_text(text)
    record_file.write_text(json.dumps({**poisoned(record), "base": base}))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    root = tmp_path_factory.mktemp("app") / "ws"
    fill(Workspace(root))
    app = App(root)
    yield app
    app.end()


@pytest.fixture
def page(filled: App, browser: Browser) -> Iterator[Page]:
    page = window(browser).new_page()
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    page.goto(filled.url)
    expect(page.get_by_role("button", name="Try it: 2 minutes, no GPU")).to_be_attached()
    yield page
    page.wait_for_timeout(300)
    assert page.evaluate(HACKED) == [None, 0]
    assert "Traceback" not in page.inner_text("body")
    page.context.close()


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def test_the_check_itself_sees_markup_that_runs(page: Page) -> None:
    other = page.context.new_page()
    other.set_content(f"<div>{EVIL}</div>")
    other.wait_for_timeout(300)
    hacked, elements = other.evaluate(HACKED)
    assert hacked == 1 and elements >= 3
    other.close()


def test_data(page: Page) -> None:
    tab(page, "Data")
    page.locator("#files input").click()
    page.get_by_role("option").filter(has_text="onerror").click()
    expect(page.locator("#data-report")).to_contain_text("can be used")
    expect(page.locator("#examples .rendered").first).to_contain_text("onerror")
    page.get_by_role("button", name="Is something read wrongly?").click()
    for summary in page.locator("#data-report summary, #dry-run summary").all():
        summary.click()
    page.get_by_label("Question", exact=True).click()
    expect(page.get_by_role("option").filter(has_text="svg onload").first).to_be_visible()


def test_model_and_method(page: Page) -> None:
    tab(page, "Model & method")
    page.locator("#train-data input").click()
    page.get_by_role("option").filter(has_text="onerror").first.click()
    page.locator("#model-name").locator("input, textarea").fill(EVIL)
    page.get_by_role("button", name="More settings").click()
    page.locator("#more-settings textarea").fill(f"data: {{path: {json.dumps('/' + EVIL)}}}")
    expect(page.locator("#config-wrong")).to_contain_text("outside the workspace")
    page.locator("#more-settings textarea").fill(f"{json.dumps(EVIL)}: 1")
    expect(page.locator("#config-wrong")).to_contain_text("unknown key")
    page.locator("#more-settings textarea").fill("")
    page.get_by_role("button", name="Exactly what will run").click()
    expect(page.locator("#exactly")).to_contain_text("onerror")


def test_train_and_inside_a_group(page: Page) -> None:
    tab(page, "Train")
    runs = page.locator("#run-list label")
    expect(runs.first).to_be_visible()
    assert runs.count() >= 4
    for place in range(runs.count()):
        runs.nth(place).click()
        page.wait_for_timeout(700)
        page.get_by_role("tab", name="Inside a group").click()
        page.wait_for_timeout(300)
        assert page.evaluate(HACKED) == [None, 0], runs.nth(place).inner_text()
        page.get_by_role("tab", name="Curves").click()
    runs.filter(has_text="gft-1").first.click()
    page.get_by_role("tab", name="Inside a group").click()
    expect(page.locator("#group-view")).to_contain_text("onerror")


def test_an_error_is_a_toast_with_text(page: Page) -> None:
    tab(page, "Train")
    page.locator("#run-list label").filter(has_text="onerror").first.click()
    go_on = page.locator("#continue")
    expect(go_on).to_be_visible()
    go_on.click()
    expect(page.locator(".toast-body").first).to_contain_text("onerror")


def test_compare(page: Page) -> None:
    tab(page, "Compare")
    expect(page.get_by_text(re.compile("mix-1")).first).to_be_visible()
    page.get_by_label("Prompt", exact=True).fill(EVIL)
    page.get_by_role("button", name="Answer", exact=True).click()
    expect(page.get_by_role("button", name="Stop").first).to_be_disabled(timeout=PATIENCE_MS)
    page.wait_for_timeout(500)


def test_export(page: Page) -> None:
    tab(page, "Export")
    listing = page.get_by_label("Run or mix")
    expect(listing).not_to_have_value("")
    listing.click()
    count = page.get_by_role("option").count()
    page.keyboard.press("Escape")
    assert count >= 2
    for name in ("Model card", "Continue with reinforcement learning (TRL)", "Report of the run"):
        page.get_by_role("button", name=name).click()
    for place in range(count):
        listing.click()
        page.get_by_role("option").nth(place).click()
        page.wait_for_timeout(500)
        assert page.evaluate(HACKED) == [None, 0], place


def test_the_report(filled: App, browser: Browser) -> None:
    for number, run in enumerate(sorted((filled.workspace / "runs").iterdir())):
        if run.name == "gft-6":
            continue
        file = write_run_report(RunDir(run), filled.workspace / f"report-{number}.html")
        page = window(browser).new_page()
        page.goto(file.as_uri())
        assert "onerror" in page.inner_text("body")
        page.wait_for_timeout(300)
        assert page.evaluate(HACKED) == [None, 0]
        page.context.close()
