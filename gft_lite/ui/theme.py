"""One theme, light and dark: the colours of the reports (Okabe-Ito), system fonts, no download.

`HEAD` goes into the head of the page. The style sheet of the reports is nested below `.gft`, so
that it reaches what we draw and nothing else.
"""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr

from gft_lite.report.html import method_colours, stylesheet

FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif"]
MONO = ["ui-monospace", "SF Mono", "Menlo", "Consolas", "monospace"]
INK_BLUE = gr.themes.Color(
    c50="#eef6fb",
    c100="#d8eaf5",
    c200="#b3d6eb",
    c300="#83bcde",
    c400="#3d9ad1",
    c500="#0072b2",
    c600="#00629a",
    c700="#005080",
    c800="#003f65",
    c900="#002f4c",
    c950="#001f33",
)


def theme() -> gr.themes.Base:
    """Gradio's base theme in our colours."""
    return gr.themes.Base(
        primary_hue=INK_BLUE,
        secondary_hue=INK_BLUE,
        neutral_hue=gr.themes.colors.stone,
        font=FONT,
        font_mono=MONO,
        radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_md,
        text_size=gr.themes.sizes.text_md,
    ).set(
        body_background_fill="#fbfbf9",
        body_background_fill_dark="#141517",
        body_text_color="#1b1c1e",
        body_text_color_dark="#ececea",
        body_text_color_subdued="#5c6066",
        body_text_color_subdued_dark="#a2a6ac",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1b1d20",
        block_border_color="#e3e3de",
        block_border_color_dark="#2f3236",
        border_color_primary="#e3e3de",
        border_color_primary_dark="#2f3236",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1b1d20",
        background_fill_secondary="#f5f5f2",
        background_fill_secondary_dark="#202327",
        block_label_text_weight="600",
        block_title_text_weight="600",
        block_shadow="none",
        button_primary_background_fill="#0072b2",
        button_primary_background_fill_hover="#00629a",
        button_primary_background_fill_dark="#0072b2",
        button_primary_background_fill_hover_dark="#2286c0",
        button_primary_text_color="#ffffff",
        button_large_radius="8px",
        button_medium_radius="8px",
        button_small_radius="6px",
        input_background_fill="#ffffff",
        input_background_fill_dark="#16181a",
        input_border_color="#d3d3cd",
        input_border_color_dark="#3a3e43",
        input_border_width="1px",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_dark="#202327",
        button_secondary_background_fill_hover="#f5f5f2",
        button_secondary_background_fill_hover_dark="#2a2e33",
        button_secondary_border_color="#c9c9c2",
        button_secondary_border_color_dark="#464b51",
        button_border_width="1px",
        checkbox_label_background_fill="transparent",
        checkbox_label_background_fill_dark="transparent",
        checkbox_label_background_fill_hover="#f5f5f2",
        checkbox_label_background_fill_hover_dark="#202327",
        checkbox_label_background_fill_selected="#eef6fb",
        checkbox_label_background_fill_selected_dark="#15293a",
        checkbox_label_border_width="1px",
        checkbox_label_border_color="#e3e3de",
        checkbox_label_border_color_dark="#2f3236",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_title_text_color="#1b1c1e",
        block_title_text_color_dark="#ececea",
    )


def _report_style() -> str:
    """The rules of the reports without their page: variables are set below, for both modes."""
    css = str(stylesheet())
    css = css[css.index(".c-base") :]
    css = re.sub(r"^:root \{[^}]*\}$|^@media \(prefers-color.*?^\}$", "", css, flags=re.M | re.S)
    return re.sub(r"^(html|body|main|header|h1) \{[^}]*\}$", "", css, flags=re.MULTILINE)


VARIABLES = f"""
:root {{ {method_colours(is_dark=False)} }}
.dark {{ {method_colours(is_dark=True)} }}
"""
VARIABLES += """
:root {
  --paper: #fbfbf9; --card: #ffffff; --ink: #1b1c1e; --soft: #5c6066; --hair: #e3e3de;
  --heat: 213 94 0; --blue: #0072b2; --sky: #56b4e9; --green: #009e73; --orange: #e69f00;
  --red: #d55e00; --purple: #cc79a7; --grey: #8a8d92; --wash: #f5f5f2;
}
.dark {
  --paper: #141517; --card: #1b1d20; --ink: #ececea; --soft: #a2a6ac; --hair: #2f3236;
  --heat: 230 120 30; --blue: #3d9ad1; --green: #1db88b; --grey: #8f939a; --wash: #202327;
}
"""

OWN = (Path(__file__).with_name("app.css")).read_text(encoding="utf-8")
HEAD = f"<style>{VARIABLES}\n.gft {{\n{_report_style()}\n}}\n{OWN}</style>"
