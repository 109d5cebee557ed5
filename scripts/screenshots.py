"""Every tab of the web app, light and dark and on a phone, from a real run: docs/images/ui-*.png.

    python scripts/screenshots.py [--workspace DIR] [--out docs/images]

It serves a workspace, trains the demo run where the workspace has no finished one, and takes the
pictures with Debian's chromium. Needs the `dev` extra and Pillow, which gradio brings along.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from web_app import App, chromium

from gft_lite.assets import ASSETS

MODES = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 860}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 860}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 780}},
}
TABS = ("start", "data", "model", "train", "inside", "compare", "export")
HELD_OUT = ASSETS / "target_test.jsonl"  # its first problem is asked in Compare
HIGHEST = 1900  # pixels; a longer page is cut, with a fade nobody needs
COLOURS = 128
PATIENCE_MS = 60_000
TRAINS_MS = 900_000


def prepare(page: Page, app: App) -> None:
    """A finished run to show; trained now where there is none."""
    if not any((app.workspace / "runs").glob("*/adapter")):
        page.get_by_role("button", name="Try it").click()
    open_tab(page, "Train")
    expect(page.locator("#run-head .state")).to_contain_text("finished", timeout=TRAINS_MS)


def open_tab(page: Page, name: str) -> None:
    """Choose a tab; where the screen is narrow it may be in the menu of those that do not fit."""
    page.wait_for_timeout(800)  # what does not fit moves into the menu
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.first.is_visible():
        page.locator(".overflow-menu > button").first.click()
        page.locator(".overflow-dropdown button", has_text=name).first.click()
    else:
        tab.first.click()


def show(page: Page, tab: str) -> None:
    """Bring a tab into the state that its picture is about."""
    names = {"model": "Model & method", "inside": "Train"}
    open_tab(page, names.get(tab, tab.capitalize()))
    if tab == "data":
        page.locator("#files input").click()
        page.get_by_role("option", name="Demo").click()
        expect(page.locator("#examples .rendered")).to_have_count(5)
    if tab == "train":
        expect(page.locator("#run-curves svg").first).to_be_visible()
    if tab == "compare":
        with HELD_OUT.open(encoding="utf-8") as rows:
            asked = json.loads(next(rows))
        page.get_by_label("Prompt", exact=True).fill(asked["prompt"])
        page.get_by_text("More: expected answer").click()
        page.get_by_label("Expected answer").fill(asked["answer"])
        page.get_by_text("More: expected answer").click()
        page.get_by_role("button", name="Answer", exact=True).click()
        columns = page.locator(".columns article")
        expect(columns.nth(1).locator(".verdict")).to_be_visible(timeout=TRAINS_MS)
    if tab == "inside":
        page.get_by_role("tab", name="Inside a group").click()
        expect(page.locator("#group-view .answers li").first).to_be_visible()
    page.wait_for_timeout(1200)


def take(page: Page, file: Path) -> None:
    """A picture of the page, cut to a height and to few colours: small enough for a repository."""
    page.screenshot(path=file, full_page=True)
    with Image.open(file) as whole:
        cut = whole.convert("RGB").crop((0, 0, whole.width, min(whole.height, HIGHEST)))
    cut.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file}  {file.stat().st_size / 1000:.0f} kB")


def pictures(browser: Browser, app: App, out: Path) -> None:
    """All tabs in all modes; on a phone three of them."""
    for mode, options in MODES.items():
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page = context.new_page()
        page.goto(app.url)
        prepare(page, app)
        for tab in TABS if mode != "phone" else ("start", "train", "inside"):
            show(page, tab)
            take(page, out / f"ui-{tab}-{mode}.png")
        context.close()


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    workspace = arguments.workspace or Path(tempfile.mkdtemp()) / "ws"
    app = App(workspace.resolve())
    try:
        with chromium() as browser:
            pictures(browser, app, arguments.out)
    finally:
        app.end()


if __name__ == "__main__":
    main()
