"""A person logs in with a real browser and works; the guard takes nothing away from them."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from web_app import App, window

from gft_lite.ui.request_guard import FREE_FAILURES

pytestmark = pytest.mark.browser


def test_log_in_work_and_log_out(tmp_path: Path, browser: Browser) -> None:
    app = App(tmp_path / "ws", "--auth=ann:secret")
    try:
        context = window(browser)
        page = context.new_page()
        page.goto(app.url)
        expect(page.get_by_text("After 5 failed logins")).to_be_visible(timeout=60_000)
        assert page.get_by_role("tab").count() == 0

        def log_in(password: str) -> int:
            page.get_by_label("username").fill("ann")
            page.get_by_label("password").fill(password)
            with page.expect_response(lambda answer: answer.url.endswith("/login")) as answer:
                page.get_by_role("button", name="Login").click()
            return answer.value.status

        assert log_in("wrong") == 400
        expect(page.get_by_text("Incorrect Credentials")).to_be_visible()
        assert log_in("secret") == 200
        page.get_by_role("tab", name="Train", exact=True).click(timeout=60_000)
        expect(page.locator("#run-head")).to_contain_text("No runs yet", timeout=60_000)
        for cookie in context.cookies(app.url):
            assert cookie["sameSite"] == "Lax" and cookie["httpOnly"], cookie
        page.goto(f"{app.url}logout")
        page.goto(app.url)
        expect(page.get_by_text("After 5 failed logins")).to_be_visible(timeout=60_000)
        statuses = [log_in("wrong") for _ in range(FREE_FAILURES + 1)]
        assert statuses == [400] * FREE_FAILURES + [429]
        context.close()
    finally:
        app.end()
