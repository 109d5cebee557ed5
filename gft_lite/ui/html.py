"""Markup that several tabs show, rendered from `templates/`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from gft_lite.report.html import Markup, render


def panel(html: str = "", **options: Any) -> gr.HTML:
    """A component for markup that takes only the app's style sheet."""
    return gr.HTML(html, apply_default_css=False, **options)


def heading(title: str, intro: str = "") -> Markup:
    """A heading of the page and a sentence below it."""
    return render("ui/heading.html", title=title, intro=intro)


def empty(title: str, todo: str) -> Markup:
    """The content of an empty panel: what will appear there, and what to do for it."""
    return render("ui/empty.html", title=title, todo=todo)


def failure(sentence: str) -> Markup:
    """An error in words, a paragraph a line."""
    lines = [line for line in sentence.splitlines() if line.strip()]
    return render("ui/failure.html", lines=lines)


def waiting(task: str) -> Markup:
    """A task that runs, with a pulsing mark."""
    return render("ui/working.html", kind="waiting", sentence=f"{task}…", share=0.0)


def working(sentence: str, share: float = 0.0) -> Markup:
    """A task that runs, with a bar if the finished share is known."""
    return render("ui/working.html", kind="quiet", sentence=sentence, share=share)


def remarks(sentences: Sequence[str]) -> Markup:
    """Remarks that are not warnings, or nothing."""
    return render("ui/remarks.html", sentences=sentences)
