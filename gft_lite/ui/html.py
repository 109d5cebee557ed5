"""Small pieces of markup for the page. As in the reports, every text goes through `text`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from gft_lite.report.html import text

__all__ = ["card", "empty", "failure", "heading", "panel", "progress", "styled", "text"]

MARKS = {
    "running": "●",
    "starting": "◔",
    "queued": "◷",
    "finished": "✓",
    "stopped": "■",
    "failed": "✕",
    "interrupted": "◌",
    "damaged": "⚠",
    "created": "○",
}


def panel(html: str = "", **options: Any) -> gr.HTML:
    """A place for markup, with our style sheet and no other."""
    return gr.HTML(html, apply_default_css=False, **options)


def styled(*html: str) -> str:
    """Finished markup, where the style sheet reaches it."""
    return f'<div class="gft">{"".join(html)}</div>'


def heading(title: str, intro: str = "") -> str:
    """A heading of the page and a sentence below it."""
    said = f'<p class="intro">{text(intro)}</p>' if intro else ""
    return styled(f"<h2>{text(title)}</h2>{said}")


def empty(title: str, todo: str) -> str:
    """What stands where there is nothing yet: what will be here, and what to do for it."""
    return styled(f'<div class="empty"><b>{text(title)}</b><p>{text(todo)}</p></div>')


def failure(sentence: str) -> str:
    """What went wrong, in words."""
    lines = "".join(f"<p>{text(line)}</p>" for line in sentence.splitlines() if line.strip())
    return styled(f'<div class="failure" role="alert">{lines}</div>')


def card(title: str, lines: Sequence[str]) -> str:
    """A title and plain lines in a frame."""
    said = "".join(f"<p>{text(line)}</p>" for line in lines if line)
    return f'<div class="card"><h3>{text(title)}</h3>{said}</div>'


def progress(share: float, label: str) -> str:
    """A bar; `label` says the same in words."""
    percent = 100 * min(1.0, max(0.0, share))
    return (
        f'<div class="progress" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent:.0f}" aria-label="{text(label)}">'
        f'<div style="width: {percent:.2f}%"></div></div>'
    )
