"""Errors as sentences: what a person did wrong is said to them, what broke is logged as well.

Sentences quote data, file and folder names; a toast is markup, so they are escaped on the way.
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
BROKE = "This broke inside gft-lite. The log of the app has the details; nothing was changed."


def sentence(error: Exception) -> str:
    """What to tell a person, as plain text. Logs what is not theirs to mend."""
    if isinstance(error, GftError):
        return str(error)
    if short := shortage(error):
        return f"{short[:1].upper()}{short[1:]}."
    log.error("a handler broke", exc_info=error)
    return BROKE


def guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose errors become a toast with a sentence."""

    if inspect.isgeneratorfunction(handler):  # gradio streams what is one, and only that

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
