"""Write the table of docs/memory.md: the forecast of every model under every card's preset.

python scripts/memory_table.py            writes it
python scripts/memory_table.py --check    fails where the file says something else
"""

from __future__ import annotations

import sys
from pathlib import Path

from gft_lite.config import card_presets, load_config, preset_names, preset_path
from gft_lite.memory import GIB, forecast, shape_of

PAGE = Path(__file__).parent.parent / "docs" / "memory.md"
BEGIN, END = "<!-- table: scripts/memory_table.py -->\n", "<!-- end of table -->"
USABLE_GIB = {"6gb": 6, "8gb": 8, "12gb": 12, "16gb": 14.6, "24gb": 24}  # a T4 lends 14.6


def table() -> str:
    """Markdown: models down, cards across; one more row for the paper's settings."""
    cards = card_presets()
    models = [name for name in preset_names() if preset_path(name).parent.name == "models"]
    lines = ["| forecast, GiB | " + " | ".join(cards) + " | measured |", "|---" * 7 + "|"]
    for model in models:
        cells = [_cell((card, model), USABLE_GIB[card]) for card in cards]
        lines.append(f"| `{model}` | {' | '.join(cells)} | not measured yet |")
    paper = _cell(("paper-math-1.5b",), USABLE_GIB["24gb"])
    lines.append(f"| `paper-math-1.5b` | | | | | {paper} | not measured yet |")
    return "\n".join(lines) + "\n"


def _cell(presets: tuple[str, ...], usable_gib: float) -> str:
    config = load_config(preset=presets)
    found = forecast(config, shape_of(config.model))
    verdict = found.verdict(usable_gib)
    return f"{found.total / GIB:.1f}" + ("" if verdict == "fits" else f" {verdict}")


def page() -> str:
    """The whole page with a fresh table."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


def main() -> int:
    fresh = page()
    if "--check" in sys.argv:
        return int(fresh != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
