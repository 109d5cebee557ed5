"""Teachers from the embedded model and from a real server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from gft_lite.data import load_examples
from gft_lite.distill import (
    Endpoint,
    FailedResponse,
    TeacherResponse,
    distill,
    endpoint_teacher,
    local_teacher,
)
from gft_lite.models import Policy, Sampling
from gft_lite.models.batching import TokenSequence, collate
from gft_lite.rewards import build_scorer
from gft_lite.training.likelihood import mean_logps, select_by_likelihood
from gft_lite.types import DataError, Example, InputError, Message, Response

SETTINGS = {"model": "m"}
KEY = "sk-very-secret-0815"


@dataclass
class Server:
    """A chat-completions server: what it was asked, and what it answers next."""

    url: str = ""
    asked: list[tuple[str | None, dict[str, Any]]] = field(default_factory=list)
    script: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)


def completion(text: object, reason: str = "stop") -> bytes:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return json.dumps({"choices": [choice]}).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append((self.headers["Authorization"], {"path": self.path, **body}))
            question = body["messages"][-1]["content"]
            status, headers, reply = (
                state.script.pop(0) if state.script else (200, {}, completion(f"re: {question}"))
            )
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        state.url = f"http://127.0.0.1:{running.server_address[1]}/v1"
        yield state
        running.shutdown()


def user(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def teacher(server: Server, **changes: Any) -> Any:
    endpoint = Endpoint(server.url, "m", parallel_requests=1, first_wait_seconds=0.01, **changes)
    return endpoint_teacher(endpoint, {"OPENAI_API_KEY": KEY})


def test_endpoint(server: Server) -> None:
    prompt = (Message("system", "s"), *user("2+2?"))
    assert teacher(server, temperature=0.5, max_new_tokens=9)([prompt]) == [
        TeacherResponse("re: 2+2?")
    ]
    ((key, asked),) = server.asked
    assert key == f"Bearer {KEY}"
    assert asked == {
        "path": "/v1/chat/completions",
        "model": "m",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "2+2?"}],
        "temperature": 0.5,
        "max_tokens": 9,
    }


def test_endpoint_tries_again_and_gives_up(server: Server) -> None:
    server.script = [(429, {"Retry-After": "0"}, b"slow down"), (503, {}, b"")]
    assert teacher(server)([user("a")]) == [TeacherResponse("re: a")]
    assert len(server.asked) == 3
    server.script = [(500, {}, b"broken")] * 2
    (failed,) = teacher(server, tries=2)([user("a")])
    assert failed == FailedResponse("HTTP 500: broken")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((401, {}, f"wrong key {KEY}".encode()), "HTTP 401: wrong key …"),
        ((307, {"Location": "http://127.0.0.1:9/steal"}, b""), "HTTP 307"),
        ((200, {}, b"<html>"), "no chat completion"),
        ((200, {}, completion(None)), "has no text"),
        ((200, {}, b'{"choices": []}'), "no chat completion"),
    ],
)
def test_endpoint_failures(
    server: Server, reply: tuple[int, dict[str, str], bytes], reason: str
) -> None:
    """Asked once, never redirected, and the key is in no message."""
    server.script = [reply]
    (failed,) = teacher(server)([user("a")])
    assert (
        isinstance(failed, FailedResponse) and reason in failed.reason and KEY not in failed.reason
    )
    assert len(server.asked) == 1


def test_endpoint_addresses() -> None:
    for url, phrase in [
        ("ftp://x/v1", "write it as https"),
        ("http://far.example/v1", "unencrypt"),
    ]:
        with pytest.raises(InputError, match=phrase):
            endpoint_teacher(Endpoint(url, "m"), {"OPENAI_API_KEY": KEY})
    endpoint_teacher(Endpoint("http://far.example/v1", "m"), {})


def test_cut_off_answers_are_told_apart(server: Server) -> None:
    server.script = [(200, {}, completion("half", "length"))]
    assert teacher(server)([user("a")]) == [TeacherResponse("half", finished=False)]


EXAMPLES = [
    Example(user("1+1?"), ("expert",), ("old",), "2", row=1),
    Example(user("2+2?"), (), (), "4", row=4),
]


def scripted(*answers: TeacherResponse | FailedResponse) -> Any:
    left = list(answers)

    def ask(prompts: Sequence[tuple[Message, ...]]) -> list[TeacherResponse | FailedResponse]:
        return [left.pop(0) for _ in prompts]

    return ask


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_distill_scores_and_drops(tmp_path: Path) -> None:
    """Six drawn: one cut off, one like the expert, one twice, one wrong and below the least."""
    out = tmp_path / "out.jsonl"
    answers = [
        TeacherResponse("It is 2"),
        TeacherResponse("expert"),
        TeacherResponse("cut", finished=False),
    ]
    answers += [TeacherResponse("It is 4"), TeacherResponse("It is 4"), TeacherResponse("It is 5")]
    with build_scorer("math") as scorer:
        found = distill(
            EXAMPLES, out, teacher=scripted(*answers), n=3, settings=SETTINGS, scorer=scorer,
            min_reward=1.0,
        )  # fmt: skip
    assert (found.drawn, found.cut_off, found.repeated, found.below_reward) == (6, 1, 2, 1)
    assert found.mean_reward == pytest.approx(2 / 3) and found.teachers == 3
    assert rows(out) == [
        {"prompt": "1+1?", "expert": "expert", "teachers": ["old", "It is 2"], "answer": "2"},
        {"prompt": "2+2?", "teachers": ["It is 4"], "answer": "4"},
    ]
    with pytest.raises(DataError, match="nothing was overwritten"):
        distill(EXAMPLES, out, teacher=scripted(), n=3, settings=SETTINGS)


def test_distill_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A failure is asked again, a half-written line is cut off, other settings are refused."""
    out, journal = tmp_path / "out.jsonl", tmp_path / "out.journal.jsonl"
    first = scripted(
        TeacherResponse("a"), FailedResponse("busy"), TeacherResponse("c"), TeacherResponse("d")
    )
    assert distill(EXAMPLES, out, teacher=first, n=2, settings=SETTINGS).failed == 1
    out.unlink()
    with journal.open("a") as file:
        file.write('{"row": 9, "ind')
    found = distill(EXAMPLES, out, teacher=scripted(TeacherResponse("b")), n=2, settings=SETTINGS)
    assert (found.resumed, found.drawn, found.failed) == (3, 4, 0)
    assert [row["teachers"] for row in rows(out)] == [["old", "a", "b"], ["c", "d"]]
    assert len(rows(journal)) == 5
    out.unlink()
    for settings, examples, phrase in [
        ({"model": "other"}, EXAMPLES, "model was 'm'"),
        (SETTINGS, [Example(user("other"), row=1)], "the data file has changed"),
    ]:
        with pytest.raises(DataError, match=phrase):
            distill(examples, out, teacher=scripted(), n=2, settings=settings)
    journal.write_text("notes\n")
    with pytest.raises(DataError, match="is no journal"):
        distill(EXAMPLES, out, teacher=scripted(), n=2, settings=SETTINGS)


