"""Errors as sentences: a user's error is shown to the user, an internal one is logged as well.

Sentences quote data and names of files and folders. A toast is markup, so they are escaped.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import gradio as gr

from gft_lite.runs.resources import shortage
from gft_lite.types import GftError

log = logging.getLogger(__name__)
INTERNAL_ERROR = (
    "Internal error in gft-lite; nothing was changed. The log of the app has the details."
)


def sentence(error: Exception) -> str:
    """The message for the user as plain text. Logs internal errors."""
    if isinstance(error, GftError):
        return str(error)
    if shortage_message := shortage(error):
        return f"{shortage_message[:1].upper()}{shortage_message[1:]}."
    log.error("internal error in a handler", exc_info=error)
    return INTERNAL_ERROR


def guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose errors become a toast with a sentence."""

    if inspect.isgeneratorfunction(handler):  # Gradio streams generator functions only

        @functools.wraps(handler)
        def stream(*args: Any) -> Iterator[Any]:
            try:
                yield from handler(*args)
            except Exception as error:
                raise _toast(error) from None

        return stream

    @functools.wraps(handler)
    def wrapped(*args: Any) -> Any:
        try:
            return handler(*args)
        except Exception as error:
            raise _toast(error) from None

    return wrapped


def _toast(error: Exception) -> gr.Error:
    return gr.Error(escape(sentence(error)), duration=20, print_exception=False)
