"""The web app in a process of its own, and Debian's chromium to look at it."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
PATIENCE_MS = 120_000


class App:
    """`gft-lite ui` on a workspace; it can be killed and started again on the same port."""

    def __init__(self, workspace: Path, *options: str) -> None:
        self.workspace = workspace
        self.options = options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = workspace.with_suffix(".log")
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        command = [sys.executable, "-m", "gft_lite", "ui", f"--port={self.port}"]
        command += [f"--workspace={self.workspace}", *self.options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            except (urllib.error.URLError, OSError):
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < until, "the app did not come up"
                time.sleep(0.1)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Kill the app, then the runs that would outlive it."""
        from gft_lite.ui.queue import Jobs
        from gft_lite.ui.workspace import Workspace

        self.kill()
        for job in Jobs(Workspace(self.workspace)).list():
            if job.state in ("starting", "running"):
                os.kill(job.status["pid"], 9)


@contextmanager
def chromium() -> "Iterator[Browser]":
    """A headless browser. Fails where there is none: these tests are never skipped."""
    from playwright.sync_api import sync_playwright

    assert CHROMIUM.exists(), (
        f"{CHROMIUM} is not there: apt-get install -y chromium, or name another in $CHROMIUM"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


def window(browser: "Browser", **options: Any) -> "BrowserContext":
    """A fresh profile, patient and of a common size."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    context.set_default_timeout(PATIENCE_MS)
    return context
