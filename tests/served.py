"""The web app served in the tests' own process, and plain HTTP to talk to it."""

import http.client
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from gft_lite.ui import app as ui
from gft_lite.ui.app_state import open_app_state


@dataclass(frozen=True)
class Answer:
    """A response, as far as it is looked at."""

    status: int
    headers: http.client.HTTPMessage
    text: str


class Served:
    """A served app and its socket."""

    def __init__(self, workspace: Path, **options: object) -> None:
        self.app_state = open_app_state(str(workspace))
        self.page = ui.serve(self.app_state, block=False, **options)  # type: ignore[arg-type]
        self.port = self.page.server_port
        self.url = f"http://127.0.0.1:{self.port}/"

    def ask(
        self, path: str, method: str = "GET", body: str | bytes | None = None, **headers: str
    ) -> Answer:
        """One request; header names are given with _ for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host="Host" in headers)
        data = body.encode() if isinstance(body, str) else body
        if data is not None and "Content_Length" not in headers:
            headers["Content_Length"] = str(len(data))
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(data)
        response = connection.getresponse()
        stream = response.headers.get_content_type() == "text/event-stream"
        text = "" if stream else response.read().decode("utf-8", "replace")
        connection.close()
        return Answer(response.status, response.headers, text)

    def login(self, user: str, password: str, **headers: str) -> Answer:
        form = urllib.parse.urlencode({"username": user, "password": password})
        form_type = "application/x-www-form-urlencoded"
        return self.ask("/login", "POST", form, Content_Type=form_type, **headers)

    def close(self) -> None:
        self.app_state.jobs.close()
        self.page.close()
