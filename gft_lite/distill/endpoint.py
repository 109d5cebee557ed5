"""A teacher behind an OpenAI-compatible endpoint (`POST {base_url}/chat/completions`).

The key comes from the environment variable OPENAI_API_KEY only, is sent to the named host only
(redirects are refused) and over plain http only to this machine. It appears in no message.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gft_lite.distill.answers import Answer, Ask, Failed
from gft_lite.types import InputError, Message

KEY_VARIABLE = "OPENAI_API_KEY"
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
LONGEST_WAIT_SECONDS = 30.0
ANSWER_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, whom, and how. `tries` counts the first one."""

    base_url: str
    model: str
    temperature: float = 1.0
    max_new_tokens: int = 1024
    timeout_seconds: float = 120.0
    tries: int = 4
    at_once: int = 8
    first_wait_seconds: float = 1.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Whoever is redirected would hand the key to a stranger."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def endpoint_teacher(endpoint: Endpoint, environment: Mapping[str, str] = os.environ) -> Ask:
    """A teacher that asks an endpoint, several prompts at once.

    Raises:
        InputError: no http(s) address, or a key that would travel unencrypted.
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

    def ask(prompts: Sequence[tuple[Message, ...]]) -> list[Answer | Failed]:
        with ThreadPoolExecutor(max_workers=endpoint.at_once) as pool:
            return list(pool.map(lambda prompt: _one(opener, endpoint, key, prompt), prompts))

    return ask


def _one(
    opener: urllib.request.OpenerDirector, endpoint: Endpoint, key: str, prompt: Sequence[Message]
) -> Answer | Failed:
    """One answer; what may pass (overload, a dropped line) is tried again, ever later."""
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
    for left in reversed(range(endpoint.tries)):
        try:
            with opener.open(request, timeout=endpoint.timeout_seconds) as reply:
                return _read(reply.read(ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            said = error.read(300).decode("utf-8", "replace").strip().replace("\n", " ")
            reason = f"HTTP {error.code}: {said}"
            again = error.code in AGAIN
            wait = max(wait, _seconds(error.headers.get("Retry-After")))
        except (OSError, http.client.HTTPException) as error:
            reason, again = f"{type(error).__name__}: {error}", True
        if not again:
            break
        if left:
            time.sleep(min(wait, LONGEST_WAIT_SECONDS))
            wait *= 2
    return Failed(reason.replace(key, "…") if key else reason)


def _seconds(said: str | None) -> float:
    return float(said) if said and said.isdigit() else 0.0


def _read(reply: bytes) -> Answer | Failed:
    try:
        choice = json.loads(reply)["choices"][0]
        text = choice["message"]["content"]
    except (ValueError, LookupError, TypeError):
        shown = reply[:120].decode("utf-8", "replace")
        return Failed(f"the reply is no chat completion: {shown!r}")
    if not isinstance(text, str) or not text.strip():
        return Failed("the reply has no text")
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
    return Answer(text, choice.get("finish_reason") != "length")
