"""HTML from templates: `render`, the shared pieces of pages, and the file on disk.

Templates escape every value that is not markup itself, so a text from data, models, configuration
or folder names stays text. Parameters called `html` take finished markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from gft_lite.config.methods import REGISTRY
from gft_lite.runs.atomic import write_atomic
from gft_lite.types import RunError

__all__ = ["Markup", "printable", "render", "stylesheet", "text", "write_page"]

PACKAGE = Path(__file__).parent.parent
_CONTROLS = {c: 0x2400 + c for c in range(32) if chr(c) not in "\n\t"} | {13: None, 127: 0x2421}


def printable(value: object) -> str:
    """A text with visible control characters and no lone surrogates."""
    return str(value).translate(_CONTROLS).encode("utf-8", "replace").decode("utf-8")


def _finalize(value: object) -> object:
    """What a template writes for a value: markup as it is, any text printable."""
    return value if hasattr(value, "__html__") else printable(value)


def _source(name: str) -> str | None:
    """`report/page.html` → the text of gft_lite/report/templates/page.html."""
    layer, _, file = name.partition("/")
    path = PACKAGE / layer / "templates" / file
    return path.read_text(encoding="utf-8") if path.is_file() else None


_ENVIRONMENT = Environment(
    loader=FunctionLoader(_source),
    autoescape=True,
    finalize=_finalize,
    lstrip_blocks=True,
    trim_blocks=True,
    undefined=StrictUndefined,
)


def render(template: str, /, **context: Any) -> Markup:
    """The markup of a template.

    Args:
        template: layer and file: `report/run.html` is gft_lite/report/templates/run.html.
        context: the values that the template uses; all but `Markup` are escaped.
    """
    return Markup(_ENVIRONMENT.get_template(template).render(**context))


def text(value: object) -> str:
    """Any text, made harmless: escaped, control characters visible, lone surrogates replaced."""
    return str(escape(printable(value)))


def stylesheet() -> Markup:
    """The style sheet of all pages: report.css, and a colour and a dash pattern a method."""
    css = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    light, dark = (method_colours(is_dark=is_dark) for is_dark in (False, True))
    rules = "".join(
        f".c-{name} {{ --c: var(--method-{name}); --dash: {entry.dashes}; }}\n"
        for name, entry in REGISTRY.items()
    )
    return Markup(
        f"{css}\n:root {{ {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{\n  :root {{ {dark} }}\n}}\n{rules}"
    )


def method_colours(*, is_dark: bool) -> str:
    """The colours of the methods as CSS variables, for light or dark ground."""
    return " ".join(
        f"--method-{name}: {(is_dark and entry.dark_colour) or entry.colour};"
        for name, entry in REGISTRY.items()
    )


def page(*, title: str, kicker: str, headline: str, lead: str, html: Sequence[str]) -> str:
    """A whole document; `title`, `kicker`, `headline` and `lead` are plain text."""
    content = Markup("".join(html))
    return render(
        "report/page.html",
        css=stylesheet(),
        title=title,
        kicker=kicker,
        headline=headline,
        lead=lead,
        content=content,
    )


def fragment(*, headline: str, html: Sequence[str]) -> str:
    """A part of another document, such as a notebook's output: styled, and nothing around it is.

    `headline` is plain text.
    """
    css = stylesheet().replace(":root", ":scope").replace("\nbody {", "\n:scope {")
    content = Markup("".join(html))
    return render("report/fragment.html", css=css, headline=headline, content=content)


def _macro(name: str, *arguments: Any) -> Markup:
    module = _ENVIRONMENT.get_template("report/macros.html").module
    return Markup(getattr(module, name)(*arguments))


def section(title: str, html: Sequence[str], intro: str = "") -> str:
    """A section, or nothing if it has no content. `title` and `intro` are plain text."""
    return render("report/section.html", title=title, intro=intro, body=Markup("".join(html)))


def grid(html: Sequence[str]) -> str:
    """Figures side by side, as many as the screen has room for."""
    return _macro("grid", [Markup(part) for part in html])


def figure(title: str, html: str, caption: str) -> str:
    """A chart with its name above and its meaning below."""
    return _macro("figure", title, Markup(html), caption)


def details(summary: str, html: str) -> str:
    """Folded content."""
    return _macro("details", summary, Markup(html))


def pre(content: str) -> str:
    """Text as it is; a wide one scrolls sideways."""
    return _macro("pre", content)


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values."""
    return _macro("facts", pairs)


def tiles(items: Sequence[tuple[str, str, str]]) -> str:
    """A few large figures: (name, value, remark)."""
    return _macro("tiles", items)


def notes(sentences: Sequence[str]) -> str:
    """Warnings in words, or nothing."""
    return _macro("notes", sentences)


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; `columns` is plain text, cells are finished markup, the first one is a head."""
    return _macro("table", caption, columns, [[Markup(cell) for cell in row] for row in rows])


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
