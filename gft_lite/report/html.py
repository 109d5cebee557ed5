"""Escaping, tables, sections, the page. Markup is only built from `text(...)` and our own words.

`text` is for everything that comes from data, models, configuration or folder names. Functions
whose parameter is called `html` take finished markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from gft_lite.runs.atomic import write_atomic
from gft_lite.types import RunError

# nothing may be loaded or run, even if a text ever got past `text`
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_CONTROLS = {c: 0x2400 + c for c in range(32) if chr(c) not in "\n\t"} | {13: None, 127: 0x2421}


def text(value: object) -> str:
    """Any text, made harmless: escaped, control characters visible, lone surrogates replaced."""
    plain = str(value).translate(_CONTROLS).encode("utf-8", "replace").decode("utf-8")
    return escape(plain, quote=True)


def page(*, title: str, kicker: str, headline: str, lead: str, html: Sequence[str]) -> str:
    """A whole document; `title`, `kicker`, `headline` and `lead` are plain text."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{text(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header>
<p class="kicker">{text(kicker)}</p>
<h1>{text(headline)}</h1>
<p class="lead">{text(lead)}</p>
</header>
{"".join(part for part in html if part)}
</main>
</body>
</html>
"""


def fragment(*, headline: str, html: Sequence[str]) -> str:
    """A part of another document, such as a notebook's output: styled, and nothing around it is.

    `headline` is plain text.
    """
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    style = style.replace(":root", ":scope").replace("\nbody {", "\n:scope {")
    return (
        f'<div class="gft-lite">\n<style>@scope (.gft-lite) {{\n{style}'
        ":scope { padding: 20px; }\nsection { margin-top: 32px; }\n}</style>\n"
        f"<h3>{text(headline)}</h3>\n{''.join(part for part in html if part)}</div>\n"
    )


def section(title: str, html: Sequence[str], intro: str = "") -> str:
    """A section, or nothing where it has no content. `title` and `intro` are plain text."""
    body = "".join(html)
    if not body:
        return ""
    opening = f'<p class="intro">{text(intro)}</p>\n' if intro else ""
    return f"<section>\n<h2>{text(title)}</h2>\n{opening}{body}</section>\n"


def grid(html: Sequence[str]) -> str:
    """Figures side by side, as many as the screen has room for."""
    return f'<div class="grid">\n{"".join(html)}</div>\n' if any(html) else ""


def figure(title: str, html: str, caption: str) -> str:
    """A chart with its name above and its meaning below."""
    return (
        f"<figure>\n<h3>{text(title)}</h3>\n{html}"
        f"<figcaption>{text(caption)}</figcaption>\n</figure>\n"
    )


def details(summary: str, html: str) -> str:
    """Folded content."""
    return f"<details>\n<summary>{text(summary)}</summary>\n{html}</details>\n"


def pre(content: str) -> str:
    """Text as it is, scrolling sideways where it is wide."""
    return f'<pre tabindex="0">{text(content)}</pre>\n'


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values."""
    rows = "".join(f"<div><dt>{text(n)}</dt><dd>{text(v)}</dd></div>\n" for n, v in pairs)
    return f'<dl class="facts">\n{rows}</dl>\n' if rows else ""


def tiles(items: Sequence[tuple[str, str, str]]) -> str:
    """A few large figures: (name, value, remark)."""
    cells = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}"
        + (f"<small>{text(remark)}</small>" if remark else "")
        + "</dd></div>\n"
        for name, value, remark in items
    )
    return f'<dl class="tiles">\n{cells}</dl>\n' if cells else ""


def notes(sentences: Sequence[str]) -> str:
    """Warnings in words, or nothing."""
    items = "".join(f"<li>{text(s)}</li>\n" for s in sentences)
    return f'<ul class="notes">\n{items}</ul>\n' if items else ""


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of figures; `columns` is plain text, cells are finished markup, the first is a head.

    It scrolls sideways inside its own box, so a phone never has to scroll the page.
    """
    head = "".join(f'<th scope="col">{text(c)}</th>' for c in columns)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{c}</td>" for c in row[1:]) + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{text(caption)}">\n<table>\n'
        f"<caption>{text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}</tbody>\n</table>\n</div>\n"
    )


def write_page(path: Path, document: str) -> Path:
    """Write the file, whole or not at all.

    Raises:
        RunError: it cannot be written there.
    """
    if path.is_dir():
        raise RunError(f"{path} is a folder; name an HTML file, such as {path / 'report.html'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, document)
    except OSError as error:
        raise RunError(f"{path}: the report cannot be written ({error.strerror})") from None
    return path