def test_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no response was received:\n  row 1: busy"):
        distill(
            EXAMPLES,
            tmp_path / "o.jsonl",
            teacher=scripted(*[FailedResponse("busy")] * 2),
            n=1,
            settings={},
        )


def test_local_teacher_and_likelihood(tmp_path: Path, policy: Policy) -> None:
    """The same seed draws the same; the mean log-prob is Σ log π / T; the expert fits best."""
    examples = load_examples("gft_lite/assets/old_skill_test.jsonl", limit=2).examples
    out = tmp_path / "out.jsonl"
    ask = local_teacher(policy, Sampling(24, temperature=1.0), seed=3)
    prompts = [example.prompt for example in examples]
    assert ask(prompts) == ask(prompts)
    expert = policy.generate(
        [policy.chat.prompt_ids(examples[0].prompt)], Sampling(60, temperature=0.0), 1
    )[0].text
    texts = ["Bananas are blue and so is the moon.", expert]
    sequence = TokenSequence(
        policy.chat.prompt_ids(examples[0].prompt),
        policy.chat.response_ids(Response(texts[0], "teacher")),
    )
    with torch.no_grad():
        logps = policy.token_logps(collate([sequence], 0)).logps
    means = mean_logps(policy, examples[0], texts)
    assert means[0] == pytest.approx(float(logps.mean()), abs=1e-4) and means[1] > means[0]
    assert select_by_likelihood(policy, examples[0], texts, 1) == [expert]
    found = distill(
        examples, out, teacher=ask, n=2, settings=SETTINGS,
        keep=lambda example, offered: select_by_likelihood(policy, example, offered, 1),
    )  # fmt: skip
    assert found.drawn == 4 and found.teachers <= 2
    assert load_examples(out).recognised.format == "canonical"
