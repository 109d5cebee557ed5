"""Pages of other sites in a real browser: none reads from the app or makes it do anything."""

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from gradio_client import Client
from playwright.sync_api import Browser, Page, sync_playwright
from web_app import CHROMIUM, FLAGS, App

pytestmark = pytest.mark.browser

EVIL = "evil.example"
SETTINGS = ["train.steps=1", "data.eval_path=null", "data.retention_path=null"]
START = {"data": ["tiny-cpu", SETTINGS]}
UPLOAD = (
    '--b\r\nContent-Disposition: form-data; name="files"; filename="evil.txt"\r\n'
    "Content-Type: text/plain\r\n\r\nevil\r\n--b--\r\n"
)
ATTEMPTS = """async ([target, start, upload, mode]) => {
  const json = {"Content-Type": "application/json"}, text = {"Content-Type": "text/plain"};
  const form = {"Content-Type": "multipart/form-data; boundary=b"};
  const files = new FormData(); files.append("files", new Blob(["evil"]), "evil.txt");
  const api = target + "gradio_api/";
  const requests = [
    [target, {}], [target + "config", {}], [api + "info", {}],
    [api + "queue/data?session_hash=x", {}],
    [api + "call/start_run", {method: "POST", headers: json, body: start}],
    [api + "call/start_run", {method: "POST", headers: text, body: start}],
    [api + "call/v2/start_run", {method: "POST", headers: text, body: start}],
    [api + "queue/join", {method: "POST", headers: text, body: start}],
    [api + "upload", {method: "POST", body: files}],
    [api + "upload", {method: "POST", headers: form, body: upload}],
    [api + "upload", {method: "PUT", body: files}],
    [api + "reset", {method: "DELETE"}],
    [api + "call/start_run", {method: "POST", body: start,
                              headers: {...json, "X-Forwarded-Host": location.host}}],
  ];
  const out = [];
  for (const [url, options] of requests) {
    try {
      const answer = await fetch(url, {mode, credentials: "include", ...options});
      out.push([url, answer.status, (await answer.text()).slice(0, 200)]);
    } catch (error) { out.push([url, 0, String(error)]); }
  }
  return out;
}"""
IMAGE = "gradio_api/info"
FORM = """<iframe name=there></iframe><iframe id=app src="{target}"></iframe>
<img src="{target}{image}"><script src="{target}config"></script>
<form id=f target=there method=post enctype="{enctype}" action="{target}{path}">
<input name="{name}" value='{value}'></form>
<script>document.getElementById("f").submit()</script>"""


class Site(BaseHTTPRequestHandler):
    """A web server that answers with the page it was given."""

    page = ""

    def do_GET(self) -> None:
        body = type(self).page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def rebinding_browser() -> Iterator[Browser]:
    """A browser for which evil.example is this machine, as after its DNS record changed."""
    with sync_playwright() as playwright:
        flags = [*FLAGS, f"--host-resolver-rules=MAP *.{EVIL} 127.0.0.1, MAP {EVIL} 127.0.0.1"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site() -> Iterator[int]:
    """The port of another web server on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


@pytest.fixture
def page(rebinding_browser: Browser) -> Iterator[Page]:
    page = rebinding_browser.new_page()
    yield page
    page.context.close()


def attempt(page: Page, target: str, mode: str) -> list[tuple[str, int, str]]:
    return page.evaluate(ATTEMPTS, [target, json.dumps(START), UPLOAD, mode])


def assert_nothing_happened(app: App) -> None:
    time.sleep(0.5)  # what was queued would be a run by now
    assert Client(app.url, verbose=False).predict(api_name="/runs") == []
    for folder in ("runs", "uploads", "tmp"):
        assert not list((app.workspace / folder).iterdir()), folder


def test_a_name_that_is_made_to_mean_this_machine_gets_nothing(app: App, page: Page) -> None:
    """DNS rebinding: page and app are of one origin, so the browser itself forbids nothing.

    The script runs in a document of that origin, as that of the other site would.
    """
    target = f"http://{EVIL}:{app.port}/"
    page.goto(target)
    answers = attempt(page, target, "same-origin")
    assert len(answers) == 13
    for url, status, text in answers:
        assert status == 421 and "does not answer to the name" in text, (url, status, text)
    assert_nothing_happened(app)


def test_the_app_itself_cannot_be_opened_under_another_name(app: App, page: Page) -> None:
    answer = page.goto(f"http://{EVIL}:{app.port}/")
    assert answer and answer.status == 421
    assert "Open it as 127.0.0.1 or localhost" in page.inner_text("body")


@pytest.mark.parametrize("name", [EVIL, f"a.{EVIL}", "127.0.0.1", "localhost"])
@pytest.mark.parametrize("mode", ["cors", "no-cors"])
def test_fetch_from_another_origin(app: App, page: Page, site: int, name: str, mode: str) -> None:
    """Of another site, and of another port of this machine, which counts as the same site."""
    Site.page = "<p>"
    page.goto(f"http://{name}:{site}/")
    for _, status, text in attempt(page, app.url, mode):
        assert status in (0, 403, 404) and "gft" not in text, text
    assert_nothing_happened(app)


@pytest.mark.parametrize("name", [EVIL, "127.0.0.1", "localhost"])
@pytest.mark.parametrize("enctype", ["text/plain", "multipart/form-data"])
@pytest.mark.parametrize("path", ["gradio_api/call/start_run", "gradio_api/upload", "login"])
def test_forms_frames_and_images_of_another_origin(
    app: App, page: Page, site: int, name: str, enctype: str, path: str
) -> None:
    parts = {"name": '{"data": ["tiny-cpu", []], "x": "', "value": '"}'}
    if enctype == "multipart/form-data":
        parts = {"name": "files", "value": "evil"}
    Site.page = FORM.format(
        target=app.url,
        enctype=enctype,
        path=path,
        image=IMAGE,
        **{k: v.replace('"', "&quot;") for k, v in parts.items()},
    )
    answers: dict[str, int] = {}
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda answer: answers.update({answer.url: answer.status}))
    page.goto(f"http://{name}:{site}/", wait_until="networkidle")
    assert answers[f"{app.url}{path}"] == 403
    assert {app.url, f"{app.url}config", f"{app.url}{IMAGE}"} <= set(asked)
    for part in ("config", IMAGE):  # none where the browser kept the answer from the page
        assert answers.get(f"{app.url}{part}", 403) == 403
    frames = [frame for frame in page.frames if frame.url.startswith(app.url)]
    assert not [frame for frame in frames if "gradio" in frame.content()], "shown in a frame"
    assert_nothing_happened(app)


def test_a_link_from_another_site_opens_the_app(app: App, page: Page, site: int) -> None:
    """Else the tests above could pass because nothing works."""
    Site.page = f'<a href="{app.url}">link</a>'
    page.goto(f"http://{EVIL}:{site}/")
    page.get_by_text("link").click()
    page.get_by_role("button", name="Try it: 2 minutes, no GPU").wait_for()
    own = page.evaluate(
        "fetch('gradio_api/call/runs', {method: 'POST', body: '{\"data\": []}',"
        " headers: {'Content-Type': 'application/json'}}).then(a => a.text())"
    )
    assert re.search("event_id", own)
