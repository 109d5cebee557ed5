"""What the served app answers to those who have no password, another name for it, or another site.

One app with a password is served in this process, so that its own list of routes can be walked;
every request is a real one over the socket.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts
from gradio_client import Client
from served import Served

from gft_lite.types import ConfigError
from gft_lite.ui import app as ui
from gft_lite.ui.data import datasets
from gft_lite.ui.request_guard import (
    FORGET_SECONDS,
    FREE_FAILURES,
    LONGEST_WAIT_SECONDS,
    MOST_ADDRESSES,
    LoginLimit,
)
from gft_lite.ui.workspace import Workspace

USER, PASSWORD = "ann", "secret"
TITLE = "patients.jsonl"
# What a person without a password may have, and why.
PUBLIC = {
    "/": "the login page",
    "/login": "to log in",
    "/login/": "to log in",
    "/assets/{path:path}": "static files of Gradio, for the login page",
    "/static/{path:path}": "static files of Gradio, for the login page",
    "/svelte/{path:path}": "static files of Gradio, for the login page",
    "/theme.css": "colours, for the login page",
    "/gradio_api/theme.css": "colours, for the login page",
    "/favicon.ico": "the icon of the login page",
    "/pwa_icon": "the icon of the login page",
    "/pwa_icon/{size}": "the icon of the login page",
    "/manifest.json": "title and icon of the page",
    "/robots.txt": "tells crawlers what to leave out",
    "/gradio_api/startup-events": "Gradio asks it itself at launch; it starts nothing twice",
}


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An app with a password, and a file of its user."""
    root = tmp_path_factory.mktemp("closed") / "ws"
    workspace = Workspace(root)
    sent = workspace.tmp_dir / TITLE
    sent.write_text('{"question": "1 + 1?", "answer": "2"}\n')
    datasets.add_file(workspace, str(sent), TITLE)
    served = Served(root, auth=(USER, PASSWORD))
    yield served
    served.close()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An app without a password, on a loopback address."""
    served = Served(tmp_path_factory.mktemp("local") / "ws")
    yield served
    served.close()


# --- without a password ---


def test_no_route_answers_without_a_login_but_the_login_page_and_its_files(closed: Served) -> None:
    asked, answered = 0, {}
    for route in iter_route_contexts(closed.page.app.routes):
        path = re.sub(r"\{[^}]*\}", "1", route.path)
        for method in sorted(route.methods):
            asked += 1
            body = "{}" if method == "POST" else None
            answer = closed.ask(path, method, body, Content_Type="application/json")
            if answer.status != 401:
                answered.setdefault(route.path, answer.status)
    assert asked > 50, "the routes of the app were not found"
    assert set(answered) <= set(PUBLIC), answered
    page = closed.ask("/").text  # Gradio puts the names of endpoints there, which are no secret
    assert '"auth_required":true' in page and '"components":[]' in page
    assert TITLE not in page and str(closed.app_state.workspace.root) not in page


def test_with_a_login_the_same_routes_answer(closed: Served) -> None:
    """Else the test above could pass because nothing ever answers."""
    cookie = "; ".join(
        c.split(";")[0] for c in closed.login(USER, PASSWORD).headers.get_all("Set-Cookie")
    )
    assert TITLE in closed.ask("/config", Cookie=cookie).text
    assert closed.ask("/gradio_api/info", Cookie=cookie).status == 200
    assert Client(closed.url, auth=(USER, PASSWORD), verbose=False).predict(api_name="/runs") == []
    assert closed.ask("/config", Cookie="access-token=1; access-token-unsecure=1").status == 401


def test_cookies_are_not_sent_by_other_sites(closed: Served) -> None:
    cookies = closed.login(USER, PASSWORD).headers.get_all("Set-Cookie")
    assert len(cookies) == 2
    for cookie in cookies:
        assert cookie.endswith("; SameSite=Lax") and cookie.lower().count("samesite") == 1
        assert "httponly" in cookie.lower()


def test_logins_have_to_wait_longer_and_longer(tmp_path: Path) -> None:
    served = Served(tmp_path / "ws", auth=(USER, PASSWORD))
    try:
        for _ in range(FREE_FAILURES):
            assert served.login(USER, "wrong").status == 400
        refused = served.login(USER, PASSWORD)  # the right one has to wait as well
        assert refused.status == 429 and int(refused.headers["Retry-After"]) >= 1
        assert "Try again in 1 seconds" in refused.text
        # another address, as a proxy on this machine names it
        assert served.login(USER, "wrong", X_Forwarded_For="192.0.2.7").status == 400
        assert served.login(USER, PASSWORD, X_Forwarded_For="192.0.2.8").status == 200
    finally:
        served.close()


def test_the_wait_grows_ends_and_is_forgotten() -> None:
    now = 0.0
    limit = LoginLimit(lambda: now)
    assert [limit.attempt("a") for _ in range(FREE_FAILURES)] == [0.0] * FREE_FAILURES
    waits = []
    for _ in range(15):
        waits.append(limit.attempt("a"))
        assert limit.attempt("a") == waits[-1], "an attempt that has to wait is not counted"
        assert limit.attempt("b") in (0.0, waits[-1])
        now += waits[-1]
        assert limit.attempt("a") == 0.0
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0] and waits[-1] == LONGEST_WAIT_SECONDS
    limit.succeeded("a")
    assert limit.attempt("a") == 0.0
    now += FORGET_SECONDS + 1
    assert [limit.attempt("a") for _ in range(FREE_FAILURES)] == [0.0] * FREE_FAILURES
    for number in range(MOST_ADDRESSES + 50):
        limit.attempt(str(number))
    assert len(limit._failures) == MOST_ADDRESSES


# --- under another name ---

ROUTES = ("/", "/config", "/gradio_api/info", "/gradio_api/queue/data?session_hash=x", "/theme.css")


OTHER_NAMES = (
    *("evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost@evil.example"),
    *("", "127.0.0.1:80:80", "[::1", "0.0.0.0", "169.254.169.254", "evil.example/127.0.0.1"),
)


@pytest.mark.parametrize("path", [*ROUTES, "/gradio_api/file=/etc/passwd"])
@pytest.mark.parametrize("host", OTHER_NAMES)
def test_an_app_on_loopback_answers_to_no_other_name(local: Served, host: str, path: str) -> None:
    answer = local.ask(path, Host=host)
    assert answer.status == 421 and "does not answer to the name" in answer.text


def test_every_method_and_upload_is_refused_under_another_name(local: Served) -> None:
    for path in ("/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/call/start_run"):
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            assert local.ask(path, method, "{}", Host="evil.example").status == 421
    assert not list(local.app_state.workspace.tmp_dir.iterdir())


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_an_app_on_loopback_answers_to_its_names_on_any_port(local: Served, name: str) -> None:
    for host in (name, f"{name}:{local.port}", f"{name}:1"):
        assert local.ask("/config", Host=host).status == 200


def test_names_of_a_proxy_and_of_a_share_link(tmp_path: Path) -> None:
    served = Served(tmp_path / "ws", auth=(USER, PASSWORD), allow_hosts=["lab.example"])
    try:
        assert served.ask("/", Host="lab.example").status == 200
        assert (
            served.login(USER, PASSWORD, Host="lab.example", Origin="https://lab.example").status
            == 200
        )
        assert (
            served.login(
                USER, PASSWORD, Host="lab.example", Origin="https://lab.example.evil"
            ).status
            == 403
        )
        assert served.ask("/", Host="abc.gradio.live").status == 421
        served.page.share_url = "https://abc.gradio.live"  # as Gradio sets it
        assert served.ask("/", Host="abc.gradio.live").status == 200
        assert served.ask("/", Host="abd.gradio.live").status == 421
        assert (
            served.login(
                USER, PASSWORD, Host="abc.gradio.live", Origin="https://abc.gradio.live"
            ).status
            == 200
        )
    finally:
        served.close()
    with pytest.raises(
        ConfigError, match="--allow-host lets others reach this app: set a password"
    ):
        ui.check_exposure("127.0.0.1", False, None, ["lab.example"])


def test_an_app_on_the_network_answers_to_any_name_but_not_to_other_sites(tmp_path: Path) -> None:
    served = Served(tmp_path / "ws", host="0.0.0.0", auth=(USER, PASSWORD))
    try:
        for host in ("machine.local:7860", "192.0.2.1", "proxy.example"):
            assert served.ask("/", Host=host).status == 200
            assert served.login(USER, PASSWORD, Host=host, Origin=f"http://{host}").status == 200
            assert (
                served.login(USER, PASSWORD, Host=host, Origin="http://evil.example").status == 403
            )
    finally:
        served.close()


# --- from another site ---


def foreign(port: int) -> list[dict[str, str]]:
    return [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://localhost:{port + 1}"},
        {"Origin": f"http://localhost:{port}"},  # not the Host, which is 127.0.0.1
        {"Origin": f"http://127.0.0.1:{port}.evil.example"},
        {"Origin": f"http://evil.example/127.0.0.1:{port}"},
        {"Origin": f"//127.0.0.1:{port}"},
        {"Origin": "http://evil.example", "X_Forwarded_Host": "evil.example"},
        {"Origin": "http://evil.example", "Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
    ]


def test_no_request_of_another_site_changes_anything(local: Served) -> None:
    form = 'multipart/form-data; boundary="b"'
    body = '--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n--b--\r\n'
    for headers in foreign(local.port):
        for path in ("/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/call/start_run"):
            answer = local.ask(path, "POST", body, Content_Type=form, **headers)
            assert answer.status == 403, (path, headers)
            assert local.ask(path, "DELETE", **headers).status == 403
    assert not list(local.app_state.workspace.tmp_dir.iterdir())
    own = local.ask(
        "/gradio_api/upload", "POST", body, Content_Type=form, Origin=local.url.rstrip("/")
    )
    assert own.status == 200 and len(json.loads(own.text)) == 1


def test_another_site_reads_nothing_but_may_have_a_link(local: Served) -> None:
    for headers in foreign(local.port)[:-1]:
        assert local.ask("/config", **headers).status == 403
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert local.ask("/", **link).status == 200
    for headers in ({"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}, {}):
        assert local.ask("/config", **headers).status == 200


def test_no_answer_can_be_framed_or_taken_for_another_kind(local: Served) -> None:
    for path in (*ROUTES, "/no-such-page", "/gradio_api/file=/etc/passwd"):
        headers = local.ask(path).headers
        assert headers["X-Frame-Options"] == "DENY", path
        assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert headers["X-Content-Type-Options"] == "nosniff"
