"""The model process of the web app: its loop runs in this process, and a list gets its messages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from adapter_maker import make_adapter

from gft_lite.model_server.loop import BROKE, Loop

TINY = {"name": "tiny", "backend": "hf"}
QUESTION = "Ben has 3 coins. He finds 4 coins. How many coins does Ben have?"


class Messages(list[dict[str, Any]]):
    """The channel: every message that the loop writes."""

    def write(self, message: dict[str, Any]) -> None:
        self.append(message)

    def kinds(self) -> list[str]:
        return [message["say"] for message in self]


@pytest.fixture
def messages() -> Iterator[Messages]:
    yield Messages()


def serve(messages: Messages, **request: Any) -> dict[str, Any]:
    """Serve one request and return the last message."""
    Loop(messages)._serve(1, request)  # type: ignore[arg-type]
    return messages[-1]


def test_the_base_and_an_adapter_answer_and_are_scored(messages: Messages, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter")
    end = serve(
        messages,
        do="chat",
        model=TINY,
        adapters=[str(adapter)],
        prompt=QUESTION,
        answer="7",
        reward="math",
        max_new_tokens=40,
    )
    assert end == {"id": 1, "say": "done"}
    assert messages[0]["say"] == "columns" and len(messages[0]["columns"]) == 2
    assert {m["column"] for m in messages if m["say"] == "text" and m["ended"]} == {0, 1}
    (scores,) = [m["scores"] for m in messages if m["say"] == "scores"]
    assert len(scores) == 2 and scores[0] == {"value": 1.0, "verdict": "ok"}


def test_what_is_refused_is_one_sentence(messages: Messages) -> None:
    end = serve(messages, do="chat", model=TINY, adapters=[], prompt="word " * 5000)
    assert end["say"] == "refused" and "shorten it" in end["message"]
    assert "does not know this request" in serve(messages, do="nothing")["message"]


def test_a_fault_of_ours_names_the_log(
    messages: Messages, capsys: pytest.CaptureFixture[str]
) -> None:
    end = serve(messages, do="chat", no_such_field=1)
    assert end == {"id": 1, "say": "refused", "message": BROKE}
    assert "no_such_field" in capsys.readouterr().err
