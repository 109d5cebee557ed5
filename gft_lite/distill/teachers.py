"""Teachers: a model on this machine, or an OpenAI-compatible endpoint.

An endpoint is `POST {base_url}/chat/completions`. Its key comes from the environment variable
OPENAI_API_KEY only. It is sent to the named host only (redirects are refused), over plain http only
to this machine, and is removed from every message.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gft_lite.types import InputError, Message

if TYPE_CHECKING:
    from gft_lite.models import Policy, Sampling

KEY_VARIABLE = "OPENAI_API_KEY"
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
RETRIED_STATUS = (408, 409, 425, 429, 500, 502, 503, 504)
MAX_WAIT_SECONDS = 30.0
REPLY_BYTES = 16 * 2**20


@dataclass(frozen=True)
class TeacherResponse:
    """One response; `finished` is False if the length limit cut it off."""

    text: str
    finished: bool = True


@dataclass(frozen=True)
class FailedResponse:
    """A response that was not received, and the reason."""

    reason: str


Teacher = Callable[[Sequence[tuple[Message, ...]]], Sequence[TeacherResponse | FailedResponse]]
"""Prompts (a prompt may be repeated) → one response each, in order."""


def local_teacher(policy: Policy, sampling: Sampling, *, batch: int = 32, seed: int = 0) -> Teacher:
    """A teacher that samples from a policy.

    Each call has a seed of its own, derived from `seed` and the prompts. A batch that does not fit
    into memory is halved, also for later calls.
    """
    import torch

    from gft_lite.memory.adaptive_batch import AdaptiveBatchSize

    batch_size = AdaptiveBatchSize(batch)

    def respond(prompts: Sequence[tuple[Message, ...]]) -> list[TeacherResponse]:
        ids = [policy.chat.prompt_ids(prompt) for prompt in prompts]
        call_seed = (seed * 1_000_003 + sum(map(sum, ids))) % 2**31
        policy.sample_mode()
        with torch.random.fork_rng():
            torch.manual_seed(call_seed)
            samples = batch_size.generate(policy, ids, sampling)
        return [TeacherResponse(sample.text, sample.finished) for sample in samples]

    return respond


@dataclass(frozen=True)
class Endpoint:
    """An endpoint and its request settings; `tries` counts the first request."""

    base_url: str
    model: str
    temperature: float = 1.0
    max_new_tokens: int = 1024
    timeout_seconds: float = 120.0
    tries: int = 4
    parallel_requests: int = 8
    first_wait_seconds: float = 1.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected request would send the key to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def endpoint_teacher(endpoint: Endpoint, environment: Mapping[str, str] = os.environ) -> Teacher:
    """A teacher that sends requests to an endpoint, several at a time.

    Raises:
        InputError: the address is not http(s), or the key would be sent unencrypted.
    """
    address = urlsplit(endpoint.base_url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise InputError(
            f"--base-url {endpoint.base_url!r}: write it as https://host/v1, or for a server on "
            "this machine http://127.0.0.1:8000/v1"
        )
    key = environment.get(KEY_VARIABLE, "")
    if key and address.scheme == "http" and address.hostname not in LOCAL_HOSTS:
        raise InputError(
            f"--base-url {endpoint.base_url!r}: {KEY_VARIABLE} would be sent unencrypted; "
            f"use https, or unset {KEY_VARIABLE} if the server needs no key"
        )
    opener = urllib.request.build_opener(_NoRedirects)

    def respond(prompts: Sequence[tuple[Message, ...]]) -> list[TeacherResponse | FailedResponse]:
        with ThreadPoolExecutor(max_workers=endpoint.parallel_requests) as pool:
            return list(pool.map(lambda prompt: _request(opener, endpoint, key, prompt), prompts))

    return respond


def _request(
    opener: urllib.request.OpenerDirector, endpoint: Endpoint, key: str, prompt: Sequence[Message]
) -> TeacherResponse | FailedResponse:
    """One response; temporary failures are retried with growing delays."""
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    body = {
        "model": endpoint.model,
        "messages": [{"role": turn.role, "content": turn.content} for turn in prompt],
        "temperature": endpoint.temperature,
        "max_tokens": endpoint.max_new_tokens,
    }
    url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    wait, reason = endpoint.first_wait_seconds, ""
    for tries_left in reversed(range(endpoint.tries)):
        try:
            with opener.open(request, timeout=endpoint.timeout_seconds) as reply:
                return _parse_reply(reply.read(REPLY_BYTES))
        except urllib.error.HTTPError as error:
            message = error.read(300).decode("utf-8", "replace").strip().replace("\n", " ")
            reason = f"HTTP {error.code}: {message}"
            retry = error.code in RETRIED_STATUS
            requested_wait = error.headers.get("Retry-After") or ""
            if requested_wait.isdigit():
                wait = max(wait, float(requested_wait))
        except (OSError, http.client.HTTPException) as error:
            reason, retry = f"{type(error).__name__}: {error}", True
        if not retry:
            break
        if tries_left:
            time.sleep(min(wait, MAX_WAIT_SECONDS))
            wait *= 2
    return FailedResponse(reason.replace(key, "…") if key else reason)


def _parse_reply(reply: bytes) -> TeacherResponse | FailedResponse:
    try:
        choice = json.loads(reply)["choices"][0]
        text = choice["message"]["content"]
    except (ValueError, LookupError, TypeError):
        shown = reply[:120].decode("utf-8", "replace")
        return FailedResponse(f"the reply is no chat completion: {shown!r}")
    if not isinstance(text, str) or not text.strip():
        return FailedResponse("the reply has no text")
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
    return TeacherResponse(text, choice.get("finish_reason") != "length")
