"""Uploads: too large, aborted, with hostile names; and who may read what is kept."""

import json
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from served import Answer, Served

from gft_lite.config import load_config
from gft_lite.runs import RunDir
from gft_lite.types import DataError
from gft_lite.ui.app import REQUEST_BYTES
from gft_lite.ui.data import datasets
from gft_lite.ui.uploads import HOUR_SECONDS, clear_leftovers, remove_aborted
from gft_lite.ui.workspace import Workspace

NAMES = (
    *("../../evil.jsonl", "/etc/cron.d/evil.jsonl", "..\\..\\evil.jsonl", "%2e%2e%2fevil.jsonl"),
    *("....//evil.jsonl", "a/../../../evil.jsonl", "C:\\evil.jsonl", "~/evil.jsonl"),
    *(
        "a\tb.jsonl",
        "CON.jsonl",
        " .jsonl",
        "..x.jsonl",
        "-rf.jsonl",
        "ü☃.jsonl",
        f"{'é' * 120}.jsonl",
    ),
    *("$(touch evil).jsonl", "`id`.jsonl", "a;rm -rf.jsonl", "<script>.jsonl", "a'b.jsonl"),
)
ROW = '{"question": "1 + 1?", "answer": "2"}\n'


def wait(ready: Callable[[], object], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("uploads") / "ws")
    yield served
    served.close()


def upload(served: Served, name: str) -> Answer:
    quoted = name.replace('"', "%22")
    body = (
        f'--b\r\nContent-Disposition: form-data; name="files"; filename="{quoted}"\r\n\r\n'
        f"{ROW}\r\n--b--\r\n"
    )
    form = "multipart/form-data; boundary=b"
    return served.ask("/gradio_api/upload", "POST", body, Content_Type=form)


def outside(root: Path) -> list[Path]:
    return [path for path in root.parent.rglob("*") if root not in (path, *path.parents)]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_leads_out_of_the_workspace(served: Served, name: str) -> None:
    root = served.app_state.workspace.root
    answer = upload(served, name)
    assert answer.status in (200, 400), answer.text
    if answer.status == 200:
        (sent,) = json.loads(answer.text)
        assert served.app_state.workspace.tmp_dir in Path(sent).resolve().parents
        data = datasets.add_file(served.app_state.workspace, sent, name)
        assert data.source == "data.jsonl" and "/" not in data.title
        kept = served.app_state.workspace.upload(data.name) / data.source
        assert kept.read_text() == ROW and kept.resolve().is_relative_to(root)
    assert not outside(root)


def test_a_path_that_was_not_uploaded_is_no_upload(served: Served, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_text(ROW)
    link = served.app_state.workspace.tmp_dir / "link.jsonl"
    link.symlink_to(secret)
    for path in (secret, link, "../../etc/passwd", "/etc/passwd"):
        with pytest.raises(DataError, match="not sent by this page"):
            datasets.add_file(served.app_state.workspace, str(path), "a.jsonl")
    link.unlink()


def test_a_request_that_is_too_large_is_refused_before_it_is_read(served: Served) -> None:
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=20)
    head = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {REQUEST_BYTES + 1}\r\n"
        "\r\n--b\r\n"
    )
    connection.sendall(head.encode())
    assert connection.recv(100).startswith(b"HTTP/1.1 413")
    connection.close()


def test_a_file_that_is_too_large_without_a_length_is_not_kept(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunked body has no length beforehand; the limit is Gradio's, made small here."""
    monkeypatch.setattr(served.page, "max_file_size", 1000)
    before = set(served.app_state.workspace.tmp_dir.rglob("*"))
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jsonl"\r\n\r\n'
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=20)
    head = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    connection.sendall(head.encode())
    for chunk in (part, b"x" * 2000, b"\r\n--b--\r\n", b""):
        connection.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
    assert b"413" in connection.recv(100)
    connection.close()
    wait(lambda: set(served.app_state.workspace.tmp_dir.rglob("*")) == before)


def aborted(served: Served) -> Path:
    """What an upload leaves whose connection breaks in the middle."""
    tmp_dir = served.app_state.workspace.tmp_dir
    before = set(tmp_dir.iterdir())
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=20)
    connection.sendall(
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="files"; filename="a.jsonl"\r\n\r\n'
        f"{ROW * 100}".encode()
    )
    wait(lambda: set(tmp_dir.iterdir()) - before)
    connection.close()
    (left,) = set(tmp_dir.iterdir()) - before
    return left


def test_an_aborted_upload_goes_after_an_hour_and_one_that_grows_stays(served: Served) -> None:
    left, other = aborted(served), aborted(served)
    os.utime(left, (time.time() - HOUR_SECONDS - 1,) * 2)
    remove_aborted(served.app_state.workspace.tmp_dir)
    assert not left.exists() and other.exists()


@pytest.mark.slow
def test_an_app_that_starts_alone_removes_what_is_left(tmp_path: Path) -> None:
    first = Served(tmp_path / "ws")
    tmp_dir = first.app_state.workspace.tmp_dir
    left = aborted(first)
    complete = Path(json.loads(upload(first, "a.jsonl").text)[0])
    second = Served(tmp_path / "ws")  # beside the first: what that one reads is not removed
    assert left.exists() and complete.exists()
    second.close()
    first.close()
    left.write_text(ROW)
    (tmp_dir / "abc").mkdir(exist_ok=True)
    (tmp_dir / "abc" / "a.jsonl").write_text(ROW)
    target = tmp_path / "kept.txt"
    target.write_text("kept")
    (tmp_dir / "link").symlink_to(tmp_path)
    third = Served(tmp_path / "ws")
    assert not list(tmp_dir.iterdir()) and target.read_text() == "kept"
    third.close()


def test_a_second_lock_waits_for_nobody(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws")
    (workspace.tmp_dir / "a").write_text("")
    with clear_leftovers(workspace):
        assert not list(workspace.tmp_dir.iterdir())
        (workspace.tmp_dir / "b").write_text("")
        with clear_leftovers(workspace):
            assert (workspace.tmp_dir / "b").exists()


# --- who may read ---


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_workspace_and_its_runs_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        workspace = Workspace(tmp_path / "ws")
        run = RunDir.create(tmp_path / "run", load_config(preset="tiny-cpu").to_yaml())
        made = (
            workspace.new(workspace.runs_dir, "gft"),
            workspace.new(workspace.uploads_dir, "data"),
        )
    finally:
        os.umask(before)
    folders = [workspace.root, workspace.runs_dir, workspace.uploads_dir, workspace.exports_dir]
    for folder in (*folders, workspace.tmp_dir, *made, run.path):
        assert mode(folder) == 0o700, folder


def test_a_folder_that_was_there_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir(mode=0o755)
    (tmp_path / "run").mkdir(mode=0o750)
    workspace = Workspace(tmp_path / "ws")
    run = RunDir.create(tmp_path / "run", load_config(preset="tiny-cpu").to_yaml())
    assert (mode(workspace.root), mode(run.path)) == (0o755, 0o750)
    assert mode(workspace.runs_dir) == 0o700
