"""The Export tab: what is written, what is offered, and a download in a real browser."""

import json
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from web_app import PATIENCE_MS, chromium, window

from gft_lite import train
from gft_lite.config import load_config
from gft_lite.types import RunError
from gft_lite.ui import app
from gft_lite.ui.app_state import AppState, open_app_state
from gft_lite.ui.compare.adapter_registry import find_adapters
from gft_lite.ui.compare.model_client import ModelProcess
from gft_lite.ui.export.export_snippet import continue_with_trl
from gft_lite.ui.export.export_write import Exports, Written, about, offered

SMALL = (
    "train.steps=2",
    "train.prompts_per_step=2",
    "group.teacher=1",
    "group.self=3",
    "group.max_new_tokens=48",
    "eval.examples=4",
    "eval.k=2",
)
RUN = "runs/gft-1"


@pytest.fixture(scope="module")
def app_state(tmp_path_factory: pytest.TempPathFactory) -> AppState:
    app_state = open_app_state(str(tmp_path_factory.mktemp("workspace")))
    config = load_config(preset="tiny-cpu", overrides=SMALL)
    train(config, app_state.workspace.runs_dir / "gft-1")
    return app_state


@pytest.fixture(scope="module")
def exports(app_state: AppState) -> Iterator[Exports]:
    process = ModelProcess(app_state.workspace.root, "export-process.log")
    yield Exports(app_state, process)
    process.close()


@pytest.fixture(scope="module")
def merged(exports: Exports) -> list[Written]:
    return list(exports.write(RUN, "merged", "float32"))


def test_a_merged_model_is_checked_packed_and_described(
    app_state: AppState, merged: list[Written]
) -> None:
    assert "checking that it answers" in merged[0].html and merged[0].file is None
    end = merged[-1]
    assert "greedy answers are those of the trained model" in end.html
    assert end.file and Path(end.file).name == "gft-1-merged.zip"
    names = zipfile.ZipFile(end.file).namelist()
    assert {"gft-1-merged/model.safetensors", "gft-1-merged/README.md"} <= set(names)
    assert end.card and end.card.startswith("---") and "same greedy answers" in end.card
    assert [path.name for path in app_state.workspace.exports_dir.iterdir()] == ["gft-1-merged-1"]


def test_a_stopped_export_keeps_nothing(
    app_state: AppState, exports: Exports, merged: list[Written]
) -> None:
    pages = exports.write(RUN, "adapter", "float32")
    next(pages)
    threading.Timer(0.5, exports.process.stop).start()
    assert "Stopped; nothing was kept" in list(pages)[-1].html
    assert not list(app_state.workspace.exports_dir.glob("gft-1-adapter*"))


def test_the_card_can_be_read_before_anything_is_written(
    exports: Exports, app_state: AppState
) -> None:
    card = exports.card(RUN)
    assert "# Adapter of tiny" in card and "stage 1: gft" in card
    assert str(app_state.workspace.root) not in card


def test_the_report_of_a_run_is_a_page(exports: Exports) -> None:
    page = Path(exports.report(RUN))
    assert page.name == "gft-1-report.html" and "<!doctype html>" in page.read_text()


@pytest.mark.parametrize("key", ["runs/../../../etc", "runs/nope", "/etc/passwd", None, ""])
def test_only_adapters_of_the_workspace_can_be_named(exports: Exports, key: str | None) -> None:
    with pytest.raises(RunError):
        exports.find(key)
    html = list(exports.write(key, "adapter", "float32"))[-1].html
    assert 'class="failure"' in html


def test_kinds_and_formats_that_are_not_offered_are_refused(
    exports: Exports, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LLAMA_CPP_DIR", str(tmp_path))

    def said(*choice: str) -> str:
        return list(exports.write(RUN, *choice))[-1].html

    assert "from the list" in said("../x", "float32")
    assert "from the list" in said("merged", "int3")
    assert "LLAMA_CPP_DIR" in said("gguf", "float32")
    assert [kind for _, kind in offered()] == ["adapter", "merged"]
    (tmp_path / "convert_hf_to_gguf.py").touch()
    assert [kind for _, kind in offered()] == ["adapter", "merged", "gguf", "gguf-adapter"]


def test_the_program_that_goes_on_names_the_runs_own_data_and_reward(app_state: AppState) -> None:
    adapter = find_adapters(app_state).find(RUN)
    program = continue_with_trl(adapter, "gft-1-adapter")
    names: dict[str, Any] = {}
    head = program[program.index("FOLDER =") : program.index("examples =")]
    exec(compile(head, "head", "exec"), names)
    assert names["FOLDER"] == "gft-1-adapter" and names["BASE"] == "gft-1-adapter/base"
    assert names["DATA"] == "embedded:target_train" and names["REWARD"] == "math"
    compile(program, "program", "exec")


def test_what_is_known_of_an_adapter_is_shown_escaped(app_state: AppState) -> None:
    html = about(find_adapters(app_state).find(RUN))
    assert "Held out, greedy" in html and "of 4 prompts" in html
    evil = "<script>window.hacked=1</script>"
    folder = app_state.workspace.exports_dir / "mix-1"
    folder.mkdir()
    parts = [{"adapter": evil, "weight": 1.0}]
    record = {"base": {"name": evil}, "stages": [{"method": evil, "parts": parts}]}
    (folder / "gft_lite.json").write_text(json.dumps(record))
    html = about(find_adapters(app_state).find("exports/mix-1"))
    shutil.rmtree(folder)
    assert html.count("&lt;script") == 3 and "<script" not in html


def test_a_download_in_a_browser(
    app_state: AppState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workspace lies outside the folders that Gradio hands out by itself, as at home."""
    elsewhere = tmp_path / "temporary"
    elsewhere.mkdir()
    with chromium() as browser:
        monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
        served = app.serve(app_state, block=False)
        page = window(browser).new_page()
        page.goto(served.local_url)
        page.get_by_role("tab", name="Export").click()
        write = page.get_by_role("button", name="Write it")
        write.wait_for()
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        write.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("Ready: gft-1-adapter")).to_be_visible(timeout=PATIENCE_MS)
        with page.expect_download() as caught:
            page.get_by_role("button", name="Download", exact=True).click()
        names = zipfile.ZipFile(caught.value.path()).namelist()
        assert "gft-1-adapter/adapter_model.safetensors" in names
        served.close()
